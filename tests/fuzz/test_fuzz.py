"""600 cases, cases that failed before, and the fuzzer itself."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import strategies as st

pytest.importorskip("resource", reason="memory is limited with the module resource, which Windows lacks")

from shared.images import load_image
from tests.conftest import ROOT
from tests.fuzz import campaign, formats, mutants
from tests.fuzz.judge import Result, find_fault, find_wrong_words
from tests.fuzz.self_test import SELF_TEST
from tests.fuzz.targets import list_targets
from tests.fuzz.worker import Worker

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(), reason="the memory of a case is measured with /proc, as on Linux"
)
TARGETS = {target.name: target for target in list_targets()}
BOMBS = ROOT.parent / "shared/cases/28-attacks"
CASES = sorted((ROOT / "tests/fuzz/cases").glob("*.json"))


@pytest.fixture(scope="module")
def worker():
    with Worker() as worker:
        yield worker


@pytest.mark.long
def test_600_cases_are_answered_or_refused():
    report = campaign.run(TARGETS.values(), 600, workers=2)
    failures = [campaign.describe(failure) for failure in report.failures.values()]
    assert not failures, "\n\n".join(failures)
    assert report.done == 600
    reached = {name: tally.reached for name, tally in report.group(lambda target, _: target).items()}
    assert reached.pop("onnx") == 0  # a model with a wrong hash is not opened
    assert all(reached.values()), reached


@pytest.mark.long
@pytest.mark.skipif(not BOMBS.is_dir(), reason="the pictures that took too long are not in ../shared/cases")
@pytest.mark.parametrize("name", ["cat_dog", "segmentation"])
def test_small_files_of_large_pictures(worker, name):
    pictures = sorted(BOMBS.glob("*.jpg"))
    assert pictures
    for path in pictures:
        result = worker.ask(TARGETS[name], ["predict", path.read_bytes()])
        assert result.outcome in ("answered", "refused"), (path.name, result.detail)


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_a_case_that_failed_before(worker, path):
    name, arguments = campaign.read_case(path)
    result = worker.ask(TARGETS[name], arguments)
    assert result.outcome in ("answered", "refused"), result.detail


@pytest.mark.parametrize(
    ("way", "outcome", "signature"),
    [
        ("answer", "answered", ""),
        ("refuse", "refused", ""),
        ("exception", "failed", "KeyError in "),
        ("crash", "failed", "crash: SIGSEGV"),
        ("hang", "failed", "time-out"),
        ("memory", "failed", "too much memory"),
        ("more memory", "failed", "out of memory"),
        ("path", "failed", "the message shows"),
        ("nan", "failed", "score has a number that is not finite"),
        ("sum", "failed", "probabilities sum to"),
    ],
)
def test_a_worker_notices_every_kind_of_failure(worker, way, outcome, signature):
    result = worker.ask(SELF_TEST, [way])
    assert (result.outcome, result.signature.startswith(signature)) == (outcome, True), result
    assert worker.ask(SELF_TEST, ["answer"]).outcome == "answered"  # after a crash, in a new process


@pytest.mark.parametrize(
    ("message", "fault"),
    [
        ("The picture is damaged; save it again.", ""),
        (f"There is no file {ROOT}/a.png.", "shows"),
        ('Traceback (most recent call last): File "x.py"', "shows"),
        ("<object at 0x7f0123456789> is wrong.", "shows"),
        ("One line.\nAnother line.", "not one sentence"),
        ("no", "not one sentence"),
    ],
)
def test_what_a_message_may_show(message, fault):
    assert fault in find_wrong_words(message)
    assert bool(find_wrong_words(message)) == bool(fault)
    assert fault in find_fault({"errors": [message]})


@pytest.mark.parametrize("kind", formats.FILES, ids=lambda kind: kind.name)
def test_the_parts_of_a_file_join_to_the_file(kind):
    for seed in kind.seeds:
        assert kind.split is None or kind.join(kind.split(seed)) == seed
        for numbers in (kind.find_fields, kind.find_lengths):
            places = numbers(seed) if numbers else []
            assert all(0 <= number.start <= len(seed) - number.width for number in places)
        if kind in formats.PICTURES:
            assert min(load_image(seed).size) >= 36


def test_a_failure_is_shrunk_and_the_campaign_goes_on(tmp_path):
    ways = st.tuples(st.sampled_from(["answer", "refuse", "exception"]))
    report = campaign.run([replace(SELF_TEST, weight=1, families={"ways": ways})], 30, workers=1)
    (failure,) = report.failures.values()
    assert (failure.arguments, failure.result.signature[:8]) == (["exception"], "KeyError")
    (tally,) = report.tallies.values()
    assert tally.cases == 30 == tally.answered + tally.refused + tally.failed
    assert min(tally.answered, tally.refused, tally.failed) > 0
    path = campaign.write_case(tmp_path, failure)
    assert campaign.read_case(path) == ("self-test", ["exception"])


def test_bytes_and_odd_numbers_survive_a_file(tmp_path):
    arguments = [b"\0\xff", {"a": float("inf"), "b": "\ud800"}, 10**400]
    failure = campaign.Failure("salary", "rows", arguments, Result("failed"))
    assert campaign.read_case(campaign.write_case(tmp_path, failure)) == ("salary", arguments)


def test_equal_seeds_give_equal_cases():
    def draw(seed):
        seen = []

        class Recorder:
            def ask(self, _, arguments):
                seen.append(json.dumps(arguments, default=campaign.to_base64))
                return Result("refused")

        part = campaign.Slice(TARGETS["cat_dog"], "PNG: parts", 20, seed)
        campaign.SliceRun(part, Recorder(), campaign.Report(), lambda _: None).run()
        return seen

    assert draw("0") == draw("0") != draw("1")


def test_all_cases_are_shared_among_all_families():
    shares = list(campaign.share(TARGETS.values(), 50_000))
    assert sum(count for *_, count in shares) == 50_000
    assert {(target.name, family) for target, family, _ in shares} == {
        (name, family) for name, target in TARGETS.items() for family in target.families
    }
    assert sum(target.weight for target in TARGETS.values()) == 100
    families = {family for target in TARGETS.values() for family in target.families}
    for kind in formats.FILES:
        assert {f"{kind.name}: {family}" for family in mutants.list_families(kind)} <= families


def test_the_documentation_has_the_number_of_cases():
    text = (ROOT / "docs/fuzzing.md").read_text(encoding="utf-8")
    assert re.search(r"make fuzz.*50,000", text, re.DOTALL)

"""SECURITY.md and docs/faults.md: every promise names its tests, and these exist."""

import json
import re

import pytest

from tests.conftest import ROOT


@pytest.mark.parametrize(("document", "folder", "least"), [("SECURITY.md", "", 15), ("docs/faults.md", "tests/", 11)])
def test_every_row_names_a_test_that_exists(document, folder, least):
    named = re.compile(rf"`{folder}([\w/]+\.py)::(test_\w+)`")
    text = (ROOT / document).read_text(encoding="utf-8")
    table = next(part for part in text.split("\n\n") if named.search(part))
    rows = [row.split(" | ") for row in table.splitlines()[2:]]
    assert len(rows) >= least
    for *_, last in rows:
        found = named.findall(last)
        assert found, last
        for path, name in found:
            assert f"\ndef {name}(" in (ROOT / "tests" / path).read_text(encoding="utf-8"), (path, name)


def test_the_figures_of_the_load_are_those_of_the_results():
    found = json.loads((ROOT / "benchmarks/results/load.json").read_text(encoding="utf-8"))
    text = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    states, failures, counts = found["states"], found["failures"], found["counts"]
    asked = f"{states['at rest again']['requests']:,} requests, {counts['hostile']:,} attacks"
    failed = f"{failures['5xx']} answers 5xx, {failures['stopped']} stopped, {failures['wrong']} wrong"
    assert f"{asked}: {failed}, {counts.get('told to wait', 0)} told to wait" in text
    first, last = (states[name]["megabytes"] for name in ("after the first minute", "in the last minute"))
    assert f"{first:.0f} MB, {last:.0f} MB" in text
    rests = [states[name] for name in ("at rest", "at rest again", "after a rest")]
    kinds = ("open_files", "threads", "files")
    assert "; ".join(", ".join(f"{rest[kind]:.0f}" for rest in rests) for kind in kinds) in text
    for name in ("page", "cat_dog", "sentiment", "salary", "segmentation"):
        median, late = (float(f"{found['latencies'][name][key] / 1000:.2g}") for key in ("p50", "p95"))
        assert f"{name} {median:g} and {late:g} s" in text

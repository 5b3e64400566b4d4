"""The command line of the training scripts: error messages, and its use in a notebook."""

import asyncio
import importlib
import io
import os
import re
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="torch and fastai are not installed: make test-all")

from tests.conftest import DEMOS, ROOT
from tests.training.test_demos import load_recipe
from tests.training.test_folder import limit_disk
from training import command, evaluate
from training.command import OptionError, make_parser
from training.data import DataError
from training.recipes.image_classification import ImageClassification
from training.recipes.image_segmentation import ImageSegmentation
from training.recipes.text_classification import TextClassification
from training.salary import Salary
from training.salary import main as train_salary

pytestmark = pytest.mark.training


@pytest.fixture
def salary():
    """A recipe whose data cannot be read, with a reason to set."""

    class Failing(Salary):
        reason = KeyboardInterrupt()

        def load(self, *_):
            raise self.reason

    return Failing()


def test_interruptions_and_bad_data_end_with_one_message(salary, tmp_path, capsys):
    out = ["--out", str(tmp_path / "model")]
    assert command.main(salary, out) == 130
    assert "--resume to continue" in capsys.readouterr().err
    salary.reason = DataError("No such file.")
    assert command.main(salary, out) == 2
    assert capsys.readouterr().err == "error: No such file.\n"


def test_a_character_that_the_console_cannot_encode_is_escaped(tmp_path, monkeypatch):
    console = io.TextIOWrapper(io.BytesIO(), "cp1252", "strict")
    monkeypatch.setattr(sys, "stdout", console)
    figures = [evaluate.make_figure("error_猫", 0.25, None, "写真", "held-out fifth", 4)]

    class Figures(Salary):
        def load(self, *_):
            evaluate.print_figures(figures)
            raise KeyboardInterrupt

    assert command.main(Figures(), ["--out", str(tmp_path / "model")]) == 130
    assert rb"error_\u732b" in console.buffer.getvalue()


def test_a_full_disk_is_named_after_the_training(salary, tmp_path, monkeypatch):
    def full():
        limit_disk(monkeypatch, 0)
        return RuntimeError("PytorchStreamWriter failed writing file")

    limit_disk(monkeypatch, 10**9)
    monkeypatch.setattr(type(salary), "reason", property(lambda _: full()))
    with pytest.raises(DataError, match=f"The disk is full: {tmp_path}"):
        command.run(salary, ["--out", str(tmp_path / "model")])


def test_an_error_that_has_nothing_to_do_with_the_disk_is_not_hidden(salary, tmp_path):
    salary.reason = RuntimeError("a fault of ours")
    with pytest.raises(RuntimeError, match="a fault of ours"):
        command.run(salary, ["--out", str(tmp_path / "model")])


@pytest.mark.skipif(not os.path.isdir("/proc"), reason="a file system on which nothing can be written")
def test_a_folder_to_measure_that_is_read_only_is_refused_before_the_measuring():
    with pytest.raises(DataError, match=r"/proc.* is not writable"):
        command.run(load_recipe("segmentation"), ["--measure", "/proc"])


def run_in_event_loop(function, *options):
    """Call a function within a running event loop, as a notebook does."""

    async def cell():
        return function(list(options))

    return asyncio.run(cell())


@pytest.fixture
def kernel(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["ipykernel_launcher.py", "-f", "kernel-1.json"])


@pytest.mark.parametrize("name", DEMOS)
def test_a_script_takes_its_options_as_a_list_in_a_notebook(name, tmp_path, monkeypatch, kernel):
    script = importlib.import_module(f"training.{name}")
    given = []
    monkeypatch.setattr(command, "make", lambda _, options, __: given.append(options) or Path(options.out))
    assert run_in_event_loop(script.main, "--smoke", "--out", tmp_path / "model") == tmp_path / "model"
    assert (given[0].smoke, given[0].data) == (True, None)
    with pytest.raises(OptionError, match="unrecognized arguments: -f kernel"):
        run_in_event_loop(script.main, "-f", "kernel")
    with pytest.raises(OptionError, match="without --resume"):
        run_in_event_loop(script.main, "--recipe", "book", "--embed")
    monkeypatch.undo()
    (tmp_path / "other").mkdir()
    (tmp_path / "other/file").write_text("mine", encoding="utf-8")
    with pytest.raises(DataError, match="not a checkpoint folder; choose another one"):
        run_in_event_loop(script.main, "--smoke", "--out", tmp_path / "other")


@pytest.mark.parametrize("seed", [-1, 2**31, "x", 0.5])
def test_an_impossible_seed_is_refused(seed):
    with pytest.raises(OptionError, match=f"argument --seed: {seed} is not a whole number from 0 to 2147483647"):
        train_salary(["--smoke", "--seed", seed])


@pytest.mark.parametrize(
    ("recipe", "option", "bad", "good", "sentence"),
    [
        (ImageSegmentation(), "--teachers", ["-2", "1.5", "x"], [0, 3], "is not a whole number of 0 or more"),
        (TextClassification(), "--masked-epochs", ["-3", "x"], [0, 12], "is not a whole number of 0 or more"),
        (ImageClassification(), "--alpha", ["7", "-0.1", "nan", "x"], [0, 0.3, 1], "is not a number from 0 to 1"),
    ],
)
def test_numbers_have_a_range(recipe, option, bad, good, sentence):
    parser = make_parser(recipe)
    for value in bad:
        with pytest.raises(OptionError, match=f"^argument {option}: {re.escape(value)} {sentence}$"):
            parser.parse_args([option, value])
    name = option[2:].replace("-", "_")
    assert [getattr(recipe.read_settings(parser.parse_args([option, str(value)])), name) for value in good] == good


def test_a_misspelt_option_is_named_with_the_nearest(tmp_path):
    script = importlib.import_module("training.recipes.text_classification")
    with pytest.raises(OptionError, match=r"--lable-column x\. There is an option '--label-column'; did you mean it"):
        script.main(["--lable-column", "x", "--dat", tmp_path])
    with pytest.raises(OptionError, match=r"unrecognized arguments: --zzz$"):
        script.main(["--zzz"])


@pytest.mark.parametrize("name", ["image_classification", "image_segmentation", "text_classification", "tabular"])
def test_a_recipe_takes_its_options_as_a_list_in_a_notebook(name, tmp_path, kernel):
    script = importlib.import_module(f"training.recipes.{name}")
    with pytest.raises(DataError, match="--data"):
        run_in_event_loop(script.main, "--out", tmp_path / "model")
    with pytest.raises(OptionError, match="unrecognized arguments: -f kernel"):
        run_in_event_loop(script.main, "-f", "kernel")


@pytest.mark.parametrize("module", ["training.publish", "training.card"])
def test_publish_and_card_do_not_read_the_kernels_options_either(module, tmp_path, kernel, capsys):
    folder = str(ROOT / "spaces/salary/model")
    words = [folder, "me/salary", "--dry-run"] if module == "training.publish" else [str(tmp_path)]
    assert run_in_event_loop(importlib.import_module(module).main, *words) == (0 if module == "training.publish" else 2)
    printed = capsys.readouterr()
    assert "would be uploaded to me/salary" in printed.out or "has no gallery.json" in printed.err


def test_interrupting_a_notebook_cell_mentions_resume(salary, tmp_path, capsys, kernel):
    with pytest.raises(KeyboardInterrupt):
        command.run(salary, ["--out", str(tmp_path / "model")])
    assert "--resume to continue" in capsys.readouterr().err

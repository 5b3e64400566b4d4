"""What is recorded of a command before it runs: itself, its files, the commit, device and versions."""

import hashlib
import shlex
import subprocess
from dataclasses import fields

import pytest

torch = pytest.importorskip("torch", reason="torch and fastai are not installed: make test-all")

from tests.conftest import ROOT
from tests.training.test_demos import load_recipe
from training import command, record, states
from training.data import DataError
from training.own_data.options import DataOptions
from training.recipes.image_classification import ImageClassification
from training.recipes.image_segmentation import ImageSegmentation
from training.recipes.recommendation import Recommendation
from training.recipes.tabular import Tabular
from training.recipes.text_classification import TextClassification
from training.record import SOURCE

pytestmark = pytest.mark.training


MEASURED = ("--dogs-vs-cats", "--camvid", "--animals")
SCRIPTS = {
    "cat_dog": ["--quick", "--dogs-vs-cats", "{data}", "--camvid", "{data}", "--init", "{weights}", "--examples"],
    "segmentation": ["--init", "{weights}"],
    "sentiment": ["--teachers", "--init", "someone/encoder"],
    "salary": [],
    "rating": [],
}


def parser_of(name):
    return command.make_parser(load_recipe(name))


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_scripts_own_parser_reads_the_recorded_command(name, tmp_path):
    for folder in ("my data", "weights"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "file").write_text(folder)
    places = {"data": str(tmp_path / "my data"), "weights": str(tmp_path / "weights")}
    own = [word.format(**places) for word in SCRIPTS[name]]
    parser = parser_of(name)
    given = ["--data", places["data"], "--seed", "7", "--out", str(tmp_path / "x"), "--embed", "--resume", *own]
    options = parser.parse_args(given)
    recorded = record.record(parser, options)
    assert str(tmp_path) not in str(recorded)  # of a path the name alone
    words = shlex.split(recorded.command)
    assert words[:3] == ["python", "-m", f"training.{name}"]
    again = vars(parser.parse_args(words[3:]))
    names = {places["data"]: "my data", places["weights"]: "weights"}
    ignored = ("out", "embed", "resume")
    expected = {key: names.get(value, value) for key, value in vars(options).items() if key not in ignored}
    assert {key: value for key, value in again.items() if key not in ignored} == expected
    paths = [names[word] for word in given if word in names]
    assert sorted(item.name for item in recorded.inputs) == sorted(paths)


RECIPES = [ImageClassification(), ImageSegmentation(), TextClassification(), Tabular(), Recommendation()]
ALL = [*RECIPES, *map(load_recipe, SCRIPTS)]
BY_MODULE = {"argvalues": ALL, "ids": [recipe.module for recipe in ALL]}


@pytest.mark.parametrize("recipe", **BY_MODULE)
def test_only_paths_are_taken_for_files(recipe, tmp_path, monkeypatch):
    """Though there is a file for each word in the current folder."""
    monkeypatch.chdir(tmp_path)
    parser = command.make_parser(recipe)
    actions = [
        action for action in parser._actions if action.metavar and not action.choices and action.type is None
        and action.dest not in record.UNRECORDED
    ]  # fmt: skip
    for action in actions:
        (tmp_path / action.dest).write_text(action.dest)
    options = parser.parse_args([word for action in actions for word in (action.option_strings[0], action.dest)])
    found = {item.option for item in record.record(parser, options).inputs}
    assert found == {"--data", "--init", "--about", "--labels", "--items", *MEASURED} & set(
        parser._option_string_actions
    )


@pytest.mark.parametrize("recipe", **BY_MODULE)
def test_the_states_of_a_run_cut_what_the_record_takes_for_files(recipe):
    settings, own = ({item.name for item in fields(kind)} for kind in (recipe.settings, DataOptions))
    assert not settings & own  # they are compared together
    actions = [action for action in command.make_parser(recipe)._actions if action.dest in settings | own]
    trains = [action for action in actions if action.dest not in recipe.measuring]
    assert {action.dest for action in trains if action.metavar in record.PATH_METAVARS} == {
        action.dest for action in actions if action.dest in states.PATH_SETTINGS
    }


def test_the_recorded_hash_is_that_of_sha256sum_over_the_sorted_files(tmp_path):
    data = tmp_path / "data"
    (data / "b").mkdir(parents=True)
    (data / "b/one.txt").write_text("1")
    (data / "a.txt").write_text("2")
    (data / SOURCE).write_text("# data: made smaller\n")
    parser = parser_of("salary")
    (found,) = record.record(parser, parser.parse_args(["--data", str(data)])).inputs
    listed = subprocess.run(
        ["sha256sum", SOURCE, "a.txt", "b/one.txt"], cwd=data, capture_output=True, check=True
    ).stdout
    assert found.model_dump() == {
        "option": "--data", "name": "data", "files": 3, "sha256": hashlib.sha256(listed).hexdigest(),
        "source": "# data: made smaller",
        "data_sha256": hashlib.sha256(b"".join(listed.splitlines(keepends=True)[1:])).hexdigest(),
    }  # fmt: skip
    for name in ("about.yaml", ".DS_Store", "b/Thumbs.db"):
        (data / name).write_text("no data")
    (more,) = record.record(parser, parser.parse_args(["--data", str(data)])).inputs
    assert more.data_sha256 == found.data_sha256
    assert more.sha256 != found.sha256
    (data / "b/one.txt").rename(data / "b/two.txt")
    (renamed,) = record.record(parser, parser.parse_args(["--data", str(data)])).inputs
    assert renamed.sha256 != found.sha256
    (one,) = record.record(parser, parser.parse_args(["--data", str(data / "a.txt")])).inputs
    assert (one.files, one.sha256) == (1, hashlib.sha256(b"2").hexdigest())


def test_a_source_in_another_encoding_gets_a_sentence(tmp_path):
    (tmp_path / SOURCE).write_bytes("Fotos von Jürgen".encode("cp1252"))
    parser = parser_of("salary")
    with pytest.raises(DataError, match=r"SOURCE\.md is not in the encoding UTF-8; save it again"):
        record.record(parser, parser.parse_args(["--data", str(tmp_path)]))


def test_the_source_of_weights_may_be_in_the_folder_above_that_of_data_may_not(tmp_path):
    (tmp_path / SOURCE).write_text("dequantised")
    for name in ("data", "weights"):
        (tmp_path / name).mkdir()
    (tmp_path / "weights/config.json").write_text("{}")
    parser = parser_of("segmentation")
    options = parser.parse_args(["--data", str(tmp_path / "data"), "--init", str(tmp_path / "weights")])
    found = {item.option: item.source for item in record.record(parser, options).inputs}
    assert found == {"--data": None, "--init": "dequantised"}


def test_of_a_source_above_the_weights_only_what_it_says_about_them_counts(tmp_path):
    weights = tmp_path / "weights"
    weights.mkdir()
    (weights / "config.json").write_text("{}")
    ours = "## weights (14 MB) -> a network\nDequantised.\n\nChecked."
    (tmp_path / SOURCE).write_text(f"# Networks\n\nBoth load.\n\n{ours}\n\n## weights-large\nOf others.\n")
    assert record.hash_input(weights)["source"] == ours
    assert record.hash_input(weights.rename(tmp_path / "other"))["source"] == "Both load."
    (tmp_path / "other" / SOURCE).write_text("# All\n\nof this.")
    assert record.hash_input(tmp_path / "other")["source"] == "# All\n\nof this."


def test_a_training_is_recorded_with_the_commit_and_the_versions_that_trained(monkeypatch):
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    if commit.returncode:
        pytest.skip("not in a git repository")
    parser = parser_of("salary")
    recorded = record.record(parser, parser.parse_args(["--smoke", "--seed", "3"]))
    found = recorded.describe_training(started=0.0, seed=3, notes=["A note."])
    assert found.command == "python -m training.salary --smoke --seed 3"
    assert found.commit.removesuffix(", with changes") == commit.stdout.strip()
    assert found.versions["torch"] == torch.__version__
    assert (found.seed, found.notes) == (3, ("A note.",))
    monkeypatch.setattr(record, "__file__", "/elsewhere/training/record.py")
    assert record.get_commit() is None

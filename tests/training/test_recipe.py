"""The runner: what it measures, what it refuses to write, and what it keeps when it measures again."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch and fastai are not installed: make test-all")
pytest.importorskip("fastai", reason="fastai is not installed: make test-all")

from onnx import numpy_helper

from hub.staging import make_name
from shared import load_model
from shared.config import sha256
from shared.metrics import Figure, Measured, Metrics
from tests.training.test_demos import load_recipe
from training import command
from training.data import DataError, TestSet
from training.measure_again import NEED_NETWORK, merge_metrics
from training.parity import ParityError, Shown
from training.recipe import GROUPED, answer, load, start_run
from training.recipes.image_classification import ImageClassification
from training.recipes.image_segmentation import ImageSegmentation
from training.recipes.recommendation import Recommendation
from training.recipes.tabular import Tabular
from training.record import Record
from training.tables.targets import compute_probabilities

pytestmark = pytest.mark.training


class Quick(Tabular):
    """The tabular recipe, trained once in this file; tests change its export."""

    fitted = None
    change = staticmethod(lambda exported: exported)

    def fit(self, splits, settings, run):
        self.run = run
        Quick.fitted = Quick.fitted or super().fit(splits, settings, run)
        return Quick.fitted

    def export(self, network, splits, settings):
        return self.change(super().export(network, splits, settings))

    def measure(self, found):
        self.found = found
        return super().measure(found)


def make(recipe, out, *options):
    return command.run(recipe, ["--smoke", "--out", str(out), *map(str, options)])


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The trained recipe and its folder."""
    recipe = Quick()
    return recipe, make(recipe, tmp_path_factory.mktemp("made") / "model")


@pytest.fixture
def folder(made, tmp_path):
    """A copy of the folder, with the made-up rows beside it."""
    shutil.copytree(made[1].with_name("tabular-made-up"), tmp_path / "tabular-made-up")
    return shutil.copytree(made[1], tmp_path / "model")


# --- making a model ---


def test_the_figures_are_those_of_the_stored_model(made):
    recipe, out = made
    test = recipe.found.splits.tests[0]
    answers = load_model(out).predict_batch(test.inputs)
    right = [answer.label == recipe.found.splits.labels[y] for answer, y in zip(answers, test.targets, strict=True)]
    accuracy = Metrics.read(out).figures[0]
    assert (accuracy.name, accuracy.count, accuracy.split) == ("accuracy", 300, "held-out fifth")
    assert accuracy.value == round(np.mean(right), 6)
    assert recipe.found.model.config.files["onnx/model.onnx"].sha256 == sha256(out / "onnx/model.onnx")


def test_intervals_of_grouped_data_are_said_to_be_narrow(made):
    recipe, out = made
    found = recipe.found
    grouped = replace(found.settings, own=replace(found.settings.own, group="code"))
    assert Tabular().measure(replace(found, settings=grouped))["notes"].count(GROUPED) == 1
    assert GROUPED not in Metrics.read(out).notes


def test_it_measures_a_model_without_metrics_and_then_hashes_them(made):
    recipe, out = made
    assert recipe.found.model.metrics is None
    files = json.loads((out / "gallery.json").read_text())["files"]
    assert files["metrics.json"]["sha256"] == sha256(out / "metrics.json")
    assert {name for name, file in files.items() if sha256(out / name) != file["sha256"]} == set()
    assert f"{Metrics.read(out).figures[0].value:.4f}" in (out / "README.md").read_text()


def test_what_was_trained_and_how_close_it_is_to_torch_is_recorded(made):
    metrics = Metrics.read(made[1])
    assert metrics.trained.command == "python -m training.recipes.tabular --smoke"
    assert metrics.trained.notes[0] == "It averages 2 networks of 2 members each (TabM)."
    assert metrics.measured.command is None  # it is the training's
    assert metrics.parity_float.largest_difference < 1e-5 < metrics.parity.tolerance
    assert metrics.parity.rows == 300
    assert metrics.parity.relabelled <= metrics.parity.relabelled_allowed


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tolerance_float": -1.0}, "differs from torch by"),
        ({"tolerance": -1.0}, "differs from torch by"),
        ({"shown": Shown("probability", compute_probabilities, "rows", "rows", typical=-1.0)}, "at most -1.0"),
    ],
)
def test_nothing_is_written_if_the_model_differs_from_torch(folder, change, message):
    recipe = Quick()
    recipe.change = lambda exported: replace(exported, **change)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(ParityError, match=message):
        make(recipe, folder)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    assert {path.name for path in folder.parent.iterdir()} == {"model", "tabular-made-up"}
    assert not hasattr(recipe, "found")  # nor is it measured


class Checked(Quick):
    """The same with validation data, to measure the cost of storing the weights."""

    def load_own(self, data, settings):
        splits = super().load_own(data, settings)
        return replace(splits, check=replace(splits.tests[0], data="validation rows", split="all"))


def damaging(exported):
    """Return an export that loses its weights when stored, with no limit on differences."""

    def zeros(model):
        for tensor in model.graph.initializer:
            values = numpy_helper.to_array(tensor)
            if values.dtype == np.float32 and values.ndim > 1:
                tensor.CopyFrom(numpy_helper.from_array(values * 0, tensor.name))
        return model

    return replace(exported, store=zeros, tolerance=1e6, shown=replace(exported.shown, typical=1.0, relabelled=1.0))


def test_a_model_that_loses_accuracy_when_stored_is_stored_in_float16_or_refused(tmp_path, capsys):
    recipe = Checked()
    recipe.change = damaging
    figures = Metrics.read(make(recipe, tmp_path / "model")).figures
    before, after = (item for item in figures if item.name in ("validation_float32", "validation"))
    assert abs(before.value - after.value) < 0.01
    assert Metrics.read(tmp_path / "model").parity.weights == "float16"
    assert "to ONNX with weights in float16" in (tmp_path / "model/README.md").read_text(encoding="utf-8")
    said = capsys.readouterr().out
    assert "so the model is stored in a larger form" in said
    assert "HistGradientBoosting on all 4 columns, one seed: accuracy 0." in said
    assert f"make demo MODELS={tmp_path / 'model'}" in said
    assert f"python spaces/deploy.py {tmp_path / 'model'} --owner USER --static" in said
    assert f"python -m training.publish {tmp_path / 'model'} USER/{make_name(tmp_path)}" in said
    shutil.rmtree(tmp_path / "model")
    recipe.max_accuracy_drop, recipe.max_answers_lost = -1.0, -1.0
    with pytest.raises(ParityError, match=r"lowers the score on 300 validation inputs from 0\.\d+ to 0\.\d+\."):
        make(recipe, tmp_path / "model")
    assert not (tmp_path / "model").exists()
    recipe.max_accuracy_drop = 1.0
    figures = Metrics.read(make(recipe, tmp_path / "model")).figures
    before, after = (item for item in figures if item.name in ("validation_float32", "validation"))
    assert (before.label, after.label) == ("accuracy, with float32 weights", "accuracy, as stored")
    assert before.value > after.value + 0.1
    assert (before.data, after.count) == ("validation rows", 300)


def test_a_resumed_run_counts_all_its_seconds_and_deletes_its_states(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    class Interrupted(Quick):
        def fit(self, _splits, _settings, run):
            (run.state / "net-0").mkdir(parents=True)
            (run.state / "net-0/seconds").write_text("1000")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make(Interrupted(), tmp_path / "model")
    recipe = Quick()
    make(recipe, tmp_path / "model", "--resume")
    assert 1000 <= Metrics.read(tmp_path / "model").trained.seconds < 1100
    assert not recipe.run.state.exists()


def test_what_is_only_measured_on_does_not_decide_which_run_is_resumed(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    recipe = load_recipe("cat_dog")

    def state(*words):
        options = command.make_parser(recipe).parse_args([*words, "--resume"])
        return start_run(recipe, options, recipe.read_settings(options)).state

    assert state("--camvid", "x") == state()
    assert state("--quick") != state()


@pytest.mark.parametrize(
    ("recipe", "measuring", "training"),
    [
        (Tabular, ("--unit", "EUR", "--groups", "age"), ("--time", "day")),
        (Recommendation, ("--unit", "stars", "--users", "--item-name", "book"), ("--rating-column", "stars")),
        (ImageClassification, ("--examples", "--alpha", "0.2"), ("--label-column", "breed")),
        (ImageSegmentation, ("--examples",), ("--void", "255")),
    ],
)
def test_a_run_is_resumed_though_options_that_train_nothing_change(tmp_path, recipe, measuring, training):
    def start(*words):
        words = [*words, "--states", str(tmp_path / "states"), "--out", str(tmp_path / "model")]
        options = command.make_parser(recipe()).parse_args(words)
        return start_run(recipe(), options, recipe().read_settings(options)).state

    assert start() == start("--resume", *measuring)
    name = recipe().name
    with pytest.raises(DataError, match=f"of another run of {name} .other: {training[0]}.; give the options"):
        start("--resume", *measuring, *training)


def test_measuring_keeps_the_states_of_an_interrupted_training(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    recipe = load_recipe("salary")

    def start(*words):
        options = command.make_parser(recipe).parse_args(["--smoke", *words])
        return start_run(recipe, options, recipe.read_settings(options)).state

    interrupted = start("--resume")
    interrupted.mkdir(parents=True)
    start("--measure", "model")
    assert interrupted.exists()


def test_a_folder_that_has_no_states_is_refused_before_the_data_is_read(tmp_path, monkeypatch):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/cat.jpg").write_bytes(b"cat")
    recipe = Quick()
    monkeypatch.setattr(recipe, "load_own", None)
    with pytest.raises(DataError, match="photos exists and is not a folder of states"):
        make(recipe, tmp_path / "model", "--states", tmp_path / "photos")
    assert (tmp_path / "photos/cat.jpg").read_bytes() == b"cat"


# --- data and settings ---


def test_options_set_the_fields_of_their_names(tmp_path):
    recipe = Tabular()
    options = command.make_parser(recipe).parse_args(["--target", "churned", "--seed", "7"])
    settings = recipe.read_settings(options)
    assert settings == replace(recipe.settings(), target="churned", seed=7)
    options.smoke = True
    assert recipe.read_settings(options) == replace(recipe.settings.smoke(), target="churned", seed=7)


def test_smoke_makes_up_data_unless_some_is_named(tmp_path):
    recipe = Tabular()
    own = recipe.make_up(tmp_path / "own", 1)

    def name(*words):
        options = command.make_parser(recipe).parse_args([*words, "--out", str(tmp_path / "model")])
        return load(recipe, options, recipe.read_settings(options)).description.about.title

    made_up = tmp_path / "tabular-made-up/rows.csv"
    assert name("--smoke", "--data", own) == "Rows"
    assert not made_up.exists()
    assert name("--smoke") == "Rows"
    assert made_up.exists()
    with pytest.raises(DataError, match=r"Name the data with --data; python -m training.recipes.tabular --help"):
        name()


def test_smoke_and_other_data_delete_no_model(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert command.run(Quick(), ["--smoke"]) == Path("runs/tabular-smoke")
    for name in ("first", "second"):
        shutil.copyfile("tabular-made-up/rows.csv", f"{name}.csv")
        make(Quick(), "runs/tabular", "--data", f"{name}.csv")
    assert sorted(path.name for path in (tmp_path / "runs").iterdir() if "made-up" not in path.name) == [
        "tabular", "tabular-before", "tabular-smoke",
    ]  # fmt: skip
    assert load_model("runs/tabular-before").config.about.title == "First"
    assert f"The model of first that was in {tmp_path / 'runs/tabular'} is kept in" in capsys.readouterr().out


def test_an_input_that_is_refused_is_named(made):
    test = made[0].found.splits.tests[0]
    inputs = [*test.inputs[:70], test.inputs[70] | {"age": "old"}, *test.inputs[71:]]
    answers = answer(load_model(made[1]), inputs)
    with pytest.raises(DataError, match=r"Input 70 .*age must be a number"):
        list(answers)


def test_a_test_set_says_where_a_figure_is_from():
    test = TestSet("flowers", "held-out fifth", [1, 2, 3], [0, 1, 0])
    assert test.where == {"data": "flowers", "split": "held-out fifth", "count": 3}


# --- measuring again ---


def figure(name, value=0.5, measured=None):
    return Figure(name=name, value=value, interval=None, data="rows", split="test", count=9, measured=measured)


def test_what_needed_the_trained_network_is_kept_with_its_date(made):
    before = Metrics.read(made[1]).model_copy(
        update={
            "measured": Measured(date="2026-01-01"),
            "figures": (
                figure("accuracy", 0.1), figure("ece_before", 0.2), figure("accuracy_cv", 0.3, "2025-12-31"),
                figure("dropped", 0.4),
            ),
            "provenance": "Nobody wrote it down.",
        }
    )  # fmt: skip
    now = Metrics(headline="now", figures=(figure("accuracy", 0.9),), measured=Measured(date="2026-02-02"))
    found = merge_metrics(before, now)
    assert [(item.name, item.value, item.measured) for item in found.figures] == [
        ("accuracy", 0.9, None), ("ece_before", 0.2, "2026-01-01"), ("accuracy_cv", 0.3, "2025-12-31"),
    ]  # fmt: skip
    assert (found.headline, found.measured.date) == ("now", "2026-02-02")
    assert (found.trained, found.provenance) == (before.trained, before.provenance)
    assert found.parity == before.parity.model_copy(update={"measured": "2026-01-01"})
    assert merge_metrics(found, now) == found  # a second time the dates stay
    assert merge_metrics(None, now) == now


def test_a_figure_is_not_kept_that_was_measured_anew(made):
    before = Metrics.read(made[1])
    now = Metrics(headline="now", figures=(figure("ece_before", 0.9),), measured=Measured(date="2026-02-02"))
    kept = {item.name: item.value for item in merge_metrics(before, now).figures}
    assert kept == {"ece_before": 0.9, "accuracy_cv": next(i.value for i in before.figures if i.name == "accuracy_cv")}
    assert kept.keys() <= NEED_NETWORK


def test_measuring_again_keeps_the_model_and_what_its_author_wrote(folder):
    config = json.loads((folder / "gallery.json").read_text())
    config["about"]["intended_use"] = "To plan the harvest."
    (folder / "gallery.json").write_text(json.dumps(config))
    model = (folder / "onnx/model.onnx").read_bytes()
    recipe = Quick()
    assert command.run(recipe, ["--smoke", "--out", str(folder), "--measure", str(folder)]) == folder
    assert (folder / "onnx/model.onnx").read_bytes() == model
    assert recipe.found.exported is None
    again = load_model(folder)
    assert again.config.about.intended_use == "To plan the harvest."
    assert "To plan the harvest." in (folder / "README.md").read_text()
    assert again.metrics.measured.command == "python -m training.recipes.tabular --smoke --measure DIR"


def test_a_folder_of_other_labels_or_none_at_all_cannot_be_measured(folder, tmp_path):
    before = (folder / "metrics.json").read_bytes()
    people = load_recipe("salary")
    with pytest.raises(DataError, match="has the labels no, yes, but the data has <50k, >=50k"):
        command.run(people, ["--smoke", "--out", str(tmp_path / "x/model"), "--measure", str(folder)])
    (folder / "onnx/model.onnx").write_bytes(b"half")
    with pytest.raises(DataError, match=r"model\.onnx"):
        make(Quick(), folder, "--measure", folder)
    with pytest.raises(DataError, match="is not a checkpoint folder"):
        make(Quick(), folder, "--measure", tmp_path)
    assert (folder / "metrics.json").read_bytes() == before


def test_a_record_of_measuring_names_its_command_and_commit():
    measured = Record("python -m training.salary --data adult", "abc123").describe_measurement()
    assert measured.command == "python -m training.salary --data adult --measure DIR"
    assert measured.commit == "abc123"

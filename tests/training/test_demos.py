"""Every demo: a smoke training, its folder, measuring again, and the book's cell."""

import importlib
import json
import shutil
from pathlib import Path

import pytest

pytest.importorskip("fastai", reason="fastai is not installed: make test-all")

from shared import load_model
from shared.metrics import Metrics
from tests.conftest import DEMOS, ROOT
from training import command
from training.recipe import Recipe

MAJORITY = {"cat_dog": 0.34, "sentiment": 0.51, "salary": 0.6}  # a share of right answers that is no achievement


def load_recipe(name: str) -> Recipe:
    """Return the demo of this name."""
    module = importlib.import_module(f"training.{name}")
    kinds = [kind for kind in vars(module).values() if isinstance(kind, type) and issubclass(kind, Recipe)]
    (kind,) = [kind for kind in kinds if kind.__module__ == module.__name__]
    return kind()


def train(name, *options) -> int:
    return command.main(load_recipe(name), [str(option) for option in options])


@pytest.fixture(scope="module", params=DEMOS)
def made(request, tmp_path_factory):
    """The name of a demo, and the folder written by its smoke training."""
    folder = tmp_path_factory.mktemp(request.param) / "model"
    assert train(request.param, "--smoke", "--out", folder) == 0
    return request.param, folder


def test_the_folder_answers_and_says_how_it_was_made(made):
    name, folder = made
    model = load_model(folder)
    assert model.predict_batch([model.example()])
    assert model.metrics.trained.command == f"python -m training.{name} --smoke"
    assert model.metrics.trained.seed == 42
    assert model.metrics.parity.largest_difference <= max(
        model.metrics.parity.tolerance
        if isinstance(model.metrics.parity.tolerance, tuple)
        else (model.metrics.parity.tolerance,)
    )
    card = (folder / "README.md").read_text()
    assert model.metrics.figures[0].label in card
    assert "gallery.json" not in {path.name for path in folder.rglob("*.pkl")}


@pytest.mark.parametrize("made", sorted(MAJORITY), indirect=True)
def test_the_model_is_better_than_chance(made):
    name, folder = made
    first = load_model(folder).metrics.figures[0].value
    assert (1 - first if name == "cat_dog" else first) > MAJORITY[name]


def test_measured_again_it_has_the_same_figures_and_keeps_what_needed_the_network(made, tmp_path):
    name, folder = made
    copy = shutil.copytree(folder, tmp_path / "model")
    if name == "rating":
        pytest.skip("it cross-validates again, with the same code: see test_recommendation.py")
    before, weights = Metrics.read(folder), (folder / "onnx/model.onnx").read_bytes()
    data = next(path for path in folder.parent.iterdir() if path.name.endswith("made-up"))
    shutil.copytree(data, tmp_path / data.name)
    assert train(name, "--smoke", "--out", tmp_path / "model", "--measure", copy) == 0
    after = load_model(copy).metrics
    assert (copy / "onnx/model.onnx").read_bytes() == weights
    assert after.trained == before.trained
    assert after.measured.command == f"python -m training.{name} --smoke --measure DIR"
    figures = {(item.name, item.data): item for item in after.figures}
    for item in before.figures:
        again = figures[item.name, item.data]
        assert again.value == item.value
        assert (again.measured is None) or again.measured == before.measured.date
    assert after.parity.measured == before.measured.date


def test_the_books_cell_prints_its_figure_beside_the_books(capsys, tmp_path, monkeypatch):
    def no_network(*args, **kwargs):
        raise OSError("no network")

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", no_network)
    monkeypatch.setattr("fastai.text.learner.untar_data", no_network)
    for name in DEMOS:
        assert train(name, "--recipe", "book", "--smoke", "--out", tmp_path / name) == 0
        assert "; the book's: 0." in capsys.readouterr().out
        assert not (tmp_path / name).exists()


@pytest.mark.parametrize("name", DEMOS)
def test_the_recorded_commands_of_the_embedded_models_parse(name):
    metrics = json.loads((ROOT / "spaces" / name / "model/metrics.json").read_text())
    parser = command.make_parser(load_recipe(name))
    for record in (metrics["measured"], metrics.get("trained")):
        if record and record.get("command"):
            _, _, module, *options = record["command"].split()
            assert module == f"training.{name}"
            assert parser.parse_args(options)


@pytest.mark.parametrize("name", DEMOS)
def test_the_embedded_folder_has_the_description_of_the_space(name):
    from training.description import read_description

    used = ("dogs_vs_cats", "camvid", "animals") if name == "cat_dog" else ()
    assert load_model(ROOT / "spaces" / name / "model").config.about == read_description(name, used).about


def test_settings_do_not_depend_on_the_hardware(monkeypatch):
    for name in DEMOS:
        recipe = load_recipe(name)
        options = command.make_parser(recipe).parse_args([])
        here = recipe.read_settings(options)
        monkeypatch.setattr("torch.cuda.is_available", lambda: True)
        assert recipe.read_settings(options) == here
        monkeypatch.undo()


def test_a_place_that_is_not_a_checkpoint_folder_is_left_alone(tmp_path, capsys):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.txt").write_text("years of work")
    assert train("salary", "--smoke", "--out", tmp_path / "mine") == 2
    assert "is not a checkpoint folder" in capsys.readouterr().err
    assert Path(tmp_path / "mine/thesis.txt").read_text(encoding="utf-8") == "years of work"

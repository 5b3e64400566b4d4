"""Every demo: the book's cell, recorded commands, descriptions and settings; test_loop.py trains them."""

import importlib
import json
from pathlib import Path

import pytest

pytest.importorskip("fastai", reason="fastai is not installed: make test-all")
from fastai.text.models.awdlstm import awd_lstm_clas_config

from shared import load_model
from tests.conftest import DEMOS, ROOT
from training import command
from training.recipe import Recipe


def load_recipe(name: str) -> Recipe:
    """Return the demo of this name."""
    module = importlib.import_module(f"training.{name}")
    kinds = [kind for kind in vars(module).values() if isinstance(kind, type) and issubclass(kind, Recipe)]
    (kind,) = [kind for kind in kinds if kind.__module__ == module.__name__]
    return kind()


def train(name, *options) -> int:
    return command.main(load_recipe(name), [str(option) for option in options])


def test_the_books_cell_prints_its_figure_beside_the_books(capsys, tmp_path, monkeypatch):
    def no_network(*args, **kwargs):
        raise OSError("no network")

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", no_network)
    monkeypatch.setattr("fastai.text.learner.untar_data", no_network)
    monkeypatch.setitem(awd_lstm_clas_config, "n_hid", 32)  # a small one, since it is trained from scratch
    assert (
        train("sentiment", "--recipe", "book", "--smoke", "--out", tmp_path / "out") == 0
    )  # the others: see test_loop.py
    assert "; the book's: 0." in capsys.readouterr().out
    assert not (tmp_path / "out").exists()


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

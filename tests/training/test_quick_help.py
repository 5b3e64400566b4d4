"""The help of a command is the same with and without the packages that take seconds to import."""

import importlib
import os
import subprocess
import sys

import pytest

pytest.importorskip("torch", reason="torch and fastai are not installed: make test-all")

from tests.conftest import DEMOS, ROOT
from training import command
from training.convert import make_parser
from training.recipe import Recipe

pytestmark = pytest.mark.training
RECIPES = [f"recipes.{path.stem}" for path in sorted((ROOT / "training/recipes").glob("[!_]*.py"))]


@pytest.fixture(autouse=True)
def wide(monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")


def ask_for_help(module: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", module, "--help"], cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", [*DEMOS, *RECIPES])
def test_help_of_a_training_script(name):
    module = importlib.import_module(f"training.{name}")
    (kind,) = [
        kind
        for kind in vars(module).values()
        if isinstance(kind, type) and issubclass(kind, Recipe) and kind.__module__ == module.__name__
    ]
    parser = command.make_parser(kind())
    assert ask_for_help(f"training.{name}") == parser.format_help()


def test_help_of_the_conversion():
    assert ask_for_help("training.convert") == make_parser().format_help()


def test_torch_is_not_imported_for_help():
    code = "import sys; sys.argv = ['-m', '--help']; import training, torch; print(getattr(torch, '__file__', None))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "None\n"

"""Follow docs/add_a_model.md: a sixth model from one script and one folder."""

import importlib
import os
import re
import shutil
import subprocess
import sys

import pytest

pytest.importorskip("fastai", reason="fastai is not installed: make test-all")

from shared import load_model
from tests.conftest import DEMOS, ROOT, python_path
from training.recipe import Recipe

pytestmark = pytest.mark.training
TEXT = (ROOT / "docs/add_a_model.md").read_text(encoding="utf-8")


def snippet(language, number=0):
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)[number]


def files(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """A copy of the packages with the sixth model, and the new files."""
    copy = tmp_path_factory.mktemp("sixth")
    for name in ("spaces", "training", "shared", "hub"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    before = files(copy)
    (copy / "training/tumour.py").write_text(snippet("python"), encoding="utf-8")
    subprocess.run(["bash", "-e", "-c", snippet("bash")], cwd=copy, check=True)
    (copy / "spaces/tumour/about.yaml").write_text(snippet("yaml"), encoding="utf-8")
    (train, _) = snippet("bash", 1).splitlines()
    environment = os.environ | {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, *train.split()[1:]]
    done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return copy, files(copy) - before


def test_the_recipes_of_its_table_exist():
    found = re.findall(r"`(training\.recipes\.\w+)\.(\w+)`", TEXT)
    assert len(found) == 5
    assert all(issubclass(getattr(importlib.import_module(module), name), Recipe) for module, name in found)


def test_nothing_but_one_script_and_one_folder_is_new(repository):
    copy, new = repository
    assert {name for name in new if not name.startswith("spaces/tumour/")} == {"training/tumour.py"}
    assert len((copy / "training/tumour.py").read_text().splitlines()) < 40


@pytest.mark.parametrize("rule", [["check"], ["format", "--check"]])
def test_its_script_passes_the_checks_of_a_contributor(repository, rule):
    copy, _ = repository
    config = ["--no-cache", "--config", str(ROOT / "pyproject.toml")]
    command = [sys.executable, "-m", "ruff", *rule, *config, "training/tumour.py"]
    done = subprocess.run(command, cwd=copy, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_readme_of_its_space_says_nothing_of_salary(repository):
    """What only salary's has, of all demos, is replaced, but for the colours and the task."""
    copy, _ = repository
    lines = {name: (copy / f"spaces/{name}/README.md").read_text(encoding="utf-8").splitlines() for name in DEMOS}
    own = set(lines.pop("salary")) - {line for others in lines.values() for line in others}
    found = set((copy / "spaces/tumour/README.md").read_text(encoding="utf-8").splitlines())
    assert {line for line in own & found if not line.startswith("color")} == {"- tabular-classification"}
    assert not re.search("salary|census|1994|income", "\n".join(found), re.IGNORECASE)


def test_it_beats_the_majority_class(repository):
    copy, _ = repository
    model = load_model(copy / "spaces/tumour/model")
    accuracy, *_ = model.metrics.figures
    assert (accuracy.name, accuracy.count) == ("accuracy", 114)
    assert accuracy.interval[0] > 72 / 114  # benign
    card = (copy / "spaces/tumour/model/README.md").read_text(encoding="utf-8")
    assert "not a medical device" in card


def test_the_gallery_shows_its_page(repository):
    copy, _ = repository
    ask = (
        "import sys; sys.path.insert(0, '.')\n"
        "from spaces.gallery.app import demo\n"
        "print(sorted(fn.api_name for fn in demo.fns.values() if fn.api_name and 'tumour' in fn.api_name))\n"
    )
    environment = os.environ | {"PYTHONPATH": python_path(copy)}
    done = subprocess.run(
        [sys.executable, "-c", ask], cwd=copy, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "'tumour', 'tumour_batch', 'tumour_explain', 'tumour_what_if'" in done.stdout

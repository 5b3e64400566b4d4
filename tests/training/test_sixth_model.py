"""docs/add_a_model.md, followed step by step in a copy of the repository: a sixth model, its page and its card."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

pytest.importorskip("torch", reason="torch and fastai are not installed: make test-all")
from shared import load_model
from tests.conftest import ROOT, load_app

pytestmark = pytest.mark.training
PAGE = (ROOT / "docs/add_a_model.md").read_text(encoding="utf-8")


def files_in(tree: Path) -> set[str]:
    """Return the paths of all files in a folder, without what Python and the training leave beside their results."""
    paths = (path.relative_to(tree) for path in tree.rglob("*") if path.is_file())
    return {path.as_posix() for path in paths if "__pycache__" not in path.parts and path.parts[0] != "runs"}


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A copy of what the page needs of the repository, with the sixth model trained as the page says."""
    tree = tmp_path_factory.mktemp("repository")
    for folder in ("shared", "hub", "training"):
        shutil.copytree(ROOT / folder, tree / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "spaces/cat_dog", tree / "spaces/cat_dog", ignore=shutil.ignore_patterns("__pycache__"))
    before = files_in(tree)
    for name, content in re.findall(r"^\*\*`(.+?)`\*\*\n\n```\w+\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(content, encoding="utf-8")
    (copied,) = re.findall(r"^cp (.+) spaces/digits/$", PAGE, re.MULTILINE)
    for name in copied.split():
        shutil.copy(tree / name, tree / "spaces/digits")
    (options,) = re.findall(r"^python -m training\.digits(.*?) +#", PAGE, re.MULTILINE)
    command = [sys.executable, "-m", "training.digits", *options.split()]
    environment = {**os.environ, "PYTHONPATH": str(tree), "XDG_CACHE_HOME": str(tree / "runs")}
    done = subprocess.run(
        command, cwd=tree, env=environment, capture_output=True, encoding="utf-8", errors="replace", check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    (tree / "runs/added.json").write_text(json.dumps(sorted(files_in(tree) - before)), encoding="utf-8")
    return tree


def test_the_page_lists_every_file_that_is_added(tree):
    added = json.loads((tree / "runs/added.json").read_text(encoding="utf-8"))
    table = PAGE.partition("## The files")[2].partition("**`")[0]
    listed = set(re.findall(r"^\| `(.+?)` \|", table, re.MULTILINE))
    assert {re.sub("(?<=/model/).*", "", name) for name in added} == listed
    assert "spaces/digits/model/gallery.json" in added


def test_the_model_beats_the_majority_class_on_pictures_it_was_not_trained_on(tree):
    metrics = load_model(tree / "spaces/digits/model").metrics
    error = metrics.figures[0]
    counts = Counter(path.parent.name for path in (tree / "runs/digits-pictures").glob("*/*.png"))
    assert sum(counts.values()) == 901
    assert (error.name, error.split, error.count) == ("error", "held-out fifth", 180)
    assert error.interval[1] < 0.5 < 1 - max(counts.values()) / 901
    assert metrics.trained.command == "python -m training.digits"


def test_the_page_of_cat_dog_shows_it_unchanged(tree):
    assert (tree / "spaces/digits/app.py").read_bytes() == (ROOT / "spaces/cat_dog/app.py").read_bytes()
    app = load_app(tree / "spaces/digits")
    assert app.model.config.labels == tuple("01234")
    assert app.demo.title == "Is it a 0, a 1, a 2, a 3 or a 4?"
    paths = [next((tree / f"runs/digits-pictures/{digit}").glob("*.png")) for digit in "01234"]
    answers = [app.predict(str(path)) for path in paths]
    assert sum(max(shown, key=shown.get) == digit for (*_, shown), digit in zip(answers, "01234", strict=True)) >= 4
    assert answers[0][0] == app.model.predict(paths[0]).as_dict()
    _, overlay, _ = app.explain(str(paths[0]))
    assert isinstance(overlay, Image.Image)


def test_its_card_has_its_words_and_its_command(tree):
    card = (tree / "spaces/digits/model/README.md").read_text(encoding="utf-8")
    assert "A handwritten digit from 0 to 4: which one is it?" in card
    assert "Optical Recognition of Handwritten Digits" in card
    assert "`python -m training.digits`" in card

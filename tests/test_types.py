"""What a type checker tells the users of model_gallery about README's code."""

import importlib.util
import json
import shutil
import subprocess
import sys
import sysconfig
import venv

import pytest

from shared import CheckpointError, ImageClassifier, Recommender, TabularClassifier
from tests.conftest import ROOT
from tests.test_readme import find_snippets

KINDS = {
    "cat_dog": "ImageClassifier",
    "segmentation": "ImageSegmenter",
    "sentiment": "TextClassifier",
    "salary": "TabularClassifier",
    "rating": "Recommender",
}
# Follows README's code in the user's program.
EXPECTED = """
import typing
import numpy as np
import numpy.typing as npt

typing.assert_type(answer.label, str | None)
typing.assert_type(answer.probabilities, dict[str, float])
typing.assert_type(model.predict_batch(["a.jpg"])[0].in_distribution, bool)
typing.assert_type(model.explain(b"").evidence, npt.NDArray[np.float32])
typing.assert_type(model.config.labels, tuple[str, ...])
typing.assert_type(street.mask, npt.NDArray[np.uint8])
typing.assert_type(street.share["Road"], float)
text = TextClassifier.load("me/sentiment", revision="v1")
typing.assert_type(text.predict(review).is_clear, bool)
typing.assert_type(text.explain(review).parts[0], tuple[str, float | None])
typing.assert_type(salary, TabularClassifier)
typing.assert_type(salary.predict(person).label, str)
typing.assert_type(salary.explain(person).contributions, dict[str, float])
typing.assert_type(TabularRegressor.load("me/homes").predict({"rooms": 4}).low, float)
typing.assert_type(rating.predict(user_id=15, movie_id=260).rating, float)
typing.assert_type(rating.recommend(me, k=3), list[tuple[int | str, str, float]])
try:
    salary.predict({})
except BadInput as error:
    typing.assert_type(str(error), str)
"""
WRONG = """
from model_gallery import ImageClassifier, TextClassifier

print(ImageClassifier.load("me/cat_dog").predict("a.jpg").labels)
TextClassifier.load("me/sentiment").predict(3)
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A user's project, with this package in an environment of its own; a list of its programs' errors."""
    if not importlib.util.find_spec("basedpyright"):
        pytest.skip("basedpyright is not installed: make check")
    folder = tmp_path_factory.mktemp("project")
    venv.create(folder / "venv", symlinks=True)
    (packages,) = (folder / "venv/lib").glob("python3.*/site-packages")
    shutil.copytree(ROOT / "shared", packages / "model_gallery", ignore=shutil.ignore_patterns("__pycache__"))
    (packages / "others.pth").write_text(sysconfig.get_path("purelib"))
    (readme, *_) = find_snippets("README", "python", "load_model")
    typed = readme.replace("from shared import load_model", f"from model_gallery import {', '.join(sorted(NAMES))}")
    for name, kind in KINDS.items():
        typed = typed.replace(f'load_model("spaces/{name}/model")', f'{kind}.load("spaces/{name}/model")')
    assert "load_model" not in typed
    programs = {
        "untyped": readme.replace("from shared", "from model_gallery"),
        "typed": typed + EXPECTED,
        "wrong": WRONG,
    }
    for name, code in programs.items():
        (folder / f"{name}.py").write_text(code)
    config = {"typeCheckingMode": "standard", "venvPath": ".", "venv": "venv", "include": ["*.py"]}
    (folder / "pyrightconfig.json").write_text(json.dumps(config))
    command = [sys.executable, "-m", "basedpyright", "--outputjson", "--project", folder]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    found = {name: [] for name in programs}
    for problem in json.loads(done.stdout)["generalDiagnostics"]:
        found[problem["file"].rsplit("/", 1)[1].removesuffix(".py")].append(problem["message"])
    return found


NAMES = {*KINDS.values(), "BadInput", "TabularRegressor"}


@pytest.mark.parametrize("name", ["untyped", "typed"])
def test_readme_has_no_type_errors(project, name):
    """With load_model, whose class a type checker cannot know; and with the class of each model, which it can."""
    assert not project[name]


def test_a_mistake_is_found(project):
    """Otherwise the test above would say nothing."""
    attribute, argument = project["wrong"]
    assert 'Cannot access attribute "labels"' in attribute
    assert '"Literal[3]"' in argument


def test_a_class_loads_models_of_its_task_only():
    assert isinstance(TabularClassifier.load(ROOT / "spaces/salary/model"), TabularClassifier)
    with pytest.raises(CheckpointError, match=r"salary/model is a model for TabularClassifier, not for Recommender\."):
        Recommender.load(ROOT / "spaces/salary/model")
    with pytest.raises(CheckpointError, match="There is no checkpoint folder"):
        ImageClassifier.load("nothing/here/model")

"""The whole loop, for each model: train (on made-up data), push, pull by a Space's process, and the same answer."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch and fastai are not installed: make test-all")
from gradio_client import Client, handle_file
from PIL import Image

from shared import PREDICTORS
from shared.images import drawing
from tests.conftest import ROOT, served
from tests.hub import Hub

pytestmark = pytest.mark.training

REPO = "me/model"


@pytest.fixture(scope="module")
def hub():
    with Hub() as server:
        yield server


def run(hub, home, *command):
    environment = {**os.environ, **hub.environment(home), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def question(model, folder):
    """What to ask: the predictor's arguments, and the endpoint's."""
    item = model.example()
    if isinstance(item, Image.Image):
        item.save(folder / "picture.png")
        return (str(folder / "picture.png"),), [handle_file(str(folder / "picture.png"))], {}
    if isinstance(item, dict):
        return (item,), [], {name.replace("-", "_"): value for name, value in item.items()}
    several = item if isinstance(item, tuple) else (item,)
    return several, list(several), {}


@pytest.mark.parametrize("name", PREDICTORS)
def test_train_push_pull_and_the_same_answer(hub, name, tmp_path):
    repo = f"me/{name}"
    said = run(
        hub, tmp_path, sys.executable, "-m", f"training.{name}", "--smoke", "--out", "model", "--push-to-hub", repo
    )
    assert f"Published and checked: {hub.endpoint}/{repo} at commit {hub.commits(repo)[0]}" in said
    assert "model.safetensors" in hub.files(repo)
    model = PREDICTORS[name].from_pretrained(tmp_path / "model")
    arguments, positional, named = question(model, tmp_path)
    variables = hub.environment(tmp_path / "home", token=None) | {"MODEL_REPO": repo}
    if not (ROOT / "spaces" / name / "model").is_dir():
        pytest.skip(f"spaces/{name} has no embedded model yet")
    with served(name, tmp_path, variables) as url:
        answer = Client(url, verbose=False).predict(*positional, **named, api_name="/predict")
        config = json.dumps(Client(url, verbose=False).config)
    answer = answer[0] if isinstance(answer, tuple | list) else answer
    assert f"This page runs {repo} from the Hub, commit {hub.commits(repo)[0][:7]}." in config
    ours = model.predict(*arguments)
    for field, there in (
        ("label", "label"),
        ("probabilities", "probabilities"),
        ("share", "shares"),
        ("rating", "rating"),
    ):
        if hasattr(ours, field):
            assert answer[there] == pytest.approx(getattr(ours, field), abs=1e-6)


@pytest.mark.parametrize(
    ("name", "task", "asked"),
    [("cat_dog", "image-classification", "picture.png"), ("sentiment", "text-classification", "the film was dull.")],
)
def test_transformers_loads_what_was_pushed_by_its_name(hub, name, task, asked, tmp_path):
    run(hub, tmp_path, sys.executable, "-m", f"training.{name}", "--smoke", "--out", "model", "--push-to-hub", REPO)
    drawing().save(tmp_path / "picture.png")
    code = f"""
import sys
sys.path[:] = [entry for entry in sys.path if entry not in ("", {str(ROOT)!r})]
import json, torch
library = torch.library.Library("torchvision", "DEF")
for operator in ("nms", "qnms"):
    library.define(operator + "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
from transformers import pipeline
found = pipeline({task!r}, model={REPO!r}, revision={hub.commits(REPO)[0]!r}, device="cpu", top_k=None)({asked!r})
print(json.dumps(found if isinstance(found[0], dict) else found[0]))
assert not any(module.split(".")[0] in ("shared", "training") for module in sys.modules)
"""
    environment = {**os.environ, **hub.environment(tmp_path / "home", token=None)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    scores = {item["label"]: item["score"] for item in json.loads(done.stdout.splitlines()[-1])}
    model = PREDICTORS[name](tmp_path / "model")
    given = Path(tmp_path / asked) if task.startswith("image") else asked
    assert scores == pytest.approx(model.predict(given).probabilities, abs=0.05)
    assert np.isclose(sum(scores.values()), 1)


def test_the_books_learner_is_published_as_a_pickle_only_when_asked_to(hub, tmp_path):
    command = [sys.executable, "-m", "training.salary", "--smoke", "--recipe", "book"]
    said = run(hub, tmp_path, *command, "--push-learner", "me/learner")
    assert "runs whatever code is in it" in said
    assert "model.pkl" in hub.files("me/learner")
    environment = {**os.environ, **hub.environment(tmp_path)}
    wrong = subprocess.run(
        [*command, "--push-to-hub", REPO], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert wrong.returncode == 2
    assert "--push-to-hub go with the gallery's" in wrong.stderr


def test_who_may_not_push_is_told_before_the_training(hub, tmp_path):
    environment = {**os.environ, **hub.environment(tmp_path, token=hub.read_token)}
    command = [sys.executable, "-m", "training.salary", "--smoke", "--out", tmp_path / "out", "--push-to-hub", "me/x"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "may only read" in done.stderr
    assert not (tmp_path / "out").exists()

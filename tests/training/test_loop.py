"""The whole loop, for each model: train (on made-up data), push, pull by a Space's process, and the same answer."""

import json
import os
import shutil
import subprocess
import sys
import urllib.request

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch and fastai are not installed: make test-all")
from huggingface_hub import HfApi

from hub.live import probe
from hub.local import Hub
from hub.staging import SpaceModel
from shared import load_model
from shared.images import sample_image
from shared.metrics import Metrics
from tests.conftest import DEMOS, ROOT, point_client_to, serve_app
from tests.training.test_demos import load_recipe
from tests.training.test_demos import train as train_here
from tests.windows import imitate_windows
from training.command import OptionError
from training.command import run as run_command

pytestmark = pytest.mark.training

REPO = "me/model"
ASKED = {
    "cat_dog": ("image-classification", "picture.png"), "sentiment": ("text-classification", "the film was dull."),
}  # fmt: skip
MAJORITY = {"cat_dog": 0.34, "sentiment": 0.51, "salary": 0.6}  # a share of right answers that is no achievement


@pytest.fixture(scope="module")
def hub():
    with Hub() as server:
        yield server


def run(hub, home, *command):
    """Run a command under imitated Windows restrictions; return what it prints."""
    environment = imitate_windows(hub.environment(home))
    done = subprocess.run(command, cwd=home, env=environment, capture_output=True, encoding="cp1252", check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def trained(hub, tmp_path_factory):
    """Return for a demo the folder of a smoke training that pushed to me/NAME, and what was printed.

    Each runs as by `python -m`, but all in one process, since it takes seconds to import fastai.
    """
    home = tmp_path_factory.mktemp("trained")
    code = f"""
import runpy, sys
for name in {sorted(DEMOS, key=lambda name: name != "salary")}:
    sys.argv = [name, "--smoke", "--out", name + "/model", "--push-to-hub", "me/" + name]
    try:
        runpy.run_module("training." + name, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        assert end.code == 0, name
    if name == "salary":  # the others load transformers, which loads it
        print("loaded without need:", {{"accelerate", "torchvision"}} & {{*sys.modules}})
"""
    said = run(hub, home, sys.executable, "-c", code)
    return lambda name: (home / name, said)


@pytest.mark.parametrize("name", DEMOS)
def test_train_push_pull_and_the_same_answer(hub, trained, name):
    repo, (home, said) = f"me/{name}", trained(name)
    commit = hub.commits(repo)[0]
    assert f"Published and checked: {hub.endpoint}/{repo} at commit {commit}" in said
    assert "model.safetensors" in hub.files(repo)
    if name == "cat_dog":  # one's own pictures stay at home
        assert not [path for path in hub.files(repo) if path.startswith("examples/")]
    with serve_app(name, home, hub.environment(home / "home", token=None) | {"MODEL_REPO": repo}) as url:
        with urllib.request.urlopen(url) as page:
            assert f"This page runs {repo} from the Hub, commit {commit[:7]}." in page.read().decode()
        assert probe([SpaceModel(ROOT / "spaces" / name, home / "model", "/predict", "")], url, None) == []


def test_what_takes_seconds_is_imported_only_where_it_is_needed(trained):
    """accelerate for several processes, torchvision for pictures."""
    assert "loaded without need: set()\n" in trained("salary")[1]


@pytest.mark.parametrize("name", DEMOS)
def test_the_folder_answers_and_says_how_it_was_made(trained, name):
    folder = trained(name)[0] / "model"
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


@pytest.mark.parametrize("name", sorted(MAJORITY))
def test_the_model_is_better_than_chance(trained, name):
    first = load_model(trained(name)[0] / "model").metrics.figures[0].value
    assert (1 - first if name == "cat_dog" else first) > MAJORITY[name]


@pytest.mark.parametrize("name", sorted({*DEMOS} - {"rating"}))  # it cross-validates: see test_recommendation.py
def test_measured_again_it_has_the_same_figures_and_keeps_what_needed_the_network(trained, name, tmp_path):
    folder = trained(name)[0] / "model"
    copy = shutil.copytree(folder, tmp_path / "model")
    before, weights = Metrics.read(folder), (folder / "onnx/model.onnx").read_bytes()
    data = next(path for path in folder.parent.iterdir() if path.name.endswith("made-up"))
    shutil.copytree(data, tmp_path / data.name)
    assert train_here(name, "--smoke", "--out", tmp_path / "model", "--measure", copy) == 0
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


@pytest.fixture(scope="module")
def loaded_by_transformers(hub, trained, tmp_path_factory):
    """The answers of transformers to ASKED, with the models that were pushed, in one process for both."""
    folder = tmp_path_factory.mktemp("transformers")
    sample_image().save(folder / "picture.png")
    asked = {name: (task, hub.commits(f"me/{name}")[0], given) for name, (task, given) in ASKED.items()}
    code = f"""
import sys
sys.path[:] = [entry for entry in sys.path if entry not in ("", {str(ROOT)!r})]
import json, torch
library = torch.library.Library("torchvision", "DEF")
for operator in ("nms", "qnms"):
    library.define(operator + "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
from transformers import pipeline
answers = {{}}
for name, (task, commit, given) in {asked!r}.items():
    found = pipeline(task, model="me/" + name, revision=commit, device="cpu", top_k=None)(given)
    answers[name] = found if isinstance(found[0], dict) else found[0]
print(json.dumps(answers))
assert not any(module.split(".")[0] in ("shared", "training") for module in sys.modules)
"""
    environment = {**os.environ, **hub.environment(folder / "home", token=None)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout.splitlines()[-1])
    return {name: {item["label"]: item["score"] for item in answer} for name, answer in answers.items()}


@pytest.mark.parametrize("name", sorted(ASKED))
def test_transformers_loads_what_was_pushed_by_its_name(trained, loaded_by_transformers, name, tmp_path):
    task, asked = ASKED[name]
    given = sample_image() if task.startswith("image") else asked
    scores = loaded_by_transformers[name]
    assert scores == pytest.approx(load_model(trained(name)[0] / "model").predict(given).probabilities, abs=0.05)
    assert np.isclose(sum(scores.values()), 1)


def test_the_books_learner_is_published_only_when_asked_to_and_loads_elsewhere(hub, tmp_path):
    command = [sys.executable, "-m", "training.cat_dog", "--smoke", "--recipe", "book", "--out", "out"]
    said = run(hub, tmp_path, *command, "--push-learner", "me/learner")
    assert "runs the code in it" in said
    assert "; the book's: 0." in said
    (tmp_path / "model.pkl").write_bytes(hub.files("me/learner")["model.pkl"])
    code = f"""
import sys
sys.path[:] = [entry for entry in sys.path if entry not in ("", {str(ROOT)!r})]
import torch
library = torch.library.Library("torchvision", "DEF")
for operator in ("nms", "qnms"):
    library.define(operator + "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
from fastai.learner import load_learner
print(type(load_learner("model.pkl")).__name__)
assert not any(module.split(".")[0] in ("shared", "training") for module in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith("Learner")


def test_the_books_pictures_are_loaded_where_processes_are_spawned(hub, tmp_path):
    said = run(hub, tmp_path, sys.executable, "-m", "training.segmentation", "--smoke", "--recipe", "book")
    assert "valid loss: " in said
    assert "; the book's: 0." in said


@pytest.mark.parametrize("options", [["--recipe", "book", "--push-to-hub", REPO], ["--push-learner", REPO]])
def test_the_two_ways_to_push_go_with_a_recipe_each(options):
    with pytest.raises(OptionError, match="--recipe book"):
        run_command(load_recipe("salary"), ["--smoke", *options])


def test_who_may_not_push_is_told_before_the_training(hub, tmp_path, monkeypatch, capsys):
    point_client_to(monkeypatch, hub.endpoint)
    monkeypatch.setenv("HF_TOKEN", hub.read_token)
    assert train_here("salary", "--smoke", "--out", tmp_path / "out", "--push-to-hub", "me/x") == 2
    said = capsys.readouterr().err
    assert "The token can only read; create one with the role write at" in said
    assert said.endswith(", set HF_TOKEN to it, or unset HF_TOKEN\n")
    monkeypatch.setenv("HF_TOKEN", hub.token)
    api = HfApi(hub.endpoint, token=hub.token)
    api.upload_folder(repo_id=api.create_repo("me/other").repo_id, folder_path=ROOT / "spaces/rating/model")
    assert train_here("salary", "--smoke", "--out", tmp_path / "out", "--push-to-hub", "me/other") == 2
    assert "me/other has a model for recommendation" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()

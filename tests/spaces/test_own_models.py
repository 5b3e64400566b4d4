"""Models of one's own: their pages have no words of the demos, and go from training to the web with three commands."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import httpx2
import numpy as np
import pytest
from PIL import Image

from hub import live
from hub.local import Hub
from shared import load_model
from shared.config import sha256
from shared.space import replace_model
from tests.conftest import ROOT, load_app
from tests.shared.test_tabular_kinds import imitate, make_kind

APPS = {"image-classification": "cat_dog", "image-segmentation": "segmentation", "text-classification": "sentiment"}
OF_DEMOS = r"(?<![-\w./])(cats?|dogs?|films?|movies?|streets?|roads?|imdb|english|reviews?|photos?|positive|negative)\b"


def read_page(demo) -> str:
    """Return the words of a page: those of its components and their hints, and of its endpoints."""
    shown = [
        {name: props.get(name) for name in ("label", "value", "info", "placeholder", "sample_labels", "color_map")}
        for props in (component["props"] for component in demo.get_config_file()["components"])
    ]
    functions = [event.fn.__doc__ for event in demo.fns.values() if event.api_visibility != "private" and event.fn]
    return json.dumps([shown, functions], ensure_ascii=False)


def make_own(folder: Path, task: str) -> Path:
    """Copy a demo's model, with other labels and words, and a picture to try."""
    shutil.copytree(ROOT / "spaces" / APPS[task] / "model", folder)
    content = json.loads((folder / "gallery.json").read_text())
    content["labels"] = [f"Kind {number}" for number in range(len(content["labels"]))]
    content.pop("label_names", None)
    content.pop("examples", None)
    content["about"] |= {"title": "Herbarium", "summary": "Which plant?", "limits": [], "language": "la"}
    if task != "text-classification":
        (folder / "examples").mkdir()
        Image.new("RGB", (64, 64), "green").save(folder / "examples/leaf-1.png")
        content["files"]["examples/leaf-1.png"] = {
            "sha256": sha256(folder / "examples/leaf-1.png"),
            "bytes": (folder / "examples/leaf-1.png").stat().st_size,
            "optional": True,
        }
    (folder / "gallery.json").write_text(json.dumps(content))
    (folder / "README.md").write_text("A card.")
    return folder


@pytest.mark.parametrize("task", APPS)
def test_the_page_of_an_own_model_has_no_words_of_the_demo(task, tmp_path):
    with replace_model(make_own(tmp_path / "model", task)):
        app = load_app(APPS[task])
    page = read_page(app.demo)
    assert "Herbarium" in page
    assert re.findall(OF_DEMOS, page, re.IGNORECASE) == []
    assert ("leaf, 1" in page) is (task != "text-classification")
    if task == "text-classification":
        answer, headline, _ = app.predict("Rosa canina floret.")
        shown = [answer, headline, *app.explain("Rosa canina, quae floret.")[1:]]
    else:
        shown = [
            *app.predict(str(tmp_path / "model/examples/leaf-1.png"))[:2],
            *app.explain(str(tmp_path / "model/examples/leaf-1.png")),
        ]
    assert "Kind 0" in str(shown)
    assert re.findall(OF_DEMOS, str([text for text in shown if isinstance(text, str)]), re.IGNORECASE) == []


@pytest.mark.parametrize("kind", [{"labels": ["Kind 0", "Kind 1"]}, {"target": "Height", "task": "tabular-regression"}])
def test_the_page_of_an_own_table_has_no_words_of_the_demo(kind, tmp_path):
    content = json.loads((ROOT / "spaces/salary/model/gallery.json").read_text())
    about = content["about"] | {"title": "Herbarium", "summary": "Which plant?", "limits": []}
    make_kind(tmp_path / "model", **{"task": content["task"], **kind, "about": about, "descriptions": {}})
    (tmp_path / "model/README.md").write_text("A card.")
    with replace_model(tmp_path / "model"):
        app = load_app("salary")
    imitate(app.model, [{"age": 0.1}, {"age": 0.01}])
    page = read_page(app.demo)
    if "labels" in kind:
        app.model._run = lambda _outputs, categories, _numbers: [np.zeros(len(categories))]
    row = [app.config.typical[name] for name in app.config.columns]
    shown = [app.predict(*row)[1], app.explain(*row)[1]]
    assert ("Kind 1" if "labels" in kind else "Height") in f"{page}{shown}"
    assert "Herbarium" in page
    assert re.findall(r"salary|50k|income|census|person|people", f"{page}{shown}", re.IGNORECASE) == []


# --- from training to the web ---


@pytest.fixture
def real(tmp_path):
    """A Hub that runs its Spaces, and the commands as a person runs them."""
    with Hub(run_spaces=True) as hub:
        hub.set_paid("me", True)

        def run(*arguments: str | Path) -> str:
            environment = {**os.environ, **hub.environment(tmp_path / "home"), "PYTHONPATH": str(ROOT)}
            done = subprocess.run(
                [sys.executable, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stderr
            return done.stdout

        yield SimpleNamespace(hub=hub, run=run)


@pytest.mark.training
@pytest.mark.parametrize(
    ("recipe", "options", "example"),
    [
        ("image_classification", [], "image_classification-made-up/square/3.png"),
        ("image_segmentation", ["--epochs", "40"], "image_segmentation-made-up/images/street-3.png"),
        ("text_classification", ["--quick"], "The music was wonderful and the actors were funny."),
        ("tabular", [], None),
        ("tabular", ["--target", "shift"], None),
        ("tabular", ["--target", "hours"], None),
    ],
)
def test_train_publish_and_deploy(real, tmp_path, recipe, options, example):
    pytest.importorskip("fastai", reason="torch and fastai are not installed: make test-all")
    folder = tmp_path / "My model"
    real.run("-m", f"training.recipes.{recipe}", "--smoke", *options, "--out", folder)
    (majority,) = [peer for peer in load_model(folder).metrics.peers if peer.peer.startswith("always ")]
    assert majority.difference < 0 if majority.name == "rmse" else majority.difference > 0
    published = real.run("-m", "training.publish", folder, "me/My-model")
    assert "Published and checked" in published
    for more in ([], ["--models-owner", "me"]):
        deployed = real.run("spaces/deploy.py", folder, "--owner", "me", "--timeout", "120", *more)
        space = real.hub.repo("me/My-model", "space")
        assert f"Its predictions at {space.host} match the local ones." in deployed
        model = load_model(folder)
        if example is None:
            item = model.example()
        else:
            item = example if " " in example else Image.open(tmp_path / example).convert("RGB")
        with httpx2.Client(base_url=space.host, timeout=60, follow_redirects=True) as client:
            arguments = [live.make_argument(value, tmp_path, client) for value in model.arguments(item)]
            answer = live.ask_endpoint(client, "/predict", arguments)
            page = client.get("/").text
        assert live.compare(model.predict(item).as_dict(), answer) == []
        assert model.config.about.title in page
        assert ("This page runs me/My-model from the Hub" in page) is bool(more)
    header = real.hub.files("me/My-model", kind="space")["README.md"].decode()
    assert f"title: {model.config.about.title}\n" in header
    assert "models:\n- me/My-model\n" in header

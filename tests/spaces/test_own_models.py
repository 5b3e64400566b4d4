"""Models of one's own: their pages have no words of the demos, and go from training to the web with three commands."""

import importlib
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
import pandas as pd
import pytest
from PIL import Image

from hub import live
from hub.local import Hub
from shared import load_model
from shared.config import fingerprint, sha256
from shared.space import replace_model
from shared.ui.forms import get_label
from shared.ui.languages import LANGUAGES
from tests.conftest import ROOT, load_app
from tests.shared.test_tabular_kinds import imitate, load_imitated, make_kind
from tests.spaces.translations import RecordedLanguage, translate_visible

APPS = {
    "image-classification": "cat_dog", "image-segmentation": "segmentation", "text-classification": "sentiment",
    "recommendation": "rating",
}  # fmt: skip
PICTURES = ("image-classification", "image-segmentation")
OF_OWN = [
    r"Kind \d",
    "Herbarium",
    r"Which plant\?",
    r"Rosa plant-\d+",
    "leaf, 1",
    "[Pp]lants?",
    "points",
    "herb",
    r"u\d+",
]
OF_API = ["predict", "explain", "recommend", "similar", "what_if"]
OF_DEMOS = r"(?<![-\w./])(cats?|dogs?|films?|movies?|streets?|roads?|imdb|english|reviews?|photos?|positive|negative)\b"


def read_page(demo) -> str:
    """Return the words of a page: those of its components and their hints, and of its endpoints."""
    shown = [
        {name: props.get(name) for name in ("label", "value", "info", "placeholder", "sample_labels", "color_map")}
        for props in (component["props"] for component in demo.get_config_file()["components"])
    ]
    functions = [event.fn.__doc__ for event in demo.fns.values() if event.api_visibility != "private" and event.fn]
    return json.dumps([shown, functions], ensure_ascii=False)


def find_english(demo, answers, monkeypatch, own=OF_OWN) -> list[str]:
    """Return the texts on a German page, and in answers, that are English and not a model's own words."""
    language = RecordedLanguage("de")
    monkeypatch.setitem(LANGUAGES, "de", language)
    translate_visible(demo.get_config_file(), "de")
    for answer in answers:
        language.translate_value("html" if answer[:1] == "<" else "markdown", answer)
    words = re.compile("|".join([*own, *OF_API]))
    return sorted(text for text in language.unknown if re.search("[A-Za-z]{2}", words.sub("", text)))


def make_own(folder: Path, task: str) -> Path:
    """Copy a demo's model, with other labels and words, and a picture to try."""
    shutil.copytree(ROOT / "spaces" / APPS[task] / "model", folder)
    content = json.loads((folder / "gallery.json").read_text())
    content["labels"] = [f"Kind {number}" for number in range(len(content["labels"]))]
    content.pop("label_names", None)
    content.pop("examples", None)
    content["about"] |= {"title": "Herbarium", "summary": "Which plant?", "limits": [], "language": "la"}
    if task == "recommendation":
        name_plants(folder, content)
    if task in PICTURES:
        (folder / "examples").mkdir()
        (folder / "examples/.DS_Store").write_bytes(b"\0\0\0\1Bud1")  # of a Mac
        Image.new("RGB", (64, 64), "green").save(folder / "examples/leaf-1.png")
        content["files"]["examples/leaf-1.png"] = {
            "sha256": sha256(folder / "examples/leaf-1.png"),
            "bytes": (folder / "examples/leaf-1.png").stat().st_size,
            "optional": True,
        }
    measure_plants(folder, content)
    (folder / "gallery.json").write_text(json.dumps(content))
    (folder / "README.md").write_text("A card.")
    return folder


def measure_plants(folder: Path, content: dict) -> None:
    """Keep only the first figure of a demo, as one of plants, and what was measured on newcomers."""
    metrics = json.loads((folder / "metrics.json").read_text())
    metrics |= {"figures": [{**metrics["figures"][0], "data": "Herbarium"}], "headline": "97% right on 100 plants"}
    for name in ("cases", "groups", "calibration"):
        metrics.pop(name, None)
    (folder / "metrics.json").write_text(json.dumps(metrics))
    content["files"]["metrics.json"] |= fingerprint(folder / "metrics.json")


def name_plants(folder: Path, content: dict) -> None:
    """Turn the tables of a recommender into those of plants with text ids, and drop what is measured on movies."""
    movies, ratings = (pd.read_csv(folder / f"{name}.csv", dtype=str) for name in ("movies", "ratings"))
    for table in (movies, ratings):
        table.insert(0, "item_id", "plant-" + table.pop("movie_id"))
    movies["title"], movies["genres"] = "Rosa " + movies["item_id"], "herb"
    ratings["user_id"] = "u" + ratings["user_id"]
    movies.to_csv(folder / "items.csv", index=False)
    ratings.to_csv(folder / "ratings.csv", index=False)
    (folder / "movies.csv").unlink()
    content["files"] |= {name: fingerprint(folder / name) for name in ("items.csv", "ratings.csv")}
    del content["files"]["movies.csv"]
    content |= {"users": [f"u{user}" for user in content["users"]], "item": ["plant", "plants"], "unit": "points"}


@pytest.mark.parametrize("task", APPS)
def test_the_page_of_an_own_model_has_no_words_of_the_demo(task, tmp_path, monkeypatch):
    with replace_model(make_own(tmp_path / "model", task)):
        app = load_app(APPS[task])
    page = read_page(app.demo)
    assert "Herbarium" in page
    assert re.findall(OF_DEMOS, page, re.IGNORECASE) == []
    assert ("leaf, 1" in page) is (task in PICTURES)
    if task == "recommendation":
        shown = [*app.predict("u15", "Rosa plant-260"), *app.explain("u15", "plant-260"), *app.recommend("u15")]
        shown = [str(part) for part in (*shown, *app.recommend(None, {"plant-1": 5}), *app.similar("plant-260"))]
        assert "User u15 on Rosa plant-260." in shown[1]
        assert re.findall(OF_DEMOS, str(shown), re.IGNORECASE) == []
        assert find_english(app.demo, [shown[1], shown[3]], monkeypatch) == []
        return
    if task == "text-classification":
        answer, headline, _ = app.predict("Rosa canina floret.")
        shown = [answer, headline, *app.explain("Rosa canina, quae floret.")[1:]]
    else:
        shown = [
            *app.predict(str(tmp_path / "model/examples/leaf-1.png"))[:2],
            *app.explain(str(tmp_path / "model/examples/leaf-1.png")),
        ]
    assert "Kind 0" in str(shown)
    texts = [text for text in shown if isinstance(text, str) and " " in text]  # not the path of a file
    assert re.findall(OF_DEMOS, str(texts), re.IGNORECASE) == []
    assert find_english(app.demo, texts, monkeypatch) == []


@pytest.mark.parametrize("kind", [{"labels": ["Kind 0", "Kind 1"]}, {"target": "Height", "task": "tabular-regression"}])
def test_the_page_of_an_own_table_has_no_words_of_the_demo(kind, tmp_path, monkeypatch):
    content = json.loads((ROOT / "spaces/salary/model/gallery.json").read_text())
    about = content["about"] | {"title": "Herbarium", "summary": "Which plant?", "limits": []}
    names = {"descriptions": {}, "label_names": {}, "value_names": {}}
    make_kind(tmp_path / "model", **{"task": content["task"], **kind, "about": about, **names})
    content = json.loads((tmp_path / "model/gallery.json").read_text())
    measure_plants(tmp_path / "model", content)
    (tmp_path / "model/gallery.json").write_text(json.dumps(content))
    (tmp_path / "model/README.md").write_text("A card.")
    app = load_imitated(tmp_path / "model")
    imitate(app.model, [{"age": 0.1}, {"age": 0.01}])
    page = read_page(app.demo)
    if "labels" in kind:
        app.model._run = lambda _outputs, categories, _numbers: [np.zeros(len(categories))]
    row = [app.config.typical[name] for name in app.config.columns]
    shown = [app.predict(*row)[1], app.explain(*row)[1]]
    assert ("Kind 1" if "labels" in kind else "Height") in f"{page}{shown}"
    assert "Herbarium" in page
    assert re.findall(r"salary|50k|income|census|person|people", f"{page}{shown}", re.IGNORECASE) == []
    config = app.model.config
    values = {value for some in config.categories.values() for value in some} | {"Height"}
    own = sorted({*values, *(get_label(config, column) for column in config.columns)}, key=len, reverse=True)
    texts = [text for text in shown if isinstance(text, str)]
    assert find_english(app.demo, texts, monkeypatch, [*map(re.escape, own), *OF_OWN]) == []


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


def train(folder, recipe, options):
    """Train a model on made-up data; it is better than the simplest answer."""
    module = importlib.import_module(f"training.recipes.{recipe}")
    module.main(["--smoke", *options, "--out", str(folder)])
    model = load_model(folder)
    (simplest,) = [peer for peer in model.metrics.peers if peer.peer.startswith(("always ", "mean of all ratings"))]
    assert (simplest.difference < 0) is (recipe == "recommendation" or simplest.name == "rmse")  # there, it is an error
    return model


@pytest.mark.training
@pytest.mark.parametrize(
    ("recipe", "options"),
    [
        ("image_segmentation", ["--epochs", "32"]),
        ("text_classification", ["--quick"]),
        ("recommendation", ["--item-name", "tale"]),
        ("tabular", ["--target", "hours"]),
    ],
)
def test_train_and_stage(real, tmp_path, recipe, options):
    """What follows is the same for all tasks: see test_train_publish_and_deploy."""
    pytest.importorskip("fastai", reason="torch and fastai are not installed: make test-all")
    model = train(tmp_path / "My model", recipe, options)
    real.run("spaces/deploy.py", tmp_path / "My model", "--owner", "me", "--stage", tmp_path / "staged")
    (app,) = (tmp_path / "staged").rglob("app.py")
    staged = load_model(app.parent / "model")
    item = model.example()
    ask = [one.predict(*item) if isinstance(item, tuple) else one.predict(item) for one in (model, staged)]
    assert ask[0].as_dict() == ask[1].as_dict()
    assert staged.config.about.title in (app.parent / "README.md").read_text(encoding="utf-8")


@pytest.mark.training
def test_train_publish_and_deploy(real, tmp_path):
    """Of a table; tests/test_readme.py does the same with pictures, for a static Space."""
    pytest.importorskip("fastai", reason="torch and fastai are not installed: make test-all")
    folder = tmp_path / "My model"
    train(folder, "tabular", ["--target", "shift"])
    published = real.run("-m", "training.publish", folder, "me/My-model")
    assert "Published and checked" in published
    for more in ([], ["--models-owner", "me"]):
        deployed = real.run("spaces/deploy.py", folder, "--owner", "me", "--timeout", "120", *more)
        space = real.hub.repo("me/My-model", "space")
        assert f"Its predictions at {space.host} match the local ones." in deployed
        model = load_model(folder)
        item = model.example()
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

"""The snippets on the model cards run with nothing of this repository, and say what the predictors say."""

import os
import re
import subprocess
import sys
from ast import literal_eval

import pytest
from PIL import Image

from shared import PREDICTORS
from tests.conftest import ROOT, turn_to
from tests.hub import Hub
from training.publish import publish

MODELS = [name for name in PREDICTORS if (ROOT / "spaces" / name / "model").is_dir()]
CAT = ROOT / "spaces/cat_dog/examples/chelsea.png"
STREET = ROOT / "spaces/segmentation/examples/street.jpg"


def card(name):
    return (ROOT / "spaces" / name / "model/README.md").read_text()


@pytest.fixture
def unsure(tmp_path):
    """A photo that a phone stored on its side, half cat and half lion: no round numbers."""
    from gradio.media import get_image

    cat, lion = Image.open(CAT).convert("RGB"), Image.open(get_image("lion.jpg")).convert("RGB")
    mixed = Image.blend(cat, lion.resize(cat.size), 0.7).rotate(90, expand=True)
    exif = Image.Exif()
    exif[0x0112] = 6  # turn it clockwise
    path = tmp_path / "photo.jpg"
    mixed.save(path, exif=exif, quality=95)
    return path


def run_card(text, folder="", picture="", variables=None):
    """What the last snippet on a card prints, run in an interpreter without this repository."""
    code = re.findall(r"```python\n(.*?)```", text, re.DOTALL)[-1]
    code = code.replace("path/to/this/folder", str(folder)).replace("picture.jpg", str(picture))
    hidden = f"import sys; sys.path[:] = [entry for entry in sys.path if entry not in ('', {str(ROOT)!r})]\n"
    last = "\nassert not any(module.split('.')[0] in ('shared', 'training') for module in sys.modules)\n"
    command = [sys.executable, "-W", "ignore::ResourceWarning", "-c", hidden + code + last]
    environment = {**os.environ, **(variables or {})}
    done = subprocess.run(command, cwd="/", capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def check(name, said, picture):
    """That a snippet said what the predictor of the embedded model says."""
    model = PREDICTORS[name](ROOT / "spaces" / name / "model")
    match name:
        case "cat_dog":
            probabilities, known = literal_eval("({}, {})".format(*said.rsplit(" ", 1)))
            ours = model.predict(picture)
            assert 0.01 < ours.probabilities["cat"] < 0.99
            assert probabilities == pytest.approx(ours.probabilities, abs=0.01)
            assert known is ours.is_known
        case "segmentation":
            shares = literal_eval(said)
            assert sum(shares.values()) == pytest.approx(1)
            assert shares == pytest.approx(model.predict(picture).share, abs=0.01)
        case "salary":
            person = model.checkpoint.typical | {"age": 45, "education": "Masters"}
            assert float(said) == pytest.approx(model.predict(person).probabilities[">=50k"], abs=1e-6)
        case "rating":
            assert float(said) == pytest.approx(model.predict(15, 260).rating, abs=1e-6)
        case "sentiment":
            ours = model.predict("A slow start, but the ending is wonderful!").probabilities
            assert literal_eval(said) == pytest.approx(ours, abs=1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_the_embedded_card_has_the_snippet_as_it_is_now(name):
    code = (ROOT / f"training/snippets/{name}.py").read_text().strip()
    assert code in card(name)
    assert len([line for line in code.splitlines() if line]) < 12  # and one for the Hub


@pytest.mark.parametrize("name", MODELS)
def test_the_snippet_of_the_embedded_card_with_onnxruntime_alone(name, unsure):
    picture = STREET if name == "segmentation" else unsure
    check(name, run_card(card(name), ROOT / "spaces" / name / "model", picture), picture)


@pytest.mark.parametrize("name", MODELS)
def test_the_snippet_of_the_published_card_with_onnxruntime_alone(name, unsure, tmp_path, monkeypatch):
    picture = STREET if name == "segmentation" else unsure
    with Hub() as hub:
        turn_to(monkeypatch, hub.endpoint)
        publish(ROOT / "spaces" / name / "model", f"me/{name}", token=hub.token)
        text = hub.files(f"me/{name}")["README.md"].decode()
        check(name, run_card(text, picture=picture, variables=hub.environment(tmp_path, token=None)), picture)

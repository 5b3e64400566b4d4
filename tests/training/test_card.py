"""The snippets on the model cards run with nothing of this repository, and say what the predictors say."""

import re
import subprocess
import sys
from ast import literal_eval

import pytest
from PIL import Image

from shared import CatDog, Segmentation
from tests.conftest import ROOT

SNIPPETS = sorted(path.stem for path in (ROOT / "training/snippets").glob("*.py"))
CAT = ROOT / "spaces/cat_dog/examples/chelsea.png"
STREET = ROOT / "spaces/segmentation/examples/street.png"


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


def run_card(name, picture):
    """What the last snippet on an embedded model's card prints, run in an interpreter without this repository."""
    folder = ROOT / "spaces" / name / "model"
    code = re.findall(r"```python\n(.*?)```", card(name), re.DOTALL)[-1]
    code = code.replace("path/to/this/folder", str(folder)).replace("picture.jpg", str(picture))
    hidden = f"import sys; sys.path[:] = [entry for entry in sys.path if entry not in ('', {str(ROOT)!r})]\n"
    last = "\nassert not any(module.split('.')[0] in ('shared', 'training') for module in sys.modules)\n"
    command = [sys.executable, "-W", "ignore::ResourceWarning", "-c", hidden + code + last]
    done = subprocess.run(command, cwd="/", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("name", SNIPPETS)
def test_the_embedded_card_has_the_snippet_as_it_is_now(name):
    assert (ROOT / f"training/snippets/{name}.py").read_text().strip() in card(name)


def test_segmentation_with_onnxruntime_alone():
    shares = literal_eval(run_card("segmentation", STREET))
    ours = Segmentation.from_pretrained(ROOT / "spaces/segmentation/model").predict(STREET).share
    assert sum(shares.values()) == pytest.approx(1)
    assert all(shares.get(label, 0) == pytest.approx(share, abs=0.005) for label, share in ours.items())


def test_cat_dog_with_onnxruntime_alone(unsure):
    probabilities, known = literal_eval("({}, {})".format(*run_card("cat_dog", unsure).rsplit(" ", 1)))
    ours = CatDog.from_pretrained(ROOT / "spaces/cat_dog/model").predict(unsure)
    assert 0.01 < ours.probabilities["cat"] < 0.99
    assert probabilities == pytest.approx(ours.probabilities, abs=0.01)
    assert known is ours.is_known

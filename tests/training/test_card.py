"""The snippets on the model cards run with nothing of this repository."""

import re
import subprocess
import sys

import pytest

from shared import CatDog, Segmentation
from tests.conftest import ROOT

PICTURES = {"cat_dog": "cat_dog/examples/chelsea.png", "segmentation": "segmentation/examples/street.png"}


def run_card(name: str) -> str:
    """What the last snippet on an embedded model's card prints, run in an interpreter without this repository."""
    folder = ROOT / "spaces" / name / "model"
    code = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)[-1]
    assert "shared" not in code
    code = code.replace("path/to/this/folder", str(folder)).replace(
        "picture.jpg", str(ROOT / "spaces" / PICTURES[name])
    )
    hidden = f"import sys; sys.path[:] = [entry for entry in sys.path if entry not in ('', {str(ROOT)!r})]\n"
    last = "\nassert not any(module.split('.')[0] in ('shared', 'training') for module in sys.modules)\n"
    command = [sys.executable, "-W", "ignore::ResourceWarning", "-c", hidden + code + last]
    done = subprocess.run(command, cwd="/", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_segmentation_with_onnxruntime_alone():
    printed = eval(run_card("segmentation"))
    path = ROOT / "spaces" / PICTURES["segmentation"]
    ours = Segmentation.from_pretrained(ROOT / "spaces/segmentation/model").predict(path).share
    assert sum(printed.values()) == pytest.approx(1)
    assert all(printed.get(label, 0) == pytest.approx(share, abs=0.02) for label, share in ours.items())


def test_cat_dog_with_onnxruntime_alone():
    printed = run_card("cat_dog").strip()
    probabilities, known = eval(f"[{printed.replace('} ', '}, ')}]")
    ours = CatDog.from_pretrained(ROOT / "spaces/cat_dog/model").predict(ROOT / "spaces" / PICTURES["cat_dog"])
    assert probabilities == pytest.approx(ours.probabilities, abs=0.05)
    assert known is ours.is_known

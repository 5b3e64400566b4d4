"""A model published without weights for torch gets those of its ONNX file, and `pipeline` answers as we do."""

import json
import os
import re
import shutil
import subprocess
import sys
from ast import literal_eval

import pytest
import yaml

torch = pytest.importorskip("torch", reason="torch and fastai are not installed: make test-all")
from safetensors.torch import load

from hub.local import Hub
from shared.config import sha256
from tests.conftest import ROOT, point_client_to
from training import publish as script
from training import torch_weights
from training.card import WEIGHTS, read_source

pytestmark = pytest.mark.training

PICTURE = ROOT / "spaces/cat_dog/examples/cat.png"


@pytest.fixture(params=["cat_dog", "sentiment"])
def published(request, tmp_path, monkeypatch):
    """The Hub to which an embedded model was published, and the model's name."""
    with Hub() as hub:
        point_client_to(monkeypatch, hub.endpoint)
        monkeypatch.setenv("HF_TOKEN", hub.token)
        assert script.main([str(ROOT / "spaces" / request.param / "model"), f"me/{request.param}"]) == 0
        yield hub, request.param


def test_the_pipeline_of_the_published_card_answers_as_we_do(published, request, tmp_path):
    hub, name = published
    files = hub.files(f"me/{name}")
    card = files["README.md"].decode()
    assert yaml.safe_load(card.split("---\n")[1])["library_name"] == "transformers"
    assert "Its weights, `model.safetensors`, are those of `onnx/model.onnx`, converted back to float32." in card
    (tmp_path / WEIGHTS).write_bytes(files[WEIGHTS])
    assert read_source(tmp_path / WEIGHTS) == "onnx/model.onnx"
    listed = json.loads(files["gallery.json"])["files"][WEIGHTS]
    assert listed == {"sha256": sha256(tmp_path / WEIGHTS), "bytes": len(files[WEIGHTS]), "optional": True}
    (code,) = re.findall(r"```python\n(from transformers.*?)```", card, re.DOTALL)
    code = code.replace("picture.jpg", str(PICTURE)).replace('film.")', 'film.", top_k=None)')
    cure = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import training\n"  # of torchvision, where it is broken
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", f"{cure}{code}\nprint(answer)"],
        cwd="/", capture_output=True, text=True, check=False,
        env={**os.environ, **hub.environment(tmp_path / "cache", token=None)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = {said["label"]: said["score"] for said in literal_eval(done.stdout)}
    item = PICTURE if name == "cat_dog" else "A wonderful film."
    assert found == pytest.approx(request.getfixturevalue(name).predict(item).probabilities, abs=0.01)


def test_the_weights_of_pictures_are_those_of_the_onnx_file(cat_dog):
    import onnx

    folder = ROOT / "spaces/cat_dog/model"
    config = json.loads((folder / "config.json").read_text())
    net = torch_weights.build_picture_net(onnx.load(folder / "onnx/model.onnx").graph, config).eval()
    pixels = cat_dog.preprocess(PICTURE)[None]
    with torch.inference_mode():
        found = net(torch.from_numpy(pixels)).logits.numpy()
    (logits,) = cat_dog.session.run(["logits"], {"pixel_values": pixels})
    assert found == pytest.approx(logits, abs=1e-4)


def test_the_same_weights_are_the_same_file():
    weights = {"second": torch.ones(2), "first": torch.zeros(3, 2)}
    files = {torch_weights.serialise(weights) for _ in range(30)}
    assert len(files) == 1  # or publishing the same folder again would be a new commit
    assert torch.equal(load(files.pop())["first"], weights["first"])


@pytest.mark.parametrize("fault", [lambda *_: 0.5, lambda *_: {}["a node that is not there"]])
def test_weights_that_do_not_answer_the_same_are_not_published(tmp_path, monkeypatch, capsys, fault):
    monkeypatch.setattr(torch_weights, "compare", fault)
    folder = shutil.copytree(ROOT / "spaces/cat_dog/model", tmp_path / "model")
    before = (folder / "gallery.json").read_bytes()
    script.make_weights(folder)
    assert "is published without model.safetensors" in capsys.readouterr().out
    assert not (folder / WEIGHTS).exists()
    assert (folder / "gallery.json").read_bytes() == before


def test_without_torch_it_says_what_is_missing(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    folder = shutil.copytree(ROOT / "spaces/cat_dog/model", tmp_path / "model")
    script.make_weights(folder)
    assert "`pipeline` cannot load it" in capsys.readouterr().out
    assert not (folder / WEIGHTS).exists()

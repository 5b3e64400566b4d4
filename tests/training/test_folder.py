"""Checkpoint folders: written whole or not at all, and refused before long work begins."""

import json
import os
import shutil
from collections import namedtuple
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="torch and fastai are not installed: make test-all")

from shared.config import GalleryConfig
from shared.errors import CheckpointError
from tests.conftest import ROOT
from tests.training.test_words import write_model
from training import folder as folders
from training.data import DataError
from training.description import describe
from training.folder import check_out, create_folder, describe_content, embed, update_config, write_config

pytestmark = pytest.mark.training


def test_ctrl_c_leaves_the_old_checkpoint_and_nothing_else(tmp_path):
    out = tmp_path / "model"
    with create_folder(out) as made:
        (made / "gallery.json").write_text("old")

    def write():
        with create_folder(out) as made:
            (made / "gallery.json").write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write()
    assert (out / "gallery.json").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    with create_folder(out) as made:
        (made / "other").write_text("new")
    assert [path.name for path in out.iterdir()] == ["other"]
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_model_of_other_data_is_kept(tmp_path, capsys):
    out, about = tmp_path / "model", describe("rows", "A row?", ()).about

    def make(data, keep_others=True):
        with create_folder(out, keep_others) as made:
            write_model(made, about, data)

    make("first")
    make("first")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert capsys.readouterr().out == ""
    make("second")
    assert capsys.readouterr().out == f"The model of first that was in {out} is kept in {tmp_path / 'model-before'}.\n"
    make("third")
    make("measured again", keep_others=False)
    kept = {path.name: describe_content(path)[0] for path in tmp_path.iterdir()}
    assert kept == {"model": "measured again", "model-before": "first", "model-before-2": "second"}


@pytest.mark.parametrize(("field", "values"), [("labels", (["a", "b"], ["a", "c"])), ("target", ("rent", "price"))])
def test_a_model_of_other_labels_or_another_target_is_kept_though_its_data_has_the_same_name(field, values, tmp_path):
    out, about = tmp_path / "model", describe("train", "A row?", ()).about
    for value in values:
        with create_folder(out, keep_others=True) as made:
            write_model(made, about, "train")
            config = json.loads((made / "gallery.json").read_text(encoding="utf-8")) | {field: value}
            (made / "gallery.json").write_text(json.dumps(config), encoding="utf-8")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "model-before"]


def test_the_data_of_a_model_are_those_of_its_first_figure(tmp_path):
    write_model(tmp_path, describe("pets", "A pet?", ()).about, "pets")
    metrics = json.loads((tmp_path / "metrics.json").read_text(encoding="utf-8"))
    metrics["figures"] += [{**metrics["figures"][0], "name": "noticed", "data": "other pictures"}]
    (tmp_path / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")
    assert describe_content(tmp_path)[0] == "pets"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions")
def test_a_finished_folder_can_be_read_by_others(tmp_path):
    with create_folder(tmp_path / "model") as made:
        (made / "onnx").mkdir(mode=0o700)
        (made / "onnx/model.onnx").touch(mode=0o600)
    paths = [tmp_path / "model", tmp_path / "model/onnx", tmp_path / "model/onnx/model.onnx"]
    assert [oct(path.stat().st_mode & 0o777) for path in paths] == ["0o755", "0o755", "0o644"]


def refuse_renames(monkeypatch, is_refused):
    """Refuse to rename the paths for which `is_refused` is true, given a path and its target."""
    rename = Path.rename

    def refusing(self, target):
        if is_refused(self, target):
            raise PermissionError(13, "Access is denied", str(self))
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refusing)


def write_new(out):
    with create_folder(out) as made:
        (made / "gallery.json").write_text("new", encoding="utf-8")


def test_the_old_model_is_put_back_where_the_new_one_cannot_take_its_place(tmp_path, monkeypatch):
    out = tmp_path / "model"
    out.mkdir()
    (out / "gallery.json").write_text("old", encoding="utf-8")
    refuse_renames(monkeypatch, lambda path, target: target == out and not path.name.endswith("-before"))
    with pytest.raises(DataError, match=r"cannot be replaced \(Access is denied\).*The new model is in .*model-2\."):
        write_new(out)
    found = {path.name: (path / "gallery.json").read_text(encoding="utf-8") for path in tmp_path.iterdir()}
    assert found == {"model": "old", "model-2": "new"}


def test_the_new_model_is_kept_where_the_old_one_cannot_be_replaced(tmp_path, monkeypatch):
    out = tmp_path / "model"
    for name, text in (("model", "old"), ("model-2", "older")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "gallery.json").write_text(text, encoding="utf-8")
    refuse_renames(monkeypatch, lambda path, _: path == out)
    with pytest.raises(DataError, match=r"cannot be replaced \(Access is denied\).*The new model is in .*model-3\."):
        write_new(out)
    found = {path.name: (path / "gallery.json").read_text(encoding="utf-8") for path in tmp_path.iterdir()}
    assert found == {"model": "old", "model-2": "older", "model-3": "new"}


def limit_disk(monkeypatch, free):
    """Make every disk appear to have this many bytes free."""
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**12, 10**12 - free, free))


def test_a_full_disk_is_found_before_the_training(tmp_path, monkeypatch):
    limit_disk(monkeypatch, 5_000_000)
    with pytest.raises(DataError, match="has less than 100 MB free; free some space"):
        check_out(tmp_path / "model")
    limit_disk(monkeypatch, 10**9)
    check_out(tmp_path / "model")


def write_files(folder, names, about):
    """Write files, and a gallery.json that lists them."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name, encoding="utf-8")
    write_config(folder, GalleryConfig, task="x", about=about)


def test_what_serving_needs_is_told_from_the_rest(tmp_path):
    about = describe("pets", "A pet?", ()).about
    names = ("onnx/model.onnx", "model.safetensors", "examples/cat.png", "README.md", "LICENSE.md", "metrics.json")
    write_files(tmp_path, names, about)
    listed = {name: entry.optional for name, entry in GalleryConfig.read_common(tmp_path).files.items()}
    assert listed == {
        "config.json": False, "examples/cat.png": True, "metrics.json": False, "model.safetensors": True,
        "onnx/model.onnx": False,
    }  # fmt: skip
    (tmp_path / "examples/cat.png").write_text("another", encoding="utf-8")
    update_config(tmp_path, ("examples/cat.png", "metrics.json"), {"task": "y"})
    config = GalleryConfig.read(tmp_path)
    assert config.task == "y"
    assert {name: entry.optional for name, entry in config.files.items()} == listed


def test_a_folder_without_its_network_is_not_finished(tmp_path):
    with pytest.raises(CheckpointError, match=r"onnx/model\.onnx is not listed"):
        write_files(tmp_path, ("metrics.json",), describe("pets", "A pet?", ()).about)


def test_a_model_is_embedded_without_torch_weights_and_pictures_of_the_data(tmp_path, monkeypatch):
    monkeypatch.setattr(folders, "__file__", str(tmp_path / "training/folder.py"))
    made = shutil.copytree(ROOT / "spaces/salary/model", tmp_path / "made")
    before = {path.name for path in made.iterdir()}
    (made / "model.safetensors").write_bytes(b"weights")
    (made / "examples").mkdir()
    (made / "examples/cat.png").write_bytes(b"picture")
    space = embed(made, "salary")
    assert space == tmp_path / "spaces/salary/model"
    assert {path.name for path in space.iterdir()} == before

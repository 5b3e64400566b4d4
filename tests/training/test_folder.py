"""Checkpoint folders: written whole or not at all, and refused before long work begins."""

import json
import shutil
from collections import namedtuple
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="torch and fastai are not installed: make test-all")

from tests.training.test_words import write_model
from training.data import DataError
from training.description import describe
from training.folder import check_out, create_folder, describe_content

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


def test_a_model_of_other_labels_is_kept_though_its_data_has_the_same_name(tmp_path):
    out, about = tmp_path / "model", describe("train", "A row?", ()).about
    for labels in (["a", "b"], ["a", "c"]):
        with create_folder(out, keep_others=True) as made:
            write_model(made, about, "train")
            config = json.loads((made / "gallery.json").read_text(encoding="utf-8")) | {"labels": labels}
            (made / "gallery.json").write_text(json.dumps(config), encoding="utf-8")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "model-before"]


def test_the_new_model_is_kept_where_the_old_one_cannot_be_replaced(tmp_path, monkeypatch):
    out = tmp_path / "model"
    for name, text in (("model", "old"), ("model-2", "older")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "gallery.json").write_text(text, encoding="utf-8")
    rename = Path.rename

    def refusing(self, target):
        if self == out:
            raise PermissionError(13, "Access is denied", str(self))
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refusing)

    def write():
        with create_folder(out) as made:
            (made / "gallery.json").write_text("new", encoding="utf-8")

    with pytest.raises(DataError, match=r"cannot be replaced \(Access is denied\).*The new model is in .*model-3\."):
        write()
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

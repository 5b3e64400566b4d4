"""The gallery takes in whatever Space lies beside it or inside it."""

import json
import shutil

from shared.config import sha256
from tests.conftest import ROOT, load_app


def test_a_staged_gallery_finds_the_spaces_inside_it(tmp_path):
    staged = shutil.copytree(ROOT / "spaces/gallery", tmp_path / "gallery")
    shutil.copytree(ROOT / "spaces/salary", staged / "salary")
    shutil.copytree(ROOT / "spaces/salary", staged / "another")
    names = set(load_app(staged).demo.get_api_info()["named_endpoints"])
    assert names == {
        f"/{name}{event}" for name in ("salary", "another") for event in ("", "_explain", "_what_if", "_batch")
    }


def test_a_damaged_model_does_not_affect_the_others(tmp_path):
    staged = shutil.copytree(ROOT / "spaces/gallery", tmp_path / "gallery")
    shutil.copytree(ROOT / "spaces/salary", staged / "salary")
    shutil.copytree(ROOT / "spaces/salary", staged / "broken")
    (staged / "broken/model/gallery.json").write_text("{}")
    app = load_app(staged)
    assert {folder.name for folder in app.apps} == {"salary"}
    assert "broken cannot be shown" in str(app.demo.get_config_file())


def test_the_page_does_not_reveal_the_path_of_a_damaged_model(tmp_path, caplog):
    staged = shutil.copytree(ROOT / "spaces/gallery", tmp_path / "gallery")
    shutil.copytree(ROOT / "spaces/salary", staged / "salary")
    (staged / "salary/model/onnx/model.onnx").write_bytes(b"damaged")
    config = str(load_app(staged).demo.get_config_file())
    assert "Its model is damaged; the log says why." in config
    assert str(tmp_path) not in config
    assert str(tmp_path) in caplog.text


def test_a_file_that_is_not_a_model_is_detected_at_the_start(tmp_path):
    """Its SHA-256 is the one in gallery.json, so only opening it shows that it is none."""
    staged = shutil.copytree(ROOT / "spaces/gallery", tmp_path / "gallery")
    shutil.copytree(ROOT / "spaces/salary", staged / "salary")
    shutil.copytree(ROOT / "spaces/salary", staged / "garbage")
    garbage, contract = staged / "garbage/model/onnx/model.onnx", staged / "garbage/model/gallery.json"
    garbage.write_bytes(b"garbage")
    content = json.loads(contract.read_text())
    content["files"]["onnx/model.onnx"] |= {"sha256": sha256(garbage), "bytes": 7}
    contract.write_text(json.dumps(content))
    app = load_app(staged)
    assert {folder.name for folder in app.apps} == {"salary"}
    assert "garbage cannot be shown" in str(app.demo.get_config_file())


def test_an_empty_gallery_says_so(tmp_path, caplog):
    staged = shutil.copytree(ROOT / "spaces/gallery", tmp_path / "gallery")
    assert "There are no models here yet." in str(load_app(staged).demo.get_config_file())
    assert "no models to show" in caplog.text


def test_a_space_without_a_model_is_left_out(tmp_path):
    staged = shutil.copytree(ROOT / "spaces/gallery", tmp_path / "gallery")
    for name in ("salary", "untrained"):
        shutil.copytree(ROOT / "spaces/salary", staged / name)
    shutil.rmtree(staged / "untrained/model")
    app = load_app(staged)
    assert {folder.name for folder in app.apps} == {"salary"}
    assert "cannot be shown" not in str(app.demo.get_config_file())


def test_a_space_without_a_picture_does_not_affect_the_others(tmp_path):
    staged = shutil.copytree(ROOT / "spaces/gallery", tmp_path / "gallery")
    shutil.copytree(ROOT / "spaces/salary", staged / "salary")
    shutil.copytree(ROOT / "spaces/salary", staged / "blind")
    (staged / "blind/picture.svg").unlink()
    app = load_app(staged)
    assert {folder.name for folder in app.apps} == {"salary"}
    assert "blind cannot be shown" in str(app.demo.get_config_file())


def test_home_page_has_a_card_for_every_model():
    config = str(load_app("gallery").demo.get_config_file())
    for name in ("cat_dog", "segmentation", "sentiment", "salary", "rating"):
        assert f'href="./{name}"' in config

"""Every Space's folder can be deployed as it is: pins agree, the header is complete, files are in budget."""

import json
import re
import tomllib

import pytest
import yaml
from PIL import Image

from tests.conftest import ROOT
from training.card import PIPELINE_TAGS

SPACES = sorted(path.parent.name for path in (ROOT / "spaces").glob("*/app.py"))
MODELS = [name for name in SPACES if (ROOT / "spaces" / name / "model").is_dir()]
BUDGET_MB = {"cat_dog": 3, "segmentation": 3, "sentiment": 19, "salary": 2.5, "rating": 2.5}


def read_header(name: str) -> dict:
    text = (ROOT / "spaces" / name / "README.md").read_text()
    return yaml.safe_load(text.split("---")[1])


def read_requirements(name: str) -> dict[str, str]:
    lines = (ROOT / "spaces" / name / "requirements.txt").read_text().split()
    return dict(line.split("==") for line in lines)


def test_there_are_spaces():
    assert set(BUDGET_MB) <= set(MODELS) == set(SPACES) - {"gallery"}
    assert not (ROOT / "spaces/__init__.py").exists()  # would hide the package `spaces` of ZeroGPU


@pytest.mark.parametrize("name", SPACES)
def test_header_is_complete(name):
    fields = read_header(name)
    assert fields["sdk"] == "gradio"
    assert re.fullmatch(r"\d+\.\d+\.\d+", fields["sdk_version"])
    assert fields["python_version"] == "3.12"
    assert fields["app_file"] == "app.py"
    assert fields["license"] == "apache-2.0"
    assert len(fields["short_description"]) <= 60
    colours = {"red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"}
    assert {fields["colorFrom"], fields["colorTo"]} <= colours


@pytest.mark.parametrize("name", SPACES)
def test_header_describes_the_space(name):
    tags = read_header(name)["tags"]
    assert "mcp-server" in tags
    for model in MODELS if name == "gallery" else [name]:
        task = json.loads((ROOT / "spaces" / model / "model/gallery.json").read_text())["task"]
        assert PIPELINE_TAGS.get(task, task) in tags
    with Image.open(ROOT / "spaces" / name / "thumbnail.png") as thumbnail:
        assert (thumbnail.format, thumbnail.size) == ("PNG", (1200, 675))


@pytest.mark.parametrize("name", SPACES)
def test_gradio_is_pinned_to_the_sdk_version(name):
    assert read_requirements(name)["gradio"] == read_header(name)["sdk_version"]


@pytest.mark.parametrize("name", SPACES)
def test_requirements_are_pinned_without_torch_and_consistently(name):
    own, all_of_them = read_requirements(name), read_requirements("gallery")
    assert not {"torch", "fastai", "transformers", "torchvision"} & set(own)
    assert all(all_of_them[package] == version for package, version in own.items())


@pytest.mark.parametrize("name", SPACES)
def test_installed_versions_are_the_pinned_ones(name):
    from importlib.metadata import version

    assert {package: version(package) for package in read_requirements(name)} == read_requirements(name)


@pytest.mark.parametrize("name", MODELS)
def test_model_is_within_its_size_budget_and_has_its_documents(name):
    folder = ROOT / "spaces" / name / "model"
    documents = {"README.md", "LICENSE.md", "metrics.json"}  # people read them; answering needs none of them
    sizes = {path.name: path.stat().st_size for path in folder.rglob("*") if path.is_file()}
    assert sum(size for file, size in sizes.items() if file not in documents) <= BUDGET_MB.get(name, 3) * 1e6
    assert sum(sizes[file] for file in documents) <= 100_000
    for file in ("onnx/model.onnx", "gallery.json", "metrics.json", "LICENSE.md", "README.md"):
        assert (folder / file).stat().st_size > 0
    assert (ROOT / "spaces" / name / "picture.svg").stat().st_size > 0


@pytest.mark.parametrize("name", MODELS)
def test_app_is_short_enough_to_read(name):
    assert len((ROOT / "spaces" / name / "app.py").read_text().splitlines()) <= 130


def test_torch_and_torchvision_are_pinned_together():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["training"]
    assert {"torch==2.13.0", "torchvision==0.28.0"} <= set(extras)

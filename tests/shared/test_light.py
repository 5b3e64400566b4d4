"""Serving stays light: no torch, no pickle."""

import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT


def test_importing_shared_loads_nothing_heavy():
    code = "import sys, shared; print(sorted({name.split('.')[0] for name in sys.modules}))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd="/").stdout
    for name in ("torch", "fastai", "transformers", "pandas", "gradio", "sklearn"):
        assert f"'{name}'" not in loaded


@pytest.mark.parametrize("name", ["shared", "training"])
def test_onnx_runtime_is_told_to_send_nothing_before_it_is_imported(name):
    code = f"import os, sys, {name}; print(os.environ['ORT_DISABLE_TELEMETRY'], 'onnxruntime' in sys.modules)"
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, cwd=ROOT, capture_output=True, check=True)
    assert done.stdout.split() == [b"1", b"False"]


@pytest.mark.parametrize("name", ["card", "publish"])
def test_what_says_that_it_needs_no_torch_runs_without(name):
    code = f"""
import runpy, sys
sys.modules["torch"] = None  # not to be found, and not to be imported
sys.orig_argv = ["python", "-m", "training.{name}"]
sys.argv[1:] = ["--help"]
runpy.run_module("training.{name}", run_name="__main__")
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=False, text=True)
    assert done.stdout.startswith(f"usage: python -m training.{name}"), done.stderr


TRAINING = ("accelerate", "fastai", "fastcore", "fastprogress", "onnx", "safetensors", "scipy", "skimage", "sklearn",
            "torch", "torchvision", "transformers")  # fmt: skip
MISSING = """
import os
from importlib.machinery import PathFinder

find = PathFinder.find_spec

def find_spec(cls, name, *more):
    return None if name.partition(".")[0] in os.environ["MISSING"].split() else find(name, *more)

PathFinder.find_spec = classmethod(find_spec)
"""


def run_without(packages, folder, *words):
    """Run python with these words as if these packages were not installed."""
    (folder / "sitecustomize.py").write_text(MISSING)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)]), "MISSING": " ".join(packages)}
    return subprocess.run(
        [sys.executable, *words], env=environment, cwd=ROOT, capture_output=True, check=False, text=True
    )


@pytest.mark.parametrize("missing", ["PIL", "torch"])
def test_a_python_without_the_packages_of_training_is_told_what_to_do(missing, tmp_path):
    done = run_without([missing], tmp_path, "-m", "training.recipes.image_classification")
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: This Python (")
    assert f") has no {missing}, which training needs: " in line
    assert "source .venv/bin/activate" in line
    assert "pip install -r requirements.txt" in line
    assert done.returncode == 1


def test_help_needs_only_what_the_demos_need(tmp_path):
    done = run_without(TRAINING, tmp_path, "-m", "training.recipes.image_classification", "--help")
    assert done.stdout.startswith("usage: python -m training.recipes.image_classification"), done.stderr


def test_a_model_answers_without_a_home_folder_and_without_a_warning():
    code = "from shared import load_model; m = load_model('spaces/salary/model'); print(m.predict_batch([m.example()]))"
    environment = {name: value for name, value in os.environ.items() if name not in ("CI", "ORT_DISABLE_TELEMETRY")}
    environment |= {"HOME": "/dev/null/home", "XDG_CACHE_HOME": ""}
    done = subprocess.run([sys.executable, "-c", code], env=environment, cwd=ROOT, capture_output=True, check=True)
    assert b"probabilities" in done.stdout
    assert done.stderr == b""

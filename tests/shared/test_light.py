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


@pytest.mark.parametrize("name", ["card", "publish", "rename_input"])
def test_what_says_that_it_needs_no_torch_runs_without(name):
    if name == "rename_input":
        pytest.importorskip("onnx", reason="onnx is not installed: make test-all")
    code = f"""
import runpy, sys
sys.modules["torch"] = None  # not to be found, and not to be imported
sys.orig_argv = ["python", "-m", "training.{name}"]
sys.argv[1:] = ["--help"]
runpy.run_module("training.{name}", run_name="__main__")
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=False, text=True)
    assert done.stdout.startswith(f"usage: python -m training.{name}"), done.stderr


def test_a_model_answers_without_a_home_folder_and_without_a_warning():
    code = "from shared import load_model; m = load_model('spaces/salary/model'); print(m.predict_batch([m.example()]))"
    environment = {name: value for name, value in os.environ.items() if name not in ("CI", "ORT_DISABLE_TELEMETRY")}
    environment |= {"HOME": "/dev/null/home", "XDG_CACHE_HOME": ""}
    done = subprocess.run([sys.executable, "-c", code], env=environment, cwd=ROOT, capture_output=True, check=True)
    assert b"probabilities" in done.stdout
    assert done.stderr == b""

"""Serving stays light: no torch, no pickle."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT


def test_importing_shared_loads_nothing_heavy():
    code = "import sys, shared; print(sorted({name.split('.')[0] for name in sys.modules}))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd="/").stdout
    for name in ("torch", "fastai", "transformers", "pandas", "gradio", "sklearn"):
        assert f"'{name}'" not in loaded


@pytest.mark.parametrize("name", ["torch", "fastai", "transformers", "training", "pickle", "joblib"])
def test_no_source_of_shared_or_of_a_space_imports(name):
    for path in [*Path(ROOT, "shared").rglob("*.py"), *Path(ROOT, "spaces").glob("*/**/*.py")]:
        text = path.read_text()
        assert f"import {name}" not in text, path
        assert f"from {name}" not in text, path

"""Imitate the restrictions of Windows: see sitecustomize.py, which Python runs at its start."""

import os
from collections.abc import Mapping
from pathlib import Path

from tests.conftest import ROOT


def imitate_windows(variables: Mapping[str, str] = {}) -> dict[str, str]:
    """Return the environment of a Python process with the restrictions of Windows, and these variables."""
    path = f"{Path(__file__).parent}{os.pathsep}{ROOT}"
    return {**os.environ, **variables, "PYTHONPATH": path, "PYTHONIOENCODING": "cp1252:strict"}

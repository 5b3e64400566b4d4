"""What Windows refuses, refused here: see sitecustomize.py, which Python runs at its start in `as_on_windows`."""

import os
from collections.abc import Mapping
from pathlib import Path

from tests.conftest import ROOT


def as_on_windows(variables: Mapping[str, str] = {}) -> dict[str, str]:
    """The environment of a Python process that meets what it would meet on Windows, with these variables, too."""
    path = f"{Path(__file__).parent}{os.pathsep}{ROOT}"
    return {**os.environ, **variables, "PYTHONPATH": path, "PYTHONIOENCODING": "cp1252:strict"}

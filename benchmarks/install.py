"""Size and time of installing a Space's packages, beside those of the lesson's app: into fresh folders, uncached.

Packages come from pip's configured index. With GPU wheels of torch, the lesson's app is several times larger than with
CPU wheels.
"""

import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path

from benchmarks.apps import ROOT
from benchmarks.table import Row, Target
from benchmarks.work import Work


def measure(work: Work) -> Iterator[Row]:
    """Compare the gallery's requirements with the lesson app's, at the versions pinned for training."""
    pins = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"][
        "training"
    ]
    ours = (ROOT / "spaces/gallery/requirements.txt").read_text(encoding="utf-8").split()
    gradio = [pin for pin in ours if pin.startswith("gradio=")]
    theirs = [*gradio, *(pin for pin in pins if pin.split("==")[0] in ("fastai", "torch", "torchvision"))]
    (size, took), (peers_size, peers_took) = (
        install(packages, work.folder / name) for name, packages in (("ours", ours), ("lesson", theirs))
    )
    yield Row("install", "size of a Space", "lesson", "MB", [size], [peers_size], target=Target("<=", 0.35))
    yield Row("install", "time of a Space", "lesson", "s", [took], [peers_took])


def install(packages: list[str], folder: Path) -> tuple[float, float]:
    """Install packages into a fresh folder; return megabytes and seconds."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-cache-dir", "--target", folder, *packages]
    start = time.perf_counter()
    subprocess.run(command, check=True)
    took = time.perf_counter() - start
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6, took

"""Size and time of installing what a Space needs, beside what the lesson's app needs: into fresh folders, uncached.

The packages come from wherever pip is set up to get them. With wheels of torch for GPUs the lesson's app takes several
times what it takes with those for CPUs alone.
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
    """The gallery's requirements beside the lesson app's, which are at the versions that training is pinned to."""
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
    """Megabytes and seconds of an install into a fresh folder."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-cache-dir", "--target", folder, *packages]
    start = time.perf_counter()
    subprocess.run(command, check=True)
    took = time.perf_counter() - start
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6, took

"""What metrics.json says of how a model was made: command, commit, files, device, versions."""

import argparse
import hashlib
import os
import platform
import re
import shlex
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from fastai.torch_core import default_device

from shared.config import sha256
from shared.metrics import Input, Measured, Trained
from training import processes
from training.data import DataError, data_files

SOURCE = "SOURCE.md"  # in a folder of data or weights: where they come from, and what was done to them
TRAINING = ("torch", "fastai", "transformers", "numpy")  # packages that train
MEASURING = ("onnxruntime", "numpy", "pillow", "tokenizers")  # that serve the stored model while it is measured
UNRECORDED = ("resume", "out", "embed", "push_to_hub", "private", "push_learner", "measure")  # change no figure


@dataclass(frozen=True)
class Record:
    """What a model is being made from.

    `command` is one that the script's parser understands, None where functions were called; `commit` is that of the
    code, None outside a git repository; `inputs` are the files and folders that its options name.
    """

    command: str | None = None
    commit: str | None = None
    inputs: tuple[Input, ...] = ()

    def trained(self, started: float, seed: int, notes: Sequence[str] = ()) -> Trained:
        """Return what metrics.json says of a training that has ended; call it in the process that trained.

        Args:
            started: time.monotonic() when it began.
            seed: of the training.
            notes: sentences for the card about how the model was trained.
        """
        return Trained(
            command=self.command,
            seed=seed,
            seconds=round(time.monotonic() - started),
            commit=self.commit,
            device=training_device(),
            versions=training_versions(),
            inputs=self.inputs,
            notes=tuple(notes),
        )

    def measured(self) -> Measured:
        """Return what metrics.json says of a measuring that was a command of its own."""
        fields = {"command": f"{self.command} --measure DIR", "commit": self.commit, "inputs": self.inputs}
        return measured_here().model_copy(update=fields)


def record(parser: argparse.ArgumentParser, options: argparse.Namespace) -> Record:
    """Record a command before it runs, since files and code may change meanwhile.

    Options that change neither the model nor its figures are left out. Of a path only the name is kept.

    Raises:
        DataError: a file cannot be read.
    """
    words, inputs = parser.prog.split(), []
    for action in parser._actions:
        if action.dest not in options or action.dest in UNRECORDED:
            continue
        value = getattr(options, action.dest)
        if value == action.default:
            continue
        flag = action.option_strings[0]
        if isinstance(value, bool):
            words.append(flag)
            continue
        if isinstance(value, str) and Path(value).exists():
            path = Path(value).resolve()
            try:
                inputs.append(Input(option=flag, name=path.name, **content(path)))
            except OSError as error:
                raise DataError(f"A file of {flag} cannot be read: {error}") from error
            value = path.name
        words += [flag, str(value)]
    return Record(shlex.join(words), commit(), tuple(inputs))


def content(path: Path) -> dict[str, Any]:
    """Return what is at a path: `files` (how many), `sha256`, and `source` (the text of its SOURCE.md, or None).

    The hash of a file is its SHA-256. That of a folder is the SHA-256 of what `sha256sum` prints for its files, sorted
    by name: the hash, two spaces, the path within the folder, a newline. For weights, which have a config.json, the
    SOURCE.md may lie in the folder above.
    """
    files = data_files(str(path))
    lines = sorted((file.relative_to(path).as_posix(), sha256(file)) for file in files if file != path)
    listed = "".join(f"{digest}  {name}\n" for name, digest in lines)
    places = [path, path.parent] if (path / "config.json").is_file() else [path if path.is_dir() else path.parent]
    sources = [place / SOURCE for place in places if (place / SOURCE).is_file()]
    return {
        "files": len(files),
        "sha256": hashlib.sha256(listed.encode()).hexdigest() if path.is_dir() else sha256(path),
        "source": sources[0].read_text(encoding="utf-8").strip() if sources else None,
    }


def commit() -> str | None:
    """Return the commit of this code, with a remark if files differ from it; None outside its repository."""

    def git(*words: str) -> str:
        root = Path(__file__).resolve().parent.parent
        done = subprocess.run(["git", *words], cwd=root, capture_output=True, encoding="utf-8", check=True)  # noqa: S603, S607
        return done.stdout.strip()

    try:
        git("ls-files", "--error-unmatch", __file__)  # fails for a copy within another repository
        changed = git("status", "--porcelain", "--", "training", "shared")
        return git("rev-parse", "HEAD") + (", with changes" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def measured_here() -> Measured:
    """Return when and where figures are measured: now and here."""
    return Measured(date=now(), device=cpu(), versions={name: version(name) for name in MEASURING})


def training_device() -> str:
    """Return the name of what networks are trained on: the GPU, and how many of them, or the processor."""
    if (kind := default_device().type) != "cuda":
        return cpu() if kind == "cpu" else f"{kind} of a machine with {cpu()}"
    several = f"{processes.count()} × " if processes.count() > 1 else ""
    return several + torch.cuda.get_device_name()


def training_versions() -> dict[str, str]:
    """Return the versions of the packages that train."""
    return {name: version(name) for name in TRAINING}


def cpu() -> str:
    """Return the name of the processor on which ONNX Runtime measures, with the number of its cores."""
    try:
        found = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    except OSError:
        found = None
    name = found[1].strip() if found else platform.processor() or platform.machine()
    return f"{os.cpu_count()} cores ({name})"


def now() -> str:
    """Return the time in UTC, as ISO 8601 to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")

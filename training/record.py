"""Record how a model was made, for metrics.json: command, commit, files, device, versions."""

import argparse
import hashlib
import os
import platform
import re
import shlex
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from fastai.torch_core import default_device

from shared.config import sha256
from shared.metrics import Input, Measured, Trained
from training import processes
from training.data import ABOUT, DataError, is_clutter, list_files

SOURCE = "SOURCE.md"  # beside data or weights: where they come from and how they were changed
TRAINING = ("torch", "fastai", "transformers", "numpy")  # packages used in training
MEASURING = ("onnxruntime", "numpy", "pillow", "tokenizers")  # packages used in measuring
UNRECORDED = (
    "resume",
    "states",
    "train_only",
    "minutes",  # the epochs that it led to are recorded
    "out",
    "embed",
    "push_to_hub",
    "private",
    "push_learner",
    "measure",
)  # options that change no figure
OF_SPLIT = ("--data", "--labels")  # options with the files that determine the split of a user's own data
PATH_METAVARS = ("PATH", "DIR", "FILE", "NAME")  # metavars of options whose values are paths, or may be


@dataclass(frozen=True)
class Record:
    """The sources of a model.

    `command` can be parsed by the script, and is None if functions were called; `commit` is that of the code, None
    outside a git repository; `inputs` are the files and folders that the options name.
    """

    command: str | None = None
    commit: str | None = None
    inputs: tuple[Input, ...] = ()

    def describe_training(
        self, started: float, seed: int, notes: Sequence[str] = (), devices: Sequence[Mapping[str, Any]] = ()
    ) -> Trained:
        """Return the record of a finished training run; call it in the process that trained.

        Args:
            started: time.monotonic() at its start.
            seed: its seed.
            notes: sentences for the card on how the model was trained.
            devices: `device` and `versions` of each part of the training; by default those of this process.
        """
        parts = devices or [{"device": get_training_device(), "versions": get_training_versions()}]
        return Trained(
            command=self.command,
            seed=seed,
            seconds=round(time.monotonic() - started),
            commit=self.commit,
            device=", then ".join(dict.fromkeys(part["device"] for part in parts)),
            versions=parts[-1]["versions"],
            inputs=self.inputs,
            notes=tuple(notes),
        )

    def add(self, words: str) -> "Record":
        """Return the record with more words of the command."""
        return replace(self, command=f"{self.command} {words}") if self.command else self

    def describe_measurement(self) -> Measured:
        """Return the record of a --measure command."""
        fields = {"command": f"{self.command} --measure DIR", "commit": self.commit, "inputs": self.inputs}
        return record_measurement().model_copy(update=fields)


def record(parser: argparse.ArgumentParser, options: argparse.Namespace) -> Record:
    """Record a command before it runs, since files and code may change meanwhile.

    Options that change neither the model nor its figures are omitted. Only the last part of a path is kept.

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
        if action.metavar in PATH_METAVARS and Path(value).exists():
            path = Path(value).resolve()
            try:
                inputs.append(Input(option=flag, name=path.name, **hash_input(path)))
            except OSError as error:
                raise DataError(f"A file of {flag} cannot be read: {error}") from error
            value = path.name
        words += [flag, str(value)]
    return Record(shlex.join(words), get_commit(), tuple(inputs))


def hash_input(path: Path) -> dict[str, Any]:
    """Return the number of `files` at a path, their hashes, and `source`, the text of SOURCE.md or None.

    `sha256` of a folder is the SHA-256 of what `sha256sum` prints for its files, sorted by name: the hash, two spaces,
    the path within the folder, a newline. `data_sha256` leaves out SOURCE.md, about.yaml, hidden files, and what
    systems write into folders. For weights, which have a config.json, SOURCE.md may be in the parent folder; of that
    one, only what it says about these weights counts.

    Raises:
        DataError: SOURCE.md is not in UTF-8.
    """
    files = list_files(str(path))
    if path.is_dir():
        lines = sorted((file.relative_to(path).as_posix(), sha256(file)) for file in files)
        of_data = [one for one in lines if not is_clutter(Path(one[0])) and one[0] not in (SOURCE, ABOUT)]
        whole, data = (
            hashlib.sha256("".join(f"{digest}  {name}\n" for name, digest in some).encode()).hexdigest()
            for some in (lines, of_data)
        )
    else:
        whole = data = sha256(path)
    places = [path, path.parent] if (path / "config.json").is_file() else [path if path.is_dir() else path.parent]
    texts = [read_source(place / SOURCE) for place in places if (place / SOURCE).is_file()]
    is_shared = len(places) > 1 and not (path / SOURCE).is_file()
    return {
        "files": len(files),
        "sha256": whole,
        "data_sha256": data,
        "source": (find_section(texts[0], path.name) if is_shared else texts[0]) if texts else None,
    }


def list_data_hashes(inputs: Sequence[Input]) -> dict[str, str]:
    """Return the hashes of the inputs that determine the split of a user's own data, by their options."""
    return {item.option: item.data_sha256 for item in inputs if item.option in OF_SPLIT and item.data_sha256}


def read_source(path: Path) -> str:
    """Return the text of a SOURCE.md.

    Raises:
        DataError: it is not in UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig").strip()
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not in the encoding UTF-8; save it again as UTF-8.") from error


def find_section(text: str, name: str) -> str:
    """Return the section of a Markdown text whose heading has this word, or else the first paragraph."""
    sections = re.split(r"^(?=#)", text, flags=re.MULTILINE)
    about = re.compile(rf"#[^\n]*(?<![\w.-]){re.escape(name)}(?![\w.-])")
    paragraphs = (part.strip() for part in re.split(r"\n\s*\n|^#.*$", text, flags=re.MULTILINE))
    return next((part.strip() for part in sections if about.match(part)), next(filter(None, paragraphs), ""))


def get_commit() -> str | None:
    """Return the commit of this code, marked if files have changed; None outside its repository."""

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


def record_measurement() -> Measured:
    """Return the record of a measurement made here and now."""
    return Measured(date=get_time(), device=get_cpu(), versions={name: version(name) for name in MEASURING})


def get_training_device() -> str:
    """Return the name of the training device: the GPU, with the number of processes, or the processor."""
    if (kind := default_device().type) != "cuda":
        return get_cpu() if kind == "cpu" else f"{kind} of a machine with {get_cpu()}"
    several = f"{processes.get_world_size()} × " if processes.get_world_size() > 1 else ""
    return several + torch.cuda.get_device_name()


def get_training_versions() -> dict[str, str]:
    """Return the versions of the packages used in training."""
    return {name: version(name) for name in TRAINING}


def get_cpu() -> str:
    """Return the number of cores and the name of the processor."""
    try:
        found = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    except OSError:
        found = None
    name = found[1].strip() if found else platform.processor() or platform.machine()
    return f"{os.cpu_count()} cores ({name})"


def get_time() -> str:
    """Return the time in UTC, as ISO 8601 to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")

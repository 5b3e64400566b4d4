"""Write checkpoint folders: atomically, with a hash of every file, and with checks before long work begins."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from shared.config import CARD, CONFIG_FILE, LICENCE, METRICS, MODEL, GalleryConfig, fingerprint, read_json
from shared.errors import CheckpointError
from shared.metrics import Metrics
from training.card import add_hub_files, write_card, write_json
from training.data import DataError
from training.record import get_time

UNHASHED = (CONFIG_FILE, CARD, LICENCE)  # not read by serving, so people may edit them
TORCH_FILES = ("model.safetensors",)  # optional: serving needs only ONNX
LEAST_FREE = 100_000_000  # bytes: more than a checkpoint folder with torch weights takes
EXAMPLES = "examples"  # pictures of the data set: published with the model, but not in this repository
PACKAGES = ("torch", "fastai", "onnx", "onnxruntime", "numpy")  # versions recorded in gallery.json


@contextlib.contextmanager
def create_folder(out: str | Path, keep_others: bool = False) -> Iterator[Path]:
    """Yield a temporary folder beside `out` that replaces `out` if the block succeeds, and is deleted otherwise.

    An interrupted run (Ctrl-C, an exception) leaves `out` unchanged.

    Args:
        out: the checkpoint folder.
        keep_others: a finished model of other data in `out` is renamed instead of deleted.

    Raises:
        DataError: `out` exists and is not a checkpoint folder.
    """
    out = Path(out).resolve()
    check_out(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        yield folder
        for path in (folder, *folder.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)
        put_in_place(folder, out, keep_others)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def put_in_place(folder: Path, out: Path, keep_others: bool = False) -> None:
    """Rename a folder to `out`, and delete what `out` was before; or, if asked to, keep and name a model of other data.

    Raises:
        DataError: `out` cannot be replaced; the new folder is kept under another name, given in the text.
    """
    old, new = describe_content(out), describe_content(folder)
    is_kept = keep_others and old is not None and old != new
    before = find_free(out.with_name(f"{out.name}-before")) if is_kept else folder.with_name(folder.name + "-before")
    try:
        if out.exists():
            out.rename(before)
        try:
            folder.rename(out)
        except BaseException:
            if before.exists():
                before.rename(out)
            raise
    except OSError as error:  # on Windows, if another program has one of its files open
        kept = find_free(out)
        folder.rename(kept)
        raise DataError(
            f"{out} cannot be replaced ({error.strerror}); another program may be using it. The new model is in {kept}."
        ) from error
    if old and is_kept:
        print(f"The model of {old[0]} that was in {out} is kept in {before}.")
    else:
        shutil.rmtree(before, ignore_errors=True)


def find_free(path: Path) -> Path:
    """Return a path at which there is nothing: this one, or with -2, -3 and so on after its name."""
    names = (path, *(path.with_name(f"{path.name}-{number}") for number in range(2, 1000)))
    return next(name for name in names if not name.exists())


def describe_content(folder: Path) -> tuple[str, ...] | None:
    """Return the name of the data that the model in a folder was measured on, its task, labels and target.

    It is None if there is no finished model.
    """
    try:
        config, figures = read_json(folder), Metrics.read(folder).figures
    except CheckpointError:
        return None
    return figures[0].data if figures else "?", *(str(config.get(name)) for name in ("task", "labels", "target"))


def check_out(out: str | Path) -> None:
    """Check that `out` is free or a checkpoint folder; call it before long work begins.

    Raises:
        DataError: `out` is something else, or cannot be written.
    """
    out = Path(out)
    if out.exists() and not (out.is_dir() and ((out / CONFIG_FILE).is_file() or not any(out.iterdir()))):
        raise DataError(f"{out} exists and is not a checkpoint folder; choose another one with --out.")
    check_room(out.resolve().parent)


def check_room(folder: Path) -> None:
    """Check that a checkpoint can be written into a folder; call it before long work begins.

    Raises:
        DataError: the folder is read-only, or its disk is full.
    """
    there = find_existing(folder)
    try:
        check_writable(there)
    except OSError as error:
        raise DataError(f"{there} is not writable ({error.strerror}); choose another place.") from error
    if shutil.disk_usage(there).free < LEAST_FREE:
        least = f"{LEAST_FREE / 1e6:.0f} MB"
        raise DataError(f"The disk of {there} has less than {least} free; free some space, or choose another place.")


def find_existing(folder: Path) -> Path:
    """Return a folder, or its nearest parent that exists."""
    return next(place for place in (folder, *folder.parents) if place.exists())


def check_writable(folder: Path) -> None:
    """Check that files can be written into a folder, or into its nearest parent that exists.

    It tries to: os.access does not know all rights on Windows, and lets root write to a read-only disk.

    Raises:
        OSError: they cannot.
    """
    probe = find_existing(folder) / f".{os.getpid()}-writable"
    probe.mkdir()
    probe.rmdir()


def embed(checkpoint: str | Path, model: str) -> Path:
    """Copy a checkpoint, without its torch weights, into the Space of that name; return the new folder."""
    space = Path(__file__).resolve().parent.parent / "spaces" / model / "model"
    with create_folder(space) as folder:
        shutil.copytree(checkpoint, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(*TORCH_FILES, EXAMPLES))
        write_card(folder)
    return space


def write_config(folder: Path, config_type: type[GalleryConfig], **content: Any) -> None:
    """Write gallery.json with the hashes of all files in the folder, and validate it.

    Call it last: files that are written later have no hash.

    Args:
        folder: the checkpoint folder.
        config_type: the predictor's type of config.
        content: its fields, without those that are set here.
    """
    add_hub_files(folder, content)
    files = {
        path.relative_to(folder).as_posix(): {
            **fingerprint(path),
            "optional": path.name in TORCH_FILES or path.parent.name == EXAMPLES,
        }
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in UNHASHED
    }
    made = {"format": 2, "created": get_time(), "versions": {name: version(name) for name in PACKAGES}, "files": files}
    config = config_type.model_validate({**made, **content})
    write_json(folder / CONFIG_FILE, config.model_dump(mode="json"))
    config_type.read(folder, (MODEL,))


def update_config(folder: Path, changed: Sequence[str], fields: Mapping[str, Any]) -> None:
    """Update gallery.json after files of the folder have changed.

    Args:
        folder: the checkpoint folder.
        changed: names of these files, which are hashed again.
        fields: other fields of gallery.json to change.
    """
    config = {**read_json(folder), **fields}
    for name in changed:
        config["files"][name] = {"optional": False} | config["files"].get(name, {}) | fingerprint(folder / name)
    write_json(folder / CONFIG_FILE, config)


def write_metrics(folder: Path, metrics: Metrics) -> None:
    """Write metrics.json."""
    write_json(folder / METRICS, metrics.as_json())

"""Checkpoint folders: nothing half-written, every file hashed, and checks before long work begins."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from shared.config import CARD, CONFIG_FILE, LICENCE, METRICS, MODEL, GalleryConfig, fingerprint, read_json
from shared.metrics import Metrics
from training.card import add_hub_files, write_card, write_json
from training.data import DataError
from training.record import now

UNHASHED = (CONFIG_FILE, CARD, LICENCE)  # what serving does not read and people may edit has no hash
TORCH_FILES = ("model.safetensors",)  # may be left out where only ONNX is served
LEAST_FREE = 100_000_000  # bytes of the disk: a checkpoint folder with its weights for torch, and room to spare
EXAMPLES = "examples"  # of the data set: published with the model, but not part of this repository
PACKAGES = ("torch", "fastai", "onnx", "onnxruntime", "numpy")  # that export


@contextlib.contextmanager
def new_folder(out: str | Path) -> Iterator[Path]:
    """Yield a temporary folder beside `out` that becomes `out` when the block ends well, and vanishes otherwise.

    An interrupted run (Ctrl-C, an exception) leaves whatever `out` was before.

    Raises:
        DataError: `out` is there already and is not a checkpoint folder.
    """
    out = Path(out).resolve()
    check_out(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        yield folder
        for path in (folder, *folder.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)
        put_in_place(folder, out)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def put_in_place(folder: Path, out: Path) -> None:
    """Rename a folder to `out`, and delete what was there.

    Raises:
        DataError: what is there cannot be replaced; the new folder is kept under another name, which the text says.
    """
    before = folder.with_name(folder.name + "-before")
    try:
        if out.exists():
            out.rename(before)
        try:
            folder.rename(out)
        except BaseException:
            if before.exists():
                before.rename(out)
            raise
    except OSError as error:  # on Windows, if another program has a file of it open
        kept = next(path for number in range(2, 1000) if not (path := out.with_name(f"{out.name}-{number}")).exists())
        folder.rename(kept)
        raise DataError(
            f"{out} cannot be replaced ({error.strerror}); does another program use it? The new model is in {kept}."
        ) from error
    shutil.rmtree(before, ignore_errors=True)


def check_out(out: str | Path) -> None:
    """Refuse to write over anything but a checkpoint folder; call it before long work begins.

    Raises:
        DataError: there is something else at `out`, or it cannot be written.
    """
    out = Path(out)
    if out.exists() and not (out.is_dir() and ((out / CONFIG_FILE).is_file() or not any(out.iterdir()))):
        raise DataError(f"{out} is there already and is no checkpoint folder; name another one with --out.")
    check_room(out.resolve().parent)


def check_room(folder: Path) -> None:
    """Check that a checkpoint can be written into a folder; call it before long work begins.

    Raises:
        DataError: the folder is read-only, or its disk is full.
    """
    there = nearest(folder)
    try:
        check_writable(there)
    except OSError as error:
        raise DataError(f"Nothing can be written into {there} ({error.strerror}); name another place.") from error
    if shutil.disk_usage(there).free < LEAST_FREE:
        least = f"{LEAST_FREE / 1e6:.0f} MB"
        raise DataError(f"The disk of {there} has less than {least} left; make room, or name another place.")


def nearest(folder: Path) -> Path:
    """Return a folder, or the nearest one above it that is there."""
    return next(place for place in (folder, *folder.parents) if place.exists())


def check_writable(folder: Path) -> None:
    """Check that files can be written into a folder, or into the one in which it would be made.

    It tries: Windows has rights that os.access does not know, and root passes os.access on a read-only disk.

    Raises:
        OSError: they cannot.
    """
    probe = nearest(folder) / f".{os.getpid()}-writable"
    probe.mkdir()
    probe.rmdir()


def embed(checkpoint: str | Path, model: str) -> Path:
    """Copy a checkpoint, without the weights for torch, to where the Space of that name looks for it."""
    space = Path(__file__).resolve().parent.parent / "spaces" / model / "model"
    with new_folder(space) as folder:
        shutil.copytree(checkpoint, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(*TORCH_FILES, EXAMPLES))
        write_card(folder)
    return space


def write_config(folder: Path, config_type: type[GalleryConfig], **content: Any) -> None:
    """Write gallery.json with the hashes of all files in the folder, and read it back to check it.

    Call it last: what is written later is not covered.

    Args:
        folder: the checkpoint folder.
        config_type: of the predictor, which knows the fields.
        content: the fields, but for those that every gallery.json gets here.
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
    made = {"format": 2, "created": now(), "versions": {name: version(name) for name in PACKAGES}, "files": files}
    config = config_type.model_validate({**made, **content})
    write_json(folder / CONFIG_FILE, config.model_dump(mode="json"))
    config_type.read(folder, (MODEL,))


def update_config(folder: Path, changed: Sequence[str], fields: Mapping[str, Any]) -> None:
    """Write gallery.json anew after files of the folder have changed.

    Args:
        folder: the checkpoint folder.
        changed: names of these files, whose hashes are taken again.
        fields: of gallery.json that change, too.
    """
    config = {**read_json(folder), **fields}
    for name in changed:
        config["files"][name] = {"optional": False} | config["files"].get(name, {}) | fingerprint(folder / name)
    write_json(folder / CONFIG_FILE, config)


def write_metrics(folder: Path, metrics: Metrics) -> None:
    """Write metrics.json."""
    write_json(folder / METRICS, metrics.as_json())

"""Carry files to a machine that takes them in small parts, and the finished weights of a training run back.

    python -m training.transfer pack --out parts data/pets weights/mobilenetv2      parts of 32 MB
    python -m training.transfer unpack parts --out inputs                           inputs/pets, inputs/mobilenetv2
    python -m training.transfer pack --finished --out parts states/cat_dog          only the finished weights
    python -m training.transfer unpack parts --out states                           states/cat_dog, for --resume

Parts may arrive in any order; each has its SHA-256 in parts.json, which travels with them. With --finished, matrices
and kernels are rounded to float16, which is finer than the int8 that models are stored in.
"""

import argparse
import io
import json
import math
import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path

import torch

from shared.config import sha256
from shared.console import guard_output
from training.data import DataError
from training.states import FINISHED, read_finished, write_json

LISTED = "parts.json"
PART_MB = 32


def pack(paths: Sequence[Path], out: Path, part_mb: float = PART_MB, finished: bool = False) -> list[Path]:
    """Pack files and folders into parts; return the parts.

    Args:
        paths: files and folders; the last part of each path is its name after unpacking.
        out: folder for the parts.
        part_mb: largest size of a part, in units of 1,048,576 bytes.
        finished: of folders of states, pack only the finished weights, rounded, and what describes the run.

    Raises:
        DataError: a path does not exist or has the parts in it, two have the same name, a training has not finished,
            or a part has no bytes.
    """
    if not 1 <= part_mb * 2**20 < math.inf:
        raise DataError(f"--part-mb must be a size above 0, not {part_mb:g}.")
    if len({path.resolve().name for path in paths}) < len(paths):
        raise DataError("Two of the paths have the same name; pack them one after the other.")
    around = (path for path in paths if not finished and out.resolve().is_relative_to(path.resolve()))
    if inside := next(around, None):
        raise DataError(f"The parts in {out} would be packed with {inside}; choose another folder for them.")
    archive = io.BytesIO()
    # A link leads nowhere on the other machine.
    with tarfile.open(fileobj=archive, mode="w:xz" if finished else "w", dereference=True) as tar:
        for path in paths:
            if not path.exists():
                raise DataError(f"{path} does not exist.")
            name = path.resolve().name
            if not finished:
                tar.add(path, name)
                continue
            for kept in sorted(file for file in path.rglob("*") if file.suffix == ".json" or file.name == "seconds"):
                tar.add(kept, f"{name}/{kept.relative_to(path).as_posix()}")
            content = round_finished(path)
            entry = tarfile.TarInfo(f"{name}/{FINISHED}")
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    content, size = archive.getvalue(), int(part_mb * 2**20)
    out.mkdir(parents=True, exist_ok=True)
    parts = []
    for number, start in enumerate(range(0, len(content), size)):
        part = out / f"part-{number:03d}"
        part.write_bytes(content[start : start + size])
        parts.append(part)
    write_json(out / LISTED, {part.name: sha256(part) for part in parts})
    return parts


def round_finished(folder: Path) -> bytes:
    """Return the finished weights of a folder of states, those of two or more dimensions as float16.

    Raises:
        DataError: the training has not finished.
    """
    found = read_finished(folder)
    if found is None:
        raise DataError(f"The training in {folder} has not finished.")
    weights, notes = found
    rounded = {
        name: value.half() if value.is_floating_point() and value.ndim > 1 else value for name, value in weights.items()
    }
    content = io.BytesIO()
    torch.save({"weights": rounded, "notes": list(notes)}, content)
    return content.getvalue()


def unpack(folder: Path, out: Path) -> None:
    """Unpack parts into a folder.

    Raises:
        DataError: a part is missing, or is not the one that was packed, or the list of them is damaged.
    """
    listed = folder / LISTED
    if not listed.is_file():
        raise DataError(f"There is no {LISTED} in {folder}; it travels with the parts.")
    try:
        digests: dict[str, str] = json.loads(listed.read_text(encoding="utf-8"))
        if not isinstance(digests, dict):
            raise ValueError
    except ValueError as error:
        raise DataError(f"{listed} is incomplete or damaged; send it again.") from error
    for name, digest in digests.items():
        if not (folder / name).is_file():
            raise DataError(f"{folder / name} is missing.")
        if sha256(folder / name) != digest:
            raise DataError(f"{folder / name} is not the part that was packed; send it again.")
    archive = io.BytesIO(b"".join((folder / name).read_bytes() for name in digests))
    with tarfile.open(fileobj=archive) as tar:
        tar.extractall(out, filter="data")


def main(argv: Sequence[str] | None = None) -> int:
    """Pack or unpack from the command line; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m training.transfer", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    packing, unpacking = commands.add_parser("pack"), commands.add_parser("unpack")
    packing.add_argument("paths", nargs="+", type=Path)
    packing.add_argument("--part-mb", type=float, default=PART_MB)
    packing.add_argument("--finished", action="store_true", help="only the finished weights of folders of states")
    unpacking.add_argument("folder", type=Path)
    for command in (packing, unpacking):
        command.add_argument("--out", type=Path, required=True)
    options = parser.parse_args(argv)
    try:
        if options.command == "pack":
            parts = pack(options.paths, options.out, options.part_mb, options.finished)
            print(f"Wrote {len(parts)} parts and {LISTED} into {options.out}.")
        else:
            unpack(options.folder, options.out)
            print(f"Unpacked {options.folder} into {options.out}.")
    except (DataError, OSError, tarfile.TarError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    guard_output()
    raise SystemExit(main())

"""Find the picture files of a data set, and check that each can be read."""

import atexit
import functools
import importlib.util
import shutil
import tempfile
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shared.config import sha256
from shared.errors import BadInput
from shared.images import SUFFIXES, load_image
from training.own_data.folders import list_files, name_kind
from training.own_data.near_copies import shrink
from training.own_data.problems import Problems
from training.progress import show_progress

HEIC = (".heic", ".heif", ".hif")
HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
# Pictures, too, but they cannot be read here: each is named.
UNREADABLE = (
    ".svg", ".jp2", ".jxl", ".psd", ".xcf", ".ico", ".ppm", ".pgm", ".raw", ".dng", ".cr2", ".cr3", ".nef", ".arw",
    ".orf", ".rw2", ".raf", ".dcm",
)  # fmt: skip
HEIC_SIDE = 1024  # pixels of the long side of a converted HEIC
CHECKED_SIDE = 32  # pixels: a JPEG is decoded at an eighth of its size to check it


@dataclass(frozen=True)
class Checked:
    """A picture that can be read: the file to decode, and the SHA-256 and the upright (width, height) of the original.

    A HEIC is decoded from a smaller copy. `small` is a copy for find_near_copies.
    """

    path: Path
    digest: str
    size: tuple[int, int]
    small: NDArray[np.uint8]


def find_pictures(folder: Path) -> tuple[list[Path], Counter[str]]:
    """Return the picture files in a folder tree, also those that cannot be read here, and the other files' suffixes."""
    pictures, others = [], Counter[str]()
    for path in list_files(folder):
        if path.suffix.lower() in (*SUFFIXES, *HEIC, *UNREADABLE):
            pictures.append(path)
        else:
            others[name_kind(path)] += 1
    return pictures, others


def check_pictures(paths: Sequence[Path], problems: Problems) -> dict[Path, Checked]:
    """Decode every picture at a small size; return those that can be read, and add the others to the problems."""

    def check(path: Path) -> Checked | BadInput:
        try:
            readable, size = convert_heic(path) if is_heic(path) else (path, None)
            picture = load_image(readable, CHECKED_SIDE)
            return Checked(readable, sha256(path), size or picture.size, shrink(picture.thumbnail(CHECKED_SIDE)))
        except BadInput as error:
            return error
        except OSError as error:
            return BadInput(f"The file cannot be read: {error.strerror}.")

    found: dict[Path, Checked] = {}
    with ThreadPoolExecutor(4) as pool:
        results = show_progress(f"Checking {len(paths):,} pictures", pool.map(check, paths), len(paths))
        for path, checked in zip(paths, results, strict=True):
            if isinstance(checked, BadInput):
                problems.add(path, str(checked))
            else:
                found[path] = checked
    return found


def is_heic(path: Path) -> bool:
    """Return True for a picture in HEIC, also if its name ends in .jpg, as phones and messengers may write it."""
    if path.suffix.lower() in HEIC:
        return True
    with path.open("rb") as file:
        start = file.read(64)
    return start[4:8] == b"ftyp" and start[8:12] in HEIC_BRANDS and b"avif" not in start and b"avis" not in start


def convert_heic(path: Path) -> tuple[Path, tuple[int, int]]:
    """Return a picture in HEIC as a smaller JPEG in a temporary folder, and its own upright (width, height).

    Raises:
        BadInput: pillow-heif is not installed, or cannot read the file.
    """
    if not importlib.util.find_spec("pillow_heif"):
        raise BadInput("HEIC can only be read with pillow-heif: pip install pillow-heif, or save it as JPEG.")
    from pillow_heif import open_heif

    try:
        image = open_heif(path).to_pillow()  # upright already
        image.info.clear()
        picture = load_image(image)
        small = picture.thumbnail(HEIC_SIDE)
    except Exception as error:  # libheif has errors of its own
        raise BadInput(f"The HEIC is damaged or of a kind that cannot be read ({error}); save it as JPEG.") from error
    copy = Path(tempfile.mkdtemp(dir=_make_temporary_folder())) / f"{path.stem}.jpg"
    small.save(copy, quality=95, subsampling=0)
    return copy, picture.size


@functools.cache
def _make_temporary_folder() -> Path:
    """Return a folder that is deleted when the process ends."""
    folder = Path(tempfile.mkdtemp(prefix="heic-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder

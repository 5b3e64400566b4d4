"""Read the header of a picture from a path, bytes or an open file, without decoding pixels."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from inspect import iscoroutinefunction
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit
from urllib.request import url2pathname

from PIL import Image, ImageFile
from PIL.JpegImagePlugin import JpegImageFile

from ..errors import BadInput, quote
from ..limits import LIMITS
from .formats import ACCEPTED, READERS, LimitedFile, find_format
from .limits import MAX_MARKERS, MAX_SCANS, check_size, describe_limit, find_max_pixels
from .tags import check_tags

Encoded = str | os.PathLike[str] | bytes | bytearray | memoryview | IO[bytes]

UNSUPPORTED = re.compile("cannot handle|unsupported|not supported|not yet supported|unknown pixel mode", re.IGNORECASE)
NEXT_MARKER = re.compile(rb"\xff[^\x00-\xbf\xd0-\xd8\xff]")  # with a length; libjpeg ignores FF 01 to FF BF alone


@dataclass(frozen=True)
class Header:
    """A picture whose pixels are not decoded yet.

    `size` is its (width, height); `image.size` is the size it will be decoded at, and `covered` the part it covers.
    """

    file: LimitedFile
    kind: str
    image: ImageFile.ImageFile
    size: tuple[int, int]
    covered: tuple[float, float]
    scans: int = 1


def read_header(source: Encoded, at_least: int | None) -> Header:
    """Read and check a file without decoding pixels; arguments and errors are those of load_image."""
    if at_least is not None and at_least < 1:
        raise ValueError("at_least must be 1 or more.")
    data = read_bytes(source)
    kind = find_format(data, Path(source).suffix if isinstance(source, str | Path) else "")
    with explain_errors(kind):
        if kind in ("TIFF", "AVIF"):
            check_tags(data, kind)
        file = LimitedFile(data)
        image = READERS[kind](file)
        size, max_pixels, shown_kind = image.size, find_max_pixels(kind), kind
        covered: tuple[float, float] = size
        scans = 1
        if isinstance(image, JpegImageFile):
            scans = count_scans(data)
            if scans > MAX_SCANS:
                raise BadInput(f"The JPEG has more than {MAX_SCANS} scans; save it again.")
            # With several scans, all coefficients must be in memory, at any decoded size.
            if scans > 1 or "progressive" in image.info:
                shown_kind = "progressive JPEG"
            elif at_least:
                max_pixels = max(LIMITS.jpeg_pixels, LIMITS.pixels)
        check_size(size, max_pixels, shown_kind)
        if at_least and (draft := image.draft(None, (at_least, at_least))):
            covered = draft[1][2:]
            if image.width * image.height > LIMITS.pixels:  # even at reduced size
                check_size(size, LIMITS.pixels, "JPEG decoded in this detail")
        return Header(file, kind, image, size, covered, scans)


@contextmanager
def explain_errors(kind: str) -> Iterator[None]:
    """Convert any error of Pillow for a picture of this kind to a BadInput with one sentence."""
    try:
        yield
    except BadInput:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:  # raised by the GIF reader
        most = find_max_pixels(kind)
        raise BadInput(f"The picture has too many pixels; {describe_limit(most, kind)}.") from error
    except Exception as error:  # each reader has its own exceptions
        if UNSUPPORTED.search(str(error)):
            raise BadInput(
                f"This kind of {kind} cannot be read here; save it as one of {ACCEPTED}, with 8 bits for each colour."
            ) from error
        raise BadInput(f"The picture is damaged or incomplete; save it again as one of {ACCEPTED}.") from error


def read_bytes(source: Encoded) -> bytes:
    """Return the content of a picture's file.

    Raises:
        BadInput: the file does not exist, cannot be read, is empty, or is too large.
    """
    if isinstance(source, os.PathLike):
        source = Path(os.fsdecode(source))
    data: bytes | bytearray | memoryview
    if isinstance(source, bytes | bytearray | memoryview):
        data = source
    elif isinstance(source, str | Path):
        data = _read_file(_resolve_path(source))
    elif iscoroutinefunction(getattr(source, "read", None)):
        raise BadInput("The file is read with await; give the bytes, such as await file.read().")
    elif hasattr(source, "read"):
        data = _read_open(source)
    else:
        given = "None" if source is None else type(source).__name__
        raise BadInput(
            f"A picture must be a path, the bytes of a file, an open file, a PIL image or a numpy array, not {given}."
            + (
                " A tensor can be converted: uint8 of shape (height, width, 3), then .numpy()."
                if given == "Tensor"
                else ""
            )
        )
    size = memoryview(data).nbytes
    if not size:
        raise BadInput(f"The picture's file is empty; it must be one of {ACCEPTED}.")
    if size > LIMITS.picture_bytes:
        raise BadInput(f"The picture's file is larger than {LIMITS.picture_bytes / 1e6:g} MB; save it smaller.")
    return bytes(data)


def _read_open(file: IO[bytes]) -> bytes:
    """Return at most LIMITS.picture_bytes + 1 bytes of an open file, from its start if it is seekable."""
    parts: list[bytes] = []
    left = LIMITS.picture_bytes + 1
    try:
        with suppress(AttributeError, OSError):
            file.seek(0)
        while left > 0 and (part := file.read(left)):
            if not isinstance(part, bytes):
                raise BadInput("The file is open as text; open it in binary mode.")
            parts.append(part)
            left -= len(part)
    except UnicodeDecodeError as error:
        raise BadInput("The file is open as text; open it in binary mode.") from error
    except (OSError, ValueError) as error:  # a closed file is a ValueError
        if isinstance(error, BadInput):
            raise
        raise BadInput(f"The picture's file cannot be read: {error}.") from error
    return b"".join(parts)


def _resolve_path(source: str | Path) -> Path:
    """Return the path of a local file given as a path, a file:// URL or relative to the home folder (~).

    Raises:
        BadInput: the input is a web address or a data URL.
    """
    text = str(source)
    if isinstance(source, Path):
        pass
    elif re.match("https?://", text, re.IGNORECASE):
        raise BadInput("Web addresses are not fetched; download the picture, and give its path or its bytes.")
    elif text[:5].lower() == "data:":
        raise BadInput("Data URLs are not read here; decode the base64 after the comma, and give the picture's bytes.")
    elif text[:7].lower() == "file://":
        url = urlsplit(text)
        if url.netloc not in ("", "localhost"):
            raise BadInput(f"{quote(text)} is on another machine; give the path of a file on this one.")
        return Path(url2pathname(url.path))
    return Path(os.path.expanduser(text))  # unlike Path.expanduser, it never fails


def _read_file(path: Path) -> bytes:
    try:
        if not path.exists():
            raise BadInput(f"There is no file {quote(path.name)}.")
        if not path.is_file():  # a folder, or a pipe, which may never end
            raise BadInput(f"{quote(path.name)} is not a file; a picture must be one of {ACCEPTED}.")
        with path.open("rb") as file:
            return file.read(LIMITS.picture_bytes + 1)
    except OSError as error:
        raise BadInput(f"The picture's file cannot be read: {error.strerror}.") from error


def count_scans(data: bytes) -> int:
    """Return the number of scans in a JPEG; data after its end, such as a phone's video, is ignored."""
    scans, position = 0, 2
    for _ in range(MAX_MARKERS):
        marker = NEXT_MARKER.search(data, position)
        if marker is None or marker[0] == b"\xff\xd9":
            return scans
        scans += marker[0] == b"\xff\xda"
        position = marker.end() + int.from_bytes(data[marker.end() : marker.end() + 2])
    return MAX_MARKERS

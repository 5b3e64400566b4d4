"""Read TIFF tags (EXIF in AVIF and JPEG) without Pillow, and reject those that would take too much memory.

Pillow reads all tags at once, and each of a thousand tags may refer to the whole file as its value.
"""

import re
import struct
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from typing import NamedTuple

from PIL import ExifTags

from ..errors import BadInput
from ..limits import LIMITS
from .limits import MAX_DIRECTORIES, MAX_EXIF_BYTES, MAX_TAG_VALUES, MAX_TAGS

ORIENTATION = ExifTags.Base.Orientation.value
TILE_WIDTH, TILE_LENGTH = 322, 323
NAMED_DIRECTORIES = (34_665, 34_853, 40_965)  # EXIF, GPS, interoperability
BIG = b"+"  # the third byte of a BigTIFF; Pillow checks only this byte
# Bytes per value, by type.
TAG_WIDTHS = {
    1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8,
}  # fmt: skip
# The signatures that Pillow accepts for EXIF in an AVIF.
EXIF = re.compile(rb"II\*\0|MM\0[*+]|II\0\*|MM\*\0")
TOO_MANY_TAGS = "The picture's tags are larger than its file can hold; save it again."


class Tag(NamedTuple):
    """One entry of a directory: `length` values of `width` bytes each.

    `value` is the value as an integer, or the position of the first value; `place` is the position of the values if
    they are outside the directory, else None.
    """

    number: int
    length: int
    width: int
    value: int
    place: int | None


def check_tags(data: bytes, kind: str) -> None:
    """Reject a TIFF or AVIF with tags that would take too much memory.

    Tiles are checked too: memory is allocated for a whole tile, even if the picture is smaller.

    Raises:
        BadInput: the tags or a tile are too large.
        struct.error: the TIFF is damaged.
    """
    if kind == "TIFF":
        _check_values(data, 0, _read_tags(data, 0), len(data))
        return
    starts = [found.start() for found in islice(EXIF.finditer(data), MAX_DIRECTORIES + 1)]
    if len(starts) > MAX_DIRECTORIES:
        raise BadInput(TOO_MANY_TAGS)
    for start in starts:
        with suppress(struct.error):
            _check_values(data, start, _read_exif_tags(data, start), min(MAX_EXIF_BYTES, len(data)))


def find_orientation(exif: object) -> int:
    """Return the EXIF orientation, 1 to 8; 1 if there is none, or it cannot be read."""
    if isinstance(exif, bytes):
        with suppress(struct.error):
            tags = _read_tags(exif.removeprefix(b"Exif\0\0"), 0)
            return next((tag.value for tag in tags if tag.number == ORIENTATION), 1)
    return 1


def _check_values(data: bytes, start: int, tags: Iterator[Tag], max_bytes: int) -> None:
    """Reject tags whose values have more than `max_bytes` in total, and tiles that are too large.

    Raises:
        BadInput: the values or a tile are too large.
        struct.error: a directory or a value is truncated; the values before it have been checked.
    """
    total, tile = 0, {TILE_WIDTH: 1, TILE_LENGTH: 1}
    widths = (1, 2, 4, 8) if data[start + 2 : start + 3] == BIG else (1, 2, 4)
    for number, length, width, value, place in tags:
        size = length * width
        if number in tile and (length != 1 or width not in widths):  # libtiff would read it, but this module does not
            raise BadInput(TOO_MANY_TAGS)
        if place is not None and place + size > len(data):
            raise struct.error("A value lies outside of the file.")
        total += size
        if total > max_bytes or (width > 1 and length > MAX_TAG_VALUES):
            raise BadInput(TOO_MANY_TAGS)
        if number in tile:
            tile[number] = max(tile[number], value)
    if tile[TILE_WIDTH] * tile[TILE_LENGTH] > LIMITS.pixels:
        raise BadInput(TOO_MANY_TAGS)


def _read_exif_tags(data: bytes, start: int) -> Iterator[Tag]:
    """Yield the tags of the first EXIF directory and of its subdirectories, all of which Pillow reads for an AVIF.

    Raises:
        BadInput: there are too many directories.
        struct.error: a directory is truncated; the tags of the others are yielded first.
    """
    pending: list[int | None] = [None]
    damage: struct.error | None = None
    for _ in range(MAX_DIRECTORIES):
        if not pending:
            break
        try:
            for tag in _read_tags(data, start, pending.pop()):
                if tag.place is not None and tag.place + tag.length * tag.width > len(data):
                    raise struct.error("A value lies outside of the file.")  # Pillow stops reading the directory here
                if tag.number in NAMED_DIRECTORIES and tag.length == 1 and tag.width > 1:
                    pending.append(start + tag.value)
                yield tag
        except struct.error as error:
            damage = error
    if pending:
        raise BadInput(TOO_MANY_TAGS)
    if damage is not None:
        raise damage


def _read_tags(data: bytes, start: int, first: int | None = None) -> Iterator[Tag]:
    """Yield the tags of one directory of a TIFF or BigTIFF.

    Args:
        data: the whole file.
        start: position of the TIFF in the file.
        first: position of the directory; by default that of the first one.

    Raises:
        struct.error: the directory is truncated.
    """
    order = "<" if data[start : start + 2] == b"II" else ">"
    whole, number, room, size = ("Q", "Q", 8, 20) if data[start + 2 : start + 3] == BIG else ("I", "H", 4, 12)
    if first is None:
        first = start + struct.unpack_from(order + whole, data, start + room)[0]
    if first >= len(data):  # struct fails for positions beyond 2**63
        raise struct.error("The directory lies outside of the file.")
    (entries,) = struct.unpack_from(order + number, data, first)
    if entries > MAX_TAGS:
        raise struct.error("There are too many tags.")
    begin = first + struct.calcsize(order + number)
    end = begin + size * entries
    for entry in range(begin, end, size):
        tag, kind, length = struct.unpack_from(f"{order}HH{whole}", data, entry)
        width = TAG_WIDTHS.get(kind, 0)
        at, place = entry + size - room, None
        if length * width > room:
            (at,) = struct.unpack_from(order + whole, data, at)
            place = at = start + at
        is_one = length == 1 and (place is None or place + width <= len(data))
        letter = {2: "H", 4: "I", 8: "Q"}.get(width, whole)
        yield Tag(tag, length, width, struct.unpack_from(order + letter, data, at)[0] if is_one else at, place)
    # The position of the next directory is not needed, but must exist.
    struct.unpack_from(order + whole, data, end)

"""Limits for the formats of pictures; size and aspect ratio are checked from the header, before decoding."""

import math

from ..errors import BadInput
from ..limits import LIMITS

MAX_SCANS = 30  # of a JPEG: each is a pass over all pixels; libjpeg writes 10
MAX_MARKERS = 2_000  # parts of a JPEG
MAX_HEADER_READS = 10_000  # a header of a million tiny parts would take Pillow a long time
MAX_DECODING_READS = 1_000_000
MAX_DIRECTORIES = 8  # of EXIF in an AVIF, which has one; other data may look like one
MAX_TAGS = 65_535  # in one TIFF directory; a BigTIFF may declare more
MAX_TAG_VALUES = 200_000  # values of one TIFF tag: Pillow makes a Python object of each
MAX_EXIF_BYTES = 200_000  # of tags in an AVIF: Pillow takes one or two microseconds per byte


def check_size(size: tuple[int, int], max_pixels: int, kind: str = "picture") -> None:
    """Raise BadInput if a picture of `size` (width, height) has no pixels, too many pixels, or too long a side."""
    width, height = size
    if min(size) < 1:
        raise BadInput("The picture has no pixels.")
    if max(size) > LIMITS.aspect_ratio * min(size):
        raise BadInput(
            f"The picture is {width:,} × {height:,} pixels; "
            f"the long side may be at most {LIMITS.aspect_ratio} times as long as the short side."
        )
    if width * height > max_pixels:
        raise BadInput(f"The picture is {width:,} × {height:,} pixels; {describe_limit(max_pixels, kind)}.")


def find_shortest_side(longest: int) -> int:
    """Return the length of the shortest side that a picture with this longest side may have."""
    return math.ceil(longest / LIMITS.aspect_ratio)


def find_max_pixels(kind: str) -> int:
    """Return the pixel limit of a format that is decoded in full."""
    return min(LIMITS.pixels, {"WebP": LIMITS.webp_pixels, "AVIF": LIMITS.avif_pixels}.get(kind, LIMITS.pixels))


def describe_limit(max_pixels: int, kind: str) -> str:
    """Return the part of an error message that states the pixel limit of a format."""
    return f"{'an' if kind == 'AVIF' else 'a'} {kind} may have at most {max_pixels / 1e6:g} megapixels"

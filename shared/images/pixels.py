"""Convert the pixels of any file to 8-bit RGB; load_image documents which values are black and white."""

import re
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile
from PIL.TiffImagePlugin import BITSPERSAMPLE, PHOTOMETRIC_INTERPRETATION, SAMPLEFORMAT, TiffImageFile

from .files import Header
from .formats import READERS, LimitedFile
from .limits import MAX_DECODING_READS

STRIP = 64  # rows of 16-bit colour scaled at once
WIDE = re.compile("(?:LA|RGB|RGBA|RGBX|CMYK);16[BLN]")  # not RGBa, which Pillow divides by its alpha on reading
MAX_SAMPLE_VALUE, WHITE_IS_ZERO = 281, 0  # a tag of TIFF, and a value of its PhotometricInterpretation


def decode(header: Header) -> Image.Image:
    """Decode the picture of a header; 16-bit colour is scaled to 8 bits."""
    image, data = header.image, header.file.getvalue()
    is_16_bit = has_16_bit_colours(image)
    header.file.reads_left = MAX_DECODING_READS
    image.load()
    # Pillow keeps only the high bytes of 16-bit colour, which are nearly black if the samples have fewer bits.
    if is_16_bit and max(high for _, high in _find_extrema(image)[:3]) < 2**14 >> 8:
        file = LimitedFile(data)
        low = READERS[header.kind](file)
        file.reads_left = MAX_DECODING_READS
        low.tile = [tile._replace(args=_make_low_byte_args(tile.args)) for tile in low.tile]
        is_grey = header.kind == "PNG" and low.tile[0].args == "RGBA"
        low.load()
        _scale_colours(image, low, is_grey)
    return image


def to_rgb(image: Image.Image) -> Image.Image:
    """Return a copy in RGB, with transparent areas over white."""
    if is_deep(image):
        numbers, declared_max, is_inverted = _read_numbers(image)
        eight_bit = _to_eight_bit(numbers, declared_max)
        return Image.fromarray(255 - eight_bit if is_inverted else eight_bit).convert("RGB")
    if not image.has_transparency_data:
        return image.convert("RGB")
    if image.mode == "La":
        image = image.convert("LA")  # Pillow cannot convert La to RGBA
    if image.mode != "RGBA":
        image = image.convert("RGBA")
    white = Image.new("RGB", image.size, "white")
    white.paste(image, mask=image)
    return white


def is_deep(image: Image.Image) -> bool:
    """Return True if the pixels are single samples of more than 8 bits."""
    return image.mode == "F" or image.mode.startswith("I")


def has_16_bit_colours(image: ImageFile.ImageFile) -> bool:
    """Return True if an undecoded picture has 16 bits per colour, of which Pillow would keep 8."""
    return not is_deep(image) and any(WIDE.fullmatch(_get_raw_mode(tile.args)) for tile in image.tile)


def _get_raw_mode(args: object) -> str:
    return str(args[0] if isinstance(args, tuple) and args else args)


def _make_low_byte_args(args: Any) -> Any:
    """Return decoder arguments that make Pillow keep the low bytes of 16 bits instead of the high ones.

    Of a PNG in grey with transparency it keeps both: the high bytes as red and blue, the low bytes as green and alpha.
    """
    if args == "LA;16B":
        return "RGBA"
    mode = _get_raw_mode(args)
    order = mode[-1] if mode[-1] != "N" else ("L" if sys.byteorder == "little" else "B")
    swapped = mode[:-1] + ("B" if order == "L" else "L")
    return (swapped, *args[1:]) if isinstance(args, tuple) else swapped


def _find_extrema(image: Image.Image) -> list[tuple[float, float]]:
    """Return the minimum and maximum of each band."""
    found: Any = image.getextrema()
    return [found] if isinstance(found[0], int | float) else list(found)


def _scale_colours(high: Image.Image, low: Image.Image, is_grey: bool) -> None:
    """Scale 16-bit colours to 8 bits, in place.

    A fourth band (transparency) is scaled by its own maximum.

    Args:
        high: the high bytes; replaced by the result.
        low: the low bytes.
        is_grey: True if `low` holds grey with transparency; see _make_low_byte_args.
    """

    def strips() -> Iterator[tuple[int, NDArray[np.uint8], NDArray[np.uint8]]]:
        for top in range(0, high.height, STRIP):
            box = (0, top, high.width, min(top + STRIP, high.height))
            first, second = (np.asarray(image.crop(box)) for image in (high, low))
            yield top, first, second[..., [1, 1, 1, 3]] if is_grey else second

    colours = len(high.getbands()) if high.mode != "RGBA" else 3
    # If 8 bits were stored in 16, the low bytes equal the high bytes or are 0.
    factors = {0, 1}
    for _, first, second in strips():
        factors = {factor for factor in factors if np.array_equal(second[..., :colours], factor * first[..., :colours])}
        if not factors:
            break
    if factors:
        return
    largest = [int(high_byte) << 8 | 255 for _, high_byte in _find_extrema(high)]
    white = _find_full_scale(max(largest[:colours]))
    tables = [_make_table(white if band < colours else _find_full_scale(largest[band])) for band in range(len(largest))]
    for top, first, second in strips():
        numbers = first.astype(np.uint16) << 8 | second
        scaled = np.stack([np.take(table, numbers[..., band]) for band, table in enumerate(tables)], axis=-1)
        high.paste(Image.fromarray(scaled, high.mode), (0, top))


def _make_table(white: int) -> NDArray[np.uint8]:
    """Return a table of the 8-bit value of each 16-bit value, uint8 (65536,)."""
    table: NDArray[np.uint8] = np.clip(np.arange(65_536) * (255 / white) + 0.5, 0, 255).astype(np.uint8)
    return table


def _read_numbers(image: Image.Image) -> tuple[NDArray[np.generic], int, bool]:
    """Return a deep picture's samples, the maximum that its file declares (0 if none), and True if 0 is white."""
    numbers = np.asarray(image)
    if not isinstance(image, TiffImageFile):
        return numbers, 0, False
    tags = image.tag_v2
    bits, largest = tags.get(BITSPERSAMPLE, (16,)), tags.get(MAX_SAMPLE_VALUE, 0)
    if bits == (32,) and image.mode == "I" and tags.get(SAMPLEFORMAT, (1,)) == (1,):
        numbers = numbers.view(np.uint32)  # Pillow has no unsigned 32-bit mode
    if len(bits) == 1 and bits[0] < 16:
        declared_max = 2 ** bits[0] - 1
    else:
        declared_max = largest[0] if isinstance(largest, tuple) else largest
    # For any 16-bit TIFF this would be 65535, which says nothing.
    is_white_zero = tags.get(PHOTOMETRIC_INTERPRETATION) == WHITE_IS_ZERO
    return numbers, declared_max if declared_max < 65_535 else 0, is_white_zero


def _to_eight_bit(values: NDArray[np.generic], declared_max: int) -> NDArray[np.uint8]:
    """Scale samples to 0 … 255; load_image documents which value is white."""
    low, span = _find_range(values, declared_max)
    result = np.empty(values.shape, dtype=np.uint8)
    for row, numbers in zip(result, values, strict=True):  # row by row, because float64 takes eight times the memory
        scaled = np.nan_to_num((numbers.astype(np.float64) - low) * (255 / span))
        row[:] = np.clip(scaled + 0.5, 0, 255)
    return result


def _find_range(values: NDArray[np.generic], declared_max: int) -> tuple[float, float]:
    """Return the value of black, and the difference between white and black."""
    if values.dtype.kind == "u" and values.dtype.itemsize == 2:
        return 0.0, float(_find_white(values, declared_max))
    low, high = np.inf, -np.inf
    for numbers in values:
        usable = numbers[np.isfinite(numbers)]
        if usable.size:
            low, high = min(low, float(usable.min())), max(high, float(usable.max()))
    if low > high:  # no number at all
        return 0.0, 1.0
    if low < 0 or high > 65_535:
        return low, high - low or 1.0
    if values.dtype.kind != "f":
        return 0.0, float(_find_white(values, declared_max))
    # Pictures with a range of 0 … 1 may have a few brighter spots; an 8-bit picture up to 16 would be black.
    return 0.0, max(1.0, high) if high <= 16 else _find_full_scale(high)


def _find_white(rows: NDArray[Any], declared_max: int) -> int:
    """Return the value of white for integers from 0 to 65,535.

    It is the maximum of the smallest usual bit depth that holds all of them and `declared_max`. If all are multiples of
    256 or 257, they are 8-bit samples stored in 16 bits, even if the picture is dark.
    """
    largest, factors = declared_max, [256, 257]
    for row in rows:
        largest = max(largest, int(row.max(initial=0)))
        factors = [factor for factor in factors if not (row % factor).any()]
    return 65_535 if factors and largest > 255 else _find_full_scale(largest)


def _find_full_scale(number: float) -> int:
    """Return the maximum of the smallest usual bit depth that holds a number."""
    return next(full for full in (255, 1023, 4095, 16_383, 65_535) if number <= full)

"""Load pictures: convert a file, bytes, an array or a PIL image to the pixels that a model takes.

Input is untrusted. files.py and formats.py detect the format, limits.py and tags.py reject files that would take too
much time or memory before anything is decoded, and pixels.py decodes the pixels.
"""

import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from ..errors import BadInput, quote
from ..limits import LIMITS
from .files import Encoded, explain_errors, read_header
from .formats import SUFFIXES
from .limits import MAX_SCANS, check_size
from .pixels import decode, has_16_bit_colours, is_deep, to_rgb
from .tags import ORIENTATION, find_orientation

__all__ = [
    "SUFFIXES",
    "Encoded",
    "Framing",
    "Picture",
    "Source",
    "estimate_decoding_cost",
    "find_square",
    "fit_size",
    "load_image",
    "read_picture_size",
    "sample_image",
    "to_array",
]

Source = Encoded | Image.Image | NDArray[np.uint8]
Framing = Literal["squash", "crop", "pad"]  # how a picture becomes a square

# Used for training and serving; Pillow's filters antialias when they reduce a picture.
RESAMPLING = Image.Resampling.BILINEAR
REDUCED_COST = 8  # pixels of a JPEG decoded at reduced size that cost as much as one pixel decoded in full
TRANSPOSE = Image.Transpose.TRANSPOSE
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# Pillow decodes an opened image on first use, which only one thread may do; each image has one of these locks.
LOADING = [threading.Lock() for _ in range(61)]


@dataclass(frozen=True)
class Picture:
    """A picture ready for a model.

    `image` is RGB and upright; `size` is the upright (width, height) of the original, of which `image` may be a copy
    reduced 2, 4 or 8 times. Because a reduced copy has whole pixels, `box` gives the exact place of the picture in it
    (left, top, right, bottom), less than a pixel from its edges.
    """

    image: Image.Image
    size: tuple[int, int]
    box: tuple[float, float, float, float]

    def resize(self, size: tuple[int, int]) -> Image.Image:
        """Return the picture at exactly `size` (width, height) in pixels; the aspect ratio is not kept."""
        return self.image.resize(size, RESAMPLING, box=self.box)

    def thumbnail(self, longest: int) -> Image.Image:
        """Return the picture with a long side of at most `longest` pixels; the aspect ratio is kept."""
        return self.resize(fit_size(self.size, longest))

    def make_square(self, size: int, framing: Framing = "squash", margin: int = 0) -> Image.Image:
        """Return the picture as a square of `size` × `size` pixels.

        Args:
            size: side of the result, in pixels.
            framing: see find_square.
            margin: with it, the picture is resized to a square that is larger by so many pixels on each side, which are
                then cut off.
        """
        side = size + 2 * margin
        square = self._make_square(side, framing)
        return square.crop((margin, margin, side - margin, side - margin)) if margin else square

    def _make_square(self, side: int, framing: Framing) -> Image.Image:
        if framing == "squash":
            return self.resize((side, side))
        edges = find_square(self.size, side, framing)
        scales = [(self.box[axis + 2] - self.box[axis]) / self.size[axis] for axis in (0, 1)]
        left, top, right, bottom = (self.box[index % 2] + edge * scales[index % 2] for index, edge in enumerate(edges))
        if framing == "crop":
            # fastai crops before it resizes: pixels outside the square do not count.
            corner = math.floor(left), math.floor(top)
            part = self.image.crop((*corner, math.ceil(right), math.ceil(bottom)))
            box = (left - corner[0], top - corner[1], right - corner[0], bottom - corner[1])
            return part.resize((side, side), RESAMPLING, box=box)
        if self.size[0] > self.size[1]:
            strip = self.image.resize((side, self.image.height), RESAMPLING, box=(left, 0, right, self.image.height))
            return _add_bars(strip, top, bottom)
        strip = self.image.resize((self.image.width, side), RESAMPLING, box=(0, top, self.image.width, bottom))
        return _add_bars(strip.transpose(TRANSPOSE), left, right).transpose(TRANSPOSE)


def _add_bars(strip: Image.Image, top: float, bottom: float) -> Image.Image:
    """Add black bars above and below a picture that already has the width of a square, and resize it to this square.

    Resizing first along the long side takes little memory: a square of the long side could have 50 times as many pixels
    as the picture.

    Args:
        strip: the picture.
        top: the upper edge of the square in rows of the picture, 0 or less.
        bottom: the lower edge.
    """
    side, above = strip.width, math.ceil(-top)
    canvas = Image.new("RGB", (side, math.ceil(bottom + above)))
    canvas.paste(strip, (0, above))
    return canvas.resize((side, side), RESAMPLING, box=(0, top + above, side, bottom + above))


def find_square(size: tuple[int, int], side: int, framing: Framing) -> tuple[int, int, int, int]:
    """Return the part of a picture that becomes a square, (left, top, right, bottom), in pixels of the picture.

    The numbers are rounded as fastai's Resize rounds them.

    Args:
        size: (width, height) of the picture.
        side: side of the square, in pixels.
        framing: "squash" takes the whole picture and changes its aspect ratio, "crop" takes the largest central square,
            and "pad" adds black bars to the short side, which are outside the picture.
    """
    if framing == "squash":
        return 0, 0, *size
    edge = int((min if framing == "crop" else max)(length / side for length in size) * side)
    left, top = (int((length - edge) / 2) for length in size)
    return left, top, left + edge, top + edge


def fit_size(size: tuple[int, int], longest: int) -> tuple[int, int]:
    """Scale a (width, height) down to a long side of at most `longest`; no side becomes less than 1."""
    if longest < 1:
        raise ValueError("longest must be 1 or more.")
    scale = min(1, longest / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def to_array(image: Image.Image, mean: Sequence[float], std: Sequence[float]) -> NDArray[np.float32]:
    """Return an RGB image as float32 (3, height, width): scaled to 0 … 1, minus `mean`, divided by `std`."""
    if image.mode != "RGB":
        raise ValueError(f"The image must be RGB, not {image.mode}: use load_image.")
    offset, scale = (255 * np.asarray(levels, dtype=np.float32)[:, None, None] for levels in (mean, std))
    pixels: NDArray[np.float32] = np.subtract(np.asarray(image).transpose(2, 0, 1), offset, dtype=np.float32, order="C")
    pixels /= scale
    return pixels


def load_image(source: Source, at_least: int | None = None) -> Picture:
    """Load a picture as upright RGB.

    EXIF orientation is applied. Transparent areas become white. Only the first frame of an animation is read. Colour
    profiles (ICC) are ignored: pixels are assumed to be sRGB, and CMYK is converted by formula.

    Samples of more than 8 bits are scaled to 8. White is the largest value of 8, 10, 12, 14 or 16 bits, the fewest
    that hold all samples of the picture; a TIFF may declare more (BitsPerSample, MaxSampleValue). So a 12-bit picture
    in a 16-bit file has its normal brightness. 8-bit samples stored in 16 bits are restored. Floats up to 16 are scaled
    from 0 to 1, or to the largest value; other floats are treated like integers. Values below 0 or above 65,535 are
    stretched from minimum to maximum. A PIL image in RGB always has 8 bits.

    Args:
        source: a path or file:// URL; the bytes of a file; a file open in binary mode, which is read from its start; a
            PIL image (which is not modified); or a uint8 array, (height, width, 3) in the order red, green, blue, or
            (height, width) in grey. OpenCV's order is blue, green, red: pass array[..., ::-1].
        at_least: a sufficient short side in pixels. A large JPEG is then decoded at 1/2, 1/4 or 1/8 of its size, which
            is faster and takes less memory. A PIL image is never reduced.

    Raises:
        BadInput: the input is not a picture, is damaged, in an unsupported format, too large, or too narrow.
    """
    if isinstance(source, np.ndarray):
        source = _from_array(source)
    if isinstance(source, Image.Image):
        return _from_pil(source)
    header = read_header(source, at_least)
    with explain_errors(header.kind):
        image = decode(header)
        # Pillow applies the orientation of a TIFF itself.
        orientation = 1 if isinstance(image, TiffImageFile) else find_orientation(image.info.get("exif"))
        return _turn_upright(image, orientation, header.size, header.covered)


def read_picture_size(source: Source, at_least: int | None = None) -> tuple[int, int]:
    """Return the (width, height) of a picture in pixels, before EXIF orientation; nothing is decoded.

    The arguments are those of load_image.

    Raises:
        BadInput: the header shows that load_image would refuse the picture.
    """
    if isinstance(source, np.ndarray):
        source = _from_array(source)
    if isinstance(source, Image.Image):
        check_size(source.size, LIMITS.pixels)
        return source.size
    return read_header(source, at_least).size


def estimate_decoding_cost(source: Encoded, at_least: int | None = None) -> int:
    """Return the cost of load_image for a file, in pixels decoded in full; nothing is decoded.

    A JPEG decoded at reduced size costs an eighth of its pixels; one with several scans costs more, up to all of its
    pixels, at any size. Grey of more than 8 bits costs twice as much, and 16-bit colour four times, because it may be
    decoded twice.
    The arguments are those of load_image.

    Raises:
        BadInput: the header shows that load_image would refuse the picture.
    """
    header = read_header(source, at_least)
    pixels = header.size[0] * header.size[1]
    if header.scans > 1:
        return pixels * max(MAX_SCANS // REDUCED_COST, header.scans) // MAX_SCANS
    if header.image.size != header.size:
        return pixels // REDUCED_COST
    return pixels * (4 if has_16_bit_colours(header.image) else 2 if is_deep(header.image) else 1)


def sample_image(width: int = 320, height: int = 240) -> Image.Image:
    """Return a synthetic picture that is the same on every machine: soft stripes in three colours."""
    y, x = np.mgrid[:height, :width]
    channels = [128 + 100 * np.sin(x / 17 + phase) * np.cos(y / 13 - phase) for phase in (0, 1, 2)]
    return Image.fromarray(np.stack(channels, axis=-1).round().astype(np.uint8))


def _from_array(array: NDArray[Any]) -> Image.Image:
    """Convert an array to a PIL image.

    Raises:
        BadInput: the array is not uint8 of shape (height, width, 3 or 4) or (height, width), or is too large.
    """
    is_colour = array.ndim == 3 and array.shape[2] in (3, 4)
    if array.dtype != np.uint8 or not (array.ndim == 2 or is_colour):
        raise BadInput(
            "An array must be uint8 of shape (height, width, 3), in the order red, green, blue, or (height, width), "
            f"not {array.dtype} of {quote(array.shape)[1:-1]}."
        )
    check_size((array.shape[1], array.shape[0]), LIMITS.pixels)
    return Image.fromarray(array)


def _from_pil(image: Image.Image) -> Picture:
    """Convert a PIL image to a Picture."""
    check_size(image.size, LIMITS.pixels)
    with explain_errors("picture"):
        with LOADING[id(image) % len(LOADING)]:
            try:
                image.load()
            except (AssertionError, ValueError) as error:
                if isinstance(error, AssertionError) or "closed" in str(error):
                    raise BadInput("The PIL image is closed; give it before it is closed.") from error
                raise
            try:
                orientation = image.getexif().get(ORIENTATION, 1)
            except Exception:  # Pillow raises many kinds of errors for damaged EXIF
                orientation = 1
        return _turn_upright(image, orientation, image.size, image.size)


def _turn_upright(image: Image.Image, orientation: int, size: tuple[int, int], covered: tuple[float, float]) -> Picture:
    """Return an upright Picture; before turning, it has `size` and covers `covered` of `image` from the top left."""
    rgb = to_rgb(image)
    rgb.info.clear()  # otherwise EXIF orientation could be applied again
    spare = (rgb.width - covered[0], rgb.height - covered[1])
    if orientation in UPRIGHT:
        rgb = rgb.transpose(UPRIGHT[orientation])
        if orientation >= 5:
            size, spare = size[::-1], spare[::-1]
    left = spare[0] if orientation in (2, 3, 6, 7) else 0
    top = spare[1] if orientation in (3, 4, 7, 8) else 0
    return Picture(rgb, size, (left, top, left + rgb.width - spare[0], top + rgb.height - spare[1]))

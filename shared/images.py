"""Pictures in, pixels out: the one way from a file, bytes or PIL image to what a model takes.

Whatever comes is untrusted. Size and shape are checked from the header, before anything is decoded, and
Pillow's readers are called directly: Image.open would warn or fail at limits that any module can move.
"""

import io
import re
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageFile, features
from PIL.AvifImagePlugin import AvifImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from shared.errors import BadInput, quoted

MAX_BYTES = 25_000_000
MAX_PIXELS = 24_000_000  # of a picture that is decoded whole: bounds the memory it takes
MAX_PIXELS_OF = {"WebP": 13_000_000, "AVIF": 20_000_000}  # whose decoders hold several copies
MAX_REDUCED_PIXELS = 120_000_000  # of a JPEG that is decoded at a reduced size
# Of all pictures of one request, as decoding_cost counts them. It bounds the work of one request
# (tests/spaces/test_batches.py), and leaves room for 200 JPEGs of 12 megapixels that are reduced.
MAX_REQUEST_COST = 300_000_000
REDUCED_COST = 8  # so many pixels of a JPEG that is reduced count as one that is decoded whole
MAX_ASPECT = 50  # long side to short side
MAX_SCANS = 30  # of a JPEG, a progressive one has about 10: each is a pass over all pixels, however few bytes it has
MAX_HEADER_READS = 10_000  # a header of a million tiny parts would keep Pillow busy for long
MAX_DECODING_READS = 1_000_000
MAX_MARKERS = 2_000  # parts of a JPEG
MAX_DIRECTORIES = 8  # of EXIF tags in an AVIF, which has one; a few more may seem to be there by chance
MAX_TAG_VALUES = 200_000  # numbers in one TIFF tag: Pillow makes a Python object of each

Source = str | Path | bytes | Image.Image

# Training and serving resize alike; Pillow's filters antialias when they shrink.
RESAMPLING = Image.Resampling.BILINEAR

ORIENTATION = ExifTags.Base.Orientation.value
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True)
class Picture:
    """A picture ready for a model.

    `image` is RGB and upright; `size` is the upright (width, height) of the picture as it was given, of
    which `image` may be a copy reduced 2, 4 or 8 times. A reduced copy has whole pixels only: `box` is where
    in it the picture lies (left, top, right, bottom), less than a pixel from its edges.
    """

    image: Image.Image
    size: tuple[int, int]
    box: tuple[float, float, float, float]

    def resize_short(self, side: int) -> Image.Image:
        """The picture with its short side `side` pixels long and its shape kept."""
        short = min(self.size)
        width, height = (max(side, round(length * side / short)) for length in self.size)
        return self.squash((width, height))

    def squash(self, size: tuple[int, int]) -> Image.Image:
        """The picture at exactly `size` (width, height); its shape is not kept."""
        return self.image.resize(size, RESAMPLING, box=self.box)

    def shrink(self, longest: int) -> Image.Image:
        """The picture in its own shape, its long side at most `longest` pixels."""
        return self.squash(bounded(self.size, longest))


def bounded(size: tuple[int, int], longest: int) -> tuple[int, int]:
    """A (width, height), shrunk in its own shape where its long side is above `longest`; no side gets below 1."""
    if longest < 1:
        raise ValueError("longest must be 1 or more.")
    scale = min(1, longest / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def centre_crop(image: Image.Image, size: int) -> Image.Image:
    """The square of `size` pixels in the middle of an image that is at least as large."""
    if min(image.size) < size:
        raise ValueError(f"An image of {image.width} × {image.height} has no square of {size} in it.")
    left, top = (image.width - size) // 2, (image.height - size) // 2
    return image.crop((left, top, left + size, top + size))


def to_array(image: Image.Image, mean: Sequence[float], std: Sequence[float]) -> NDArray[np.float32]:
    """An RGB image as float32 (3, height, width): scaled to 0 … 1, less `mean`, divided by `std`, by channel."""
    if image.mode != "RGB":
        raise ValueError(f"The image must be RGB, not {image.mode}: use open_rgb.")
    offset, scale = (255 * np.asarray(levels, dtype=np.float32)[:, None, None] for levels in (mean, std))
    pixels: NDArray[np.float32] = np.subtract(np.asarray(image).transpose(2, 0, 1), offset, dtype=np.float32, order="C")
    pixels /= scale
    return pixels


def open_rgb(source: Source, at_least: int | None = None) -> Picture:
    """Open a picture as upright RGB.

    EXIF orientation is applied; what is transparent becomes white; of an animation the first frame is
    taken; 16-bit grey is scaled to 8 bits, and so are other numbers, by their range. Colour profiles (ICC)
    are ignored: pixels are taken to be sRGB, CMYK is converted by formula.

    Args:
        source: a path, the bytes of a file, or a PIL image (which is left as it is).
        at_least: the short side in pixels that will do. A large JPEG is then decoded at 1/2, 1/4 or 1/8 of
            its size, which is fast and takes little memory. A PIL image is never reduced.

    Raises:
        BadInput: it is no picture, damaged, in another format, too large, or too narrow.
    """
    if isinstance(source, Image.Image):
        return _from_pil(source)
    header = _read_header(source, at_least)
    with _one_sentence():
        image = header.image
        header.file.reads_left = MAX_DECODING_READS
        image.load()
        # A TIFF loads upright.
        orientation = 1 if isinstance(image, TiffImageFile) else _orientation(image.info.get("exif"))
        return _upright(image, orientation, header.size, header.covered)


def picture_size(source: Source, at_least: int | None = None) -> tuple[int, int]:
    """Return the (width, height) of a picture in pixels, before EXIF turns it; nothing is decoded.

    The arguments are those of open_rgb.

    Raises:
        BadInput: the header shows that open_rgb would refuse the picture.
    """
    if isinstance(source, Image.Image):
        _check_size(source.size, MAX_PIXELS)
        return source.size
    return _read_header(source, at_least).size


def decoding_cost(source: str | Path | bytes, at_least: int | None = None) -> int:
    """Return what open_rgb costs for a file, in pixels that are decoded whole; nothing is decoded.

    A JPEG that is decoded at a reduced size counts an eighth of its own; one of several scans counts more, up to all
    of its pixels, at whatever size it is decoded. Numbers of more than 8 bits count twice.
    The arguments are those of open_rgb.

    Raises:
        BadInput: the header shows that open_rgb would refuse the picture.
    """
    header = _read_header(source, at_least)
    pixels = header.size[0] * header.size[1]
    if header.scans > 1:
        return pixels * max(MAX_SCANS // REDUCED_COST, header.scans) // MAX_SCANS
    if header.image.size != header.size:
        return pixels // REDUCED_COST
    return 2 * pixels if _is_deep(header.image) else pixels


@dataclass(frozen=True)
class _Header:
    """A picture whose pixels have not been decoded.

    `size` is its own (width, height), `image.size` the one it will be decoded at, of which it covers `covered`.
    """

    file: "_File"
    image: ImageFile.ImageFile
    size: tuple[int, int]
    covered: tuple[float, float]
    scans: int = 1


def _read_header(source: str | Path | bytes, at_least: int | None) -> _Header:
    if at_least is not None and at_least < 1:
        raise ValueError("at_least must be 1 or more.")
    data = _read(source)
    kind = _kind(data)
    with _one_sentence():
        if kind in ("TIFF", "AVIF"):
            _check_tags(data, kind)
        file = _File(data)
        image = READERS[kind](file)
        size, most = image.size, MAX_PIXELS_OF.get(kind, MAX_PIXELS)
        covered: tuple[float, float] = size
        scans = 1
        if isinstance(image, JpegImageFile):
            scans = _scans(data)
            if scans > MAX_SCANS:
                raise BadInput(f"The JPEG is made of more than {MAX_SCANS} scans; save it anew.")
            # Several scans need every coefficient in memory before there are pixels, whatever the size.
            if at_least and scans == 1 and "progressive" not in image.info:
                most = MAX_REDUCED_PIXELS
        _check_size(size, most)
        if at_least and (draft := image.draft(None, (at_least, at_least))):
            covered = draft[1][2:]
            if image.width * image.height > MAX_PIXELS:  # reduced as it is
                _check_size(size, MAX_PIXELS)
        return _Header(file, image, size, covered, scans)


def _from_pil(image: Image.Image) -> Picture:
    _check_size(image.size, MAX_PIXELS)
    with _one_sentence():
        image.load()
        try:
            orientation = image.getexif().get(ORIENTATION, 1)
        except Exception:  # damaged EXIF, for which Pillow raises whatever it stumbles over
            orientation = 1
        return _upright(image, orientation, image.size, image.size)


def _upright(image: Image.Image, orientation: int, size: tuple[int, int], covered: tuple[float, float]) -> Picture:
    """The picture of `size` that covers so much of `image` from the top left, before either is turned upright."""
    rgb = _rgb(image)
    rgb.info.clear()  # with EXIF in it, somebody would turn the picture once more
    spare = (rgb.width - covered[0], rgb.height - covered[1])
    if orientation in UPRIGHT:
        rgb = rgb.transpose(UPRIGHT[orientation])
        if orientation >= 5:
            size, spare = size[::-1], spare[::-1]
    left = spare[0] if orientation in (2, 3, 6, 7) else 0
    top = spare[1] if orientation in (3, 4, 7, 8) else 0
    return Picture(rgb, size, (left, top, left + rgb.width - spare[0], top + rgb.height - spare[1]))


@contextmanager
def _one_sentence() -> Iterator[None]:
    try:
        yield
    except BadInput:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:  # GIF checks by itself
        raise BadInput(f"The picture has too many pixels; {_at_most(MAX_PIXELS)}.") from error
    except Exception as error:  # every reader has exceptions of its own, and hostile files find new ones
        raise BadInput(f"The picture is damaged or incomplete; save it anew as one of {ACCEPTED}.") from error


# --- from a source to bytes, and what they claim to be ---


def _read(source: str | Path | bytes) -> bytes:
    if isinstance(source, bytes):
        data = source
    elif isinstance(source, str | Path):
        data = _read_file(source)
    else:
        raise BadInput(f"A picture must be a file, bytes or a PIL image, not {type(source).__name__}.")
    if not data:
        raise BadInput(f"The picture's file is empty; it must be one of {ACCEPTED}.")
    if len(data) > MAX_BYTES:
        raise BadInput(f"The picture's file is larger than {MAX_BYTES // 1_000_000} MB; save it smaller.")
    return data


def _read_file(path: str | Path) -> bytes:
    path = Path(path)
    try:
        if not path.exists():
            raise BadInput(f"There is no file {quoted(path.name)}.")
        if not path.is_file():  # a folder; or a pipe, which might never end
            raise BadInput(f"{quoted(path.name)} is not a file; a picture must be one of {ACCEPTED}.")
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise BadInput(f"The picture's file cannot be read: {error.strerror}.") from error


class _File(io.BytesIO):
    """Bytes that cannot be read in more than `reads_left` pieces."""

    reads_left = MAX_HEADER_READS

    def read(self, size: int | None = -1, /) -> bytes:
        self.reads_left -= 1
        if self.reads_left < 0:
            raise BadInput("The picture's file is made of too many tiny parts; save it anew.")
        return super().read(size)


SIGNATURES = {
    "JPEG": re.compile(rb"\xff\xd8\xff"),
    "PNG": re.compile(rb"\x89PNG\r\n\x1a\n"),
    "WebP": re.compile(rb"RIFF....WEBP", re.DOTALL),
    "GIF": re.compile(rb"GIF8[79]a"),
    "BMP": re.compile(rb"BM"),
    "TIFF": re.compile(rb"II\*\0|MM\0\*"),
    "AVIF": re.compile(rb"....ftyp(?:.{4}){0,14}?avi[fs]", re.DOTALL),
    "HEIC": re.compile(rb"....ftyp(?:hei|hev|mif|msf)", re.DOTALL),
    "SVG": re.compile(rb"\s*(?:<\?xml.{0,2000}?)?<svg", re.DOTALL),
    "PDF": re.compile(rb"%PDF"),
}


def _kind(data: bytes) -> str:
    kind = next((name for name, signature in SIGNATURES.items() if signature.match(data)), None)
    if kind is None:
        raise BadInput(f"This is not a picture that can be read; it must be one of {ACCEPTED}.")
    if kind not in READERS:
        raise BadInput(f"{kind} cannot be read here; save the picture as one of {ACCEPTED}.")
    return kind


class _Jpeg(JpegImageFile):
    """A JPEG, or the first picture of a phone's MPO, read without its EXIF: see _check_tags."""

    def getexif(self) -> Image.Exif:
        return Image.Exif()


class _Tiff(TiffImageFile):
    """A TIFF read without the EXIF it may contain, orientation excepted."""

    def getexif(self) -> Image.Exif:
        exif = Image.Exif()
        exif[ORIENTATION] = self.tag_v2.get(ORIENTATION, 1)
        return exif


READERS: dict[str, Callable[[_File], ImageFile.ImageFile]] = {
    "JPEG": _Jpeg,
    "PNG": PngImageFile,
    "GIF": GifImageFile,
    "BMP": BmpImageFile,
    "TIFF": _Tiff,
}
if features.check("webp"):
    READERS["WebP"] = WebPImageFile
if features.check("avif"):
    READERS["AVIF"] = AvifImageFile

ACCEPTED = " or ".join([", ".join(list(READERS)[:-1]), list(READERS)[-1]])


# --- what is checked before anything is decoded ---


def _check_size(size: tuple[int, int], most: int) -> None:
    width, height = size
    if min(size) < 1:
        raise BadInput("The picture has no pixels.")
    if max(size) > MAX_ASPECT * min(size):
        raise BadInput(
            f"The picture is {width:,} × {height:,} pixels; "
            f"the long side may be at most {MAX_ASPECT} times as long as the short side."
        )
    if width * height > most:
        raise BadInput(f"The picture is {width:,} × {height:,} pixels; {_at_most(most)}.")


def _at_most(pixels: int) -> str:
    return f"one of this kind may have at most {pixels // 1_000_000} megapixels"


NEXT_MARKER = re.compile(rb"\xff[^\x00\x01\xff\xd0-\xd8]")  # those with a length; FF 00 is a stuffed FF


def _scans(data: bytes) -> int:
    """The number of scans in a JPEG, up to its end: a phone may append a film, which is no business of ours."""
    scans, position = 0, 2
    for _ in range(MAX_MARKERS):
        marker = NEXT_MARKER.search(data, position)
        if marker is None or marker[0] == b"\xff\xd9":
            return scans
        scans += marker[0] == b"\xff\xda"
        position = marker.end() + int.from_bytes(data[marker.end() : marker.end() + 2])
    return MAX_MARKERS


def _check_tags(data: bytes, kind: str) -> None:
    """Refuse TIFF tags (in AVIF: EXIF) that would fill the memory.

    Pillow reads all of them at once, and a thousand tags may each name the whole file as their value. A
    tile gets its memory whole, however small the picture that it is part of.
    """
    if kind == "TIFF":
        too_much = _is_too_much(data, 0)  # an exception means that the TIFF is damaged
    else:
        starts = [found.start() for found in islice(SIGNATURES["TIFF"].finditer(data), MAX_DIRECTORIES + 1)]
        too_much = len(starts) > MAX_DIRECTORIES
        for start in starts:
            with suppress(struct.error):
                too_much |= _is_too_much(data, start)
    if too_much:
        raise BadInput("The picture's tags are larger than its file can hold; save it anew.")


def _is_too_much(data: bytes, start: int) -> bool:
    total, tile = 0, {TILE_WIDTH: 1, TILE_LENGTH: 1}
    for tag, count, width, value in _tags(data, start):
        size = count * width
        if tag in tile and (count != 1 or width not in (1, 2, 4)):
            return True  # libtiff reads it, this does not
        if size > 4 and value + size > len(data):
            raise struct.error("A value lies outside of the file.")
        if total + size > len(data) or (width > 1 and count > MAX_TAG_VALUES):
            return True
        total += size
        if tag in tile:
            tile[tag] = max(tile[tag], value)
    return tile[TILE_WIDTH] * tile[TILE_LENGTH] > MAX_PIXELS


TILE_WIDTH, TILE_LENGTH = 322, 323
TAG_WIDTHS = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8}  # by type


def _tags(data: bytes, start: int) -> Iterator[tuple[int, int, int, int]]:
    """The first directory of the TIFF that begins at `start`: tag, count, bytes for each, and the value or its place.

    Raises:
        struct.error: the directory is cut off.
    """
    order = "<" if data[start : start + 2] == b"II" else ">"
    first = start + struct.unpack_from(f"{order}I", data, start + 4)[0]
    end = first + 2 + 12 * struct.unpack_from(f"{order}H", data, first)[0]
    for entry in range(first + 2, end, 12):
        tag, kind, count = struct.unpack_from(f"{order}HHI", data, entry)
        width = TAG_WIDTHS.get(kind, 0)
        (value,) = struct.unpack_from(order + ("H" if width == 2 and count == 1 else "I"), data, entry + 8)
        yield tag, count, width, start + value if count * width > 4 else value
    struct.unpack_from("I", data, end)  # the place of the next directory, which is not needed but must be there


def _orientation(exif: object) -> int:
    """EXIF orientation, 1 to 8; 1 where there is none that can be read."""
    if isinstance(exif, bytes):
        with suppress(struct.error):
            tags = _tags(exif.removeprefix(b"Exif\0\0"), 0)
            return next((value for tag, _, _, value in tags if tag == ORIENTATION), 1)
    return 1


# --- from any mode to RGB ---


def _is_deep(image: Image.Image) -> bool:
    """Whether the pixels are numbers of more than 8 bits."""
    return image.mode == "F" or image.mode.startswith("I")


def _rgb(image: Image.Image) -> Image.Image:
    """A copy in RGB, over white where there is transparency."""
    if _is_deep(image):
        return Image.fromarray(_eight_bit(np.asarray(image))).convert("RGB")
    if not image.has_transparency_data:
        return image.convert("RGB")
    if image.mode == "La":
        image = image.convert("LA")  # there is no way from La to RGBA
    if image.mode != "RGBA":
        image = image.convert("RGBA")
    white = Image.new("RGB", image.size, "white")
    white.paste(image, mask=image)
    return white


def _eight_bit(values: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Numbers as 0 … 255: 16 bits by their full range, others by the smallest usual range that holds them all.

    Usual are 0 … 1 (for floats), 0 … 255 and 0 … 65535; other values are stretched from the least to the greatest.
    """
    low, span = (0.0, 65_535.0) if values.dtype.kind == "u" else _usual_range(values)
    result = np.empty(values.shape, dtype=np.uint8)
    for row, numbers in zip(result, values, strict=True):  # row by row, as 64 bits take eight times the memory
        scaled = np.nan_to_num((numbers.astype(np.float64) - low) * (255 / span))
        row[:] = np.clip(scaled + 0.5, 0, 255)
    return result


def _usual_range(values: NDArray[np.generic]) -> tuple[float, float]:
    """The least of the range that numbers are taken to lie in, and its width."""
    low, high = np.inf, -np.inf
    for numbers in values:
        usable = numbers[np.isfinite(numbers)]
        if usable.size:
            low, high = min(low, float(usable.min())), max(high, float(usable.max()))
    usual = [1.0, 255.0, 65_535.0] if values.dtype.kind == "f" else [255.0, 65_535.0]
    if low > high:  # no number at all
        return 0.0, usual[0]
    if low < 0 or high > usual[-1]:
        return low, high - low or 1.0
    return 0.0, next(full for full in usual if high <= full)


def drawing(width: int = 320, height: int = 240) -> Image.Image:
    """A picture that is the same on every machine: soft stripes in three colours."""
    y, x = np.mgrid[:height, :width]
    channels = [128 + 100 * np.sin(x / 17 + phase) * np.cos(y / 13 - phase) for phase in (0, 1, 2)]
    return Image.fromarray(np.stack(channels, axis=-1).round().astype(np.uint8))

"""Pictures in, pixels out: the one way from a file, bytes, an array or a PIL image to what a model takes.

Whatever comes is untrusted. Size and shape are checked from the header, before anything is decoded, and
Pillow's readers are called directly: Image.open would warn or fail at limits that any module can move.
"""

import io
import re
import struct
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageFile, features
from PIL.AvifImagePlugin import AvifImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import (
    BITSPERSAMPLE,
    COMPRESSION,
    COMPRESSION_INFO,
    PHOTOMETRIC_INTERPRETATION,
    PLANAR_CONFIGURATION,
    SAMPLEFORMAT,
    ImageFileDirectory_v2,
    TiffImageFile,
)
from PIL.WebPImagePlugin import WebPImageFile

from .errors import BadInput, quoted

MAX_BYTES = 25_000_000
MAX_PIXELS = 24_000_000  # of a picture that is decoded whole: bounds the memory it takes
MAX_PIXELS_OF = {"WebP": 13_000_000, "AVIF": 20_000_000}  # whose decoders hold several copies
MAX_REDUCED_PIXELS = 120_000_000  # of a JPEG that is decoded at a reduced size
# Of all pictures of one request, as decoding_cost counts them. It bounds the work of one request
# (tests/spaces/test_batches.py), and leaves room for 200 JPEGs of 12 megapixels that are reduced.
MAX_REQUEST_COST = 300_000_000
REDUCED_COST = 8  # so many pixels of a JPEG that is reduced count as one that is decoded whole
MAX_ASPECT = 50  # long side to short side
MAX_SCANS = 30  # of a JPEG: each is a pass over all pixels, however few bytes it has; libjpeg itself writes 10
MAX_HEADER_READS = 10_000  # a header of a million tiny parts would keep Pillow busy for long
MAX_DECODING_READS = 1_000_000
MAX_MARKERS = 2_000  # parts of a JPEG
MAX_DIRECTORIES = 8  # of EXIF tags in an AVIF, which has one; a few more may seem to be there by chance
MAX_TAG_VALUES = 200_000  # numbers in one TIFF tag: Pillow makes a Python object of each
MAX_EXIF_BYTES = 200_000  # of tags in an AVIF: Pillow takes a microsecond or two for each byte
MAX_TAGS = 65_535  # in one TIFF directory; a BigTIFF may claim more than that

Encoded = str | Path | bytes | bytearray | memoryview | IO[bytes]
Source = Encoded | Image.Image | NDArray[np.uint8]

# Training and serving resize alike; Pillow's filters antialias when they shrink.
RESAMPLING = Image.Resampling.BILINEAR
STRIP = 64  # rows of 16-bit colours that are scaled at once

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
        return self.resize((width, height))

    def resize(self, size: tuple[int, int]) -> Image.Image:
        """The picture at exactly `size` (width, height); its shape is not kept."""
        return self.image.resize(size, RESAMPLING, box=self.box)

    def thumbnail(self, longest: int) -> Image.Image:
        """The picture in its own shape, its long side at most `longest` pixels."""
        return self.resize(bounded(self.size, longest))


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
        raise ValueError(f"The image must be RGB, not {image.mode}: use load_image.")
    offset, scale = (255 * np.asarray(levels, dtype=np.float32)[:, None, None] for levels in (mean, std))
    pixels: NDArray[np.float32] = np.subtract(np.asarray(image).transpose(2, 0, 1), offset, dtype=np.float32, order="C")
    pixels /= scale
    return pixels


def load_image(source: Source, at_least: int | None = None) -> Picture:
    """Open a picture as upright RGB.

    EXIF orientation is applied; what is transparent becomes white; of an animation the first frame is
    taken. Colour profiles (ICC) are ignored: pixels are taken to be sRGB, CMYK is converted by formula.

    Numbers of more than 8 bits are scaled to 8. White is the largest number of 8, 10, 12, 14 or 16 bits, the fewest
    that hold all numbers of the picture; a TIFF may say that it has more (BitsPerSample, MaxSampleValue). So a 12-bit
    picture in a 16-bit file is as bright as it should be. 16 bits made from 8 stay as they are. Floats up to 16 are
    taken to be 0 … 1, or 0 … their largest; those of wider ranges count as whole numbers. Numbers below 0 or above
    65,535 are stretched from the least to the greatest. A PIL image in RGB has 8 bits, whatever its file had.

    Args:
        source: a path or file:// URL; the bytes of a file; a file open for reading in binary mode, which is read from
            its start; a PIL image (which is left as it is); or an array, uint8 of (height, width, 3) with the colours
            in the order red, green, blue, or (height, width) in grey. OpenCV's arrays are blue, green, red: give
            array[..., ::-1].
        at_least: the short side in pixels that will do. A large JPEG is then decoded at 1/2, 1/4 or 1/8 of
            its size, which is fast and takes little memory. A PIL image is never reduced.

    Raises:
        BadInput: it is no picture, damaged, in another format, too large, or too narrow.
    """
    if isinstance(source, np.ndarray):
        source = _from_array(source)
    if isinstance(source, Image.Image):
        return _from_pil(source)
    header = _read_header(source, at_least)
    with _one_sentence(header.kind):
        image = _decoded(header)
        # A TIFF loads upright.
        orientation = 1 if isinstance(image, TiffImageFile) else _orientation(image.info.get("exif"))
        return _upright(image, orientation, header.size, header.covered)


def picture_size(source: Source, at_least: int | None = None) -> tuple[int, int]:
    """Return the (width, height) of a picture in pixels, before EXIF turns it; nothing is decoded.

    The arguments are those of load_image.

    Raises:
        BadInput: the header shows that load_image would refuse the picture.
    """
    if isinstance(source, np.ndarray):
        source = _from_array(source)
    if isinstance(source, Image.Image):
        _check_size(source.size, MAX_PIXELS)
        return source.size
    return _read_header(source, at_least).size


def decoding_cost(source: Encoded, at_least: int | None = None) -> int:
    """Return what load_image costs for a file, in pixels that are decoded whole; nothing is decoded.

    A JPEG that is decoded at a reduced size counts an eighth of its own; one of several scans counts more, up to all
    of its pixels, at whatever size it is decoded. Grey of more than 8 bits counts twice, and colours of 16 bits count
    four times: they may be decoded twice.
    The arguments are those of load_image.

    Raises:
        BadInput: the header shows that load_image would refuse the picture.
    """
    header = _read_header(source, at_least)
    pixels = header.size[0] * header.size[1]
    if header.scans > 1:
        return pixels * max(MAX_SCANS // REDUCED_COST, header.scans) // MAX_SCANS
    if header.image.size != header.size:
        return pixels // REDUCED_COST
    return pixels * (4 if _is_wide(header.image) else 2 if _is_deep(header.image) else 1)


@dataclass(frozen=True)
class _Header:
    """A picture whose pixels have not been decoded.

    `size` is its own (width, height), `image.size` the one it will be decoded at, of which it covers `covered`.
    """

    file: "_File"
    kind: str
    image: ImageFile.ImageFile
    size: tuple[int, int]
    covered: tuple[float, float]
    scans: int = 1


def _read_header(source: Encoded, at_least: int | None) -> _Header:
    if at_least is not None and at_least < 1:
        raise ValueError("at_least must be 1 or more.")
    data = _read(source)
    kind = _kind(data, Path(source).suffix if isinstance(source, str | Path) else "")
    with _one_sentence(kind):
        if kind in ("TIFF", "AVIF"):
            _check_tags(data, kind)
        file = _File(data)
        image = READERS[kind](file)
        size, most, what = image.size, MAX_PIXELS_OF.get(kind, MAX_PIXELS), kind
        covered: tuple[float, float] = size
        scans = 1
        if isinstance(image, JpegImageFile):
            scans = _scans(data)
            if scans > MAX_SCANS:
                raise BadInput(f"The JPEG is made of more than {MAX_SCANS} scans; save it anew.")
            # Several scans need every coefficient in memory before there are pixels, whatever the size.
            if scans > 1 or "progressive" in image.info:
                what = "progressive JPEG"
            elif at_least:
                most = MAX_REDUCED_PIXELS
        _check_size(size, most, what)
        if at_least and (draft := image.draft(None, (at_least, at_least))):
            covered = draft[1][2:]
            if image.width * image.height > MAX_PIXELS:  # reduced as it is
                _check_size(size, MAX_PIXELS, "JPEG that is needed in such detail")
        return _Header(file, kind, image, size, covered, scans)


def _decoded(header: _Header) -> Image.Image:
    """The picture of a header, its colours in 8 bits."""
    image, data = header.image, header.file.getvalue()
    is_wide = _is_wide(image)
    header.file.reads_left = MAX_DECODING_READS
    image.load()
    # Pillow takes the high bytes of 16 bits for a colour. They are nearly black where the numbers have fewer bits.
    if is_wide and max(most for _, most in _extrema(image)[:3]) < 2**14 >> 8:
        file = _File(data)
        low = READERS[header.kind](file)
        file.reads_left = MAX_DECODING_READS
        low.tile = [tile._replace(args=_low_bytes(tile.args)) for tile in low.tile]
        is_grey = header.kind == "PNG" and low.tile[0].args == "RGBA"
        low.load()
        _scale_colours(image, low, is_grey)
    return image


def _from_array(array: NDArray[Any]) -> Image.Image:
    """A PIL image of an array.

    Raises:
        BadInput: the array is not uint8 of (height, width, 3) or (height, width), or it is too large.
    """
    is_colour = array.ndim == 3 and array.shape[2] == 3
    if array.dtype != np.uint8 or not (array.ndim == 2 or is_colour):
        raise BadInput(
            "An array must be uint8 of (height, width, 3), in the order red, green, blue, or of (height, width), "
            f"not {array.dtype} of {quoted(array.shape)[1:-1]}."
        )
    _check_size((array.shape[1], array.shape[0]), MAX_PIXELS)
    return Image.fromarray(array)


def _from_pil(image: Image.Image) -> Picture:
    _check_size(image.size, MAX_PIXELS)
    with _one_sentence("picture"):
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


UNSUPPORTED = re.compile("cannot handle|unsupported|not supported|not yet supported|unknown pixel mode", re.IGNORECASE)


@contextmanager
def _one_sentence(kind: str) -> Iterator[None]:
    try:
        yield
    except BadInput:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:  # GIF checks by itself
        raise BadInput(f"The picture has too many pixels; {_at_most(MAX_PIXELS, kind)}.") from error
    except Exception as error:  # every reader has exceptions of its own, and hostile files find new ones
        if UNSUPPORTED.search(str(error)):
            raise BadInput(
                f"This kind of {kind} cannot be read here; save it as one of {ACCEPTED}, with 8 bits for each colour."
            ) from error
        raise BadInput(f"The picture is damaged or incomplete; save it anew as one of {ACCEPTED}.") from error


# --- from a source to bytes, and what they claim to be ---


def _read(source: Encoded) -> bytes:
    data: bytes | bytearray | memoryview
    if isinstance(source, bytes | bytearray | memoryview):
        data = source
    elif isinstance(source, str | Path):
        data = _read_file(_path(source))
    elif hasattr(source, "read"):
        data = _read_open(source)
    else:
        given = "None" if source is None else type(source).__name__
        raise BadInput(
            f"A picture must be a path, the bytes of a file, an open file, a PIL image or a numpy array, not {given}."
        )
    size = memoryview(data).nbytes
    if not size:
        raise BadInput(f"The picture's file is empty; it must be one of {ACCEPTED}.")
    if size > MAX_BYTES:
        raise BadInput(f"The picture's file is larger than {MAX_BYTES // 1_000_000} MB; save it smaller.")
    return bytes(data)


def _read_open(file: IO[bytes]) -> bytes:
    """The content of an open file, from its start if it can go back there: MAX_BYTES and one more at most."""
    parts: list[bytes] = []
    left = MAX_BYTES + 1
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


def _path(source: str | Path) -> Path:
    """The path of a file on this machine, also as a file:// URL or from the home folder (~).

    Raises:
        BadInput: it is a web address, or a picture as a data URL.
    """
    text = str(source)
    if isinstance(source, Path):
        pass
    elif re.match("https?://", text, re.IGNORECASE):
        raise BadInput("A web address is not fetched; download the picture, and give its path or its bytes.")
    elif text[:5].lower() == "data:":
        raise BadInput(
            "A data URL is not read here; give the picture's bytes: decode what follows the comma with base64."
        )
    elif text[:7].lower() == "file://":
        url = urlsplit(text)
        if url.netloc not in ("", "localhost"):
            raise BadInput(f"{quoted(text)} is on another machine; give the path of a file on this one.")
        return Path(url2pathname(url.path))
    with suppress(RuntimeError):  # there is no home folder
        return Path(text).expanduser()
    return Path(text)


def _read_file(path: Path) -> bytes:
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


SIGNATURE_BYTES = 10_000  # in which a signature is looked for: before some of them there may be any number of blanks
SIGNATURES = {
    "JPEG": re.compile(rb"\xff\xd8\xff"),
    "PNG for iPhone apps": re.compile(rb"\x89PNG\r\n\x1a\n....CgBI", re.DOTALL),
    "PNG": re.compile(rb"\x89PNG\r\n\x1a\n"),
    "WebP": re.compile(rb"RIFF....WEBP", re.DOTALL),
    "GIF": re.compile(rb"GIF8[79]a"),
    "BMP": re.compile(rb"BM"),
    "A camera's raw file": re.compile(
        rb"II\*\0....CR|IIRO|IIRS|MMOR|IIU\0|FUJIFILMCCD-RAW|\0MRM|FOVb|....ftypcrx", re.DOTALL
    ),
    "TIFF": re.compile(rb"II\*\0|MM\0\*|II\+\0"),
    "BigTIFF in big-endian order": re.compile(rb"MM\0\+"),
    "AVIF": re.compile(rb"....ftyp(?:.{4}){0,14}?avi[fs]", re.DOTALL),
    "HEIC": re.compile(rb"....ftyp(?:hei|hev|mif|msf)", re.DOTALL),
    "A video": re.compile(rb"....ftyp(?:iso|mp4|qt  |M4V|avc|3gp|dash)|....moov|RIFF....AVI |\x1aE\xdf\xa3", re.DOTALL),
    "JPEG 2000": re.compile(rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51"),
    "JPEG XL": re.compile(rb"\xff\x0a|\0\0\0\x0cJXL "),
    "JPEG XR": re.compile(rb"II\xbc"),
    "ICO": re.compile(rb"\0\0[\x01\x02]\0[^\0]"),
    "Photoshop's PSD": re.compile(rb"8BPS"),
    "GIMP's XCF": re.compile(rb"gimp xcf"),
    "PPM": re.compile(rb"P[1-7][\s#]|P[Ff]\s"),
    "QOI": re.compile(rb"qoif"),
    "OpenEXR": re.compile(rb"v/1\x01"),
    "Radiance HDR": re.compile(rb"#\?(?:RADIANCE|RGBE)"),
    "DICOM": re.compile(rb".{128}DICM", re.DOTALL),
    "FITS": re.compile(rb"SIMPLE  ="),
    "NIfTI": re.compile(rb".{344}(?:n\+1|ni1)\0", re.DOTALL),
    "HDF5": re.compile(rb"\x89HDF\r\n"),
    "A numpy file": re.compile(rb"\x93NUMPY"),
    "SVG": re.compile(rb"\s*(?:<\?xml.{0,2000}?)?<svg", re.DOTALL),
    "EPS": re.compile(rb"%!PS|\xc5\xd0\xd3\xc6"),
    "PDF": re.compile(rb"%PDF"),
    "HTML": re.compile(rb"(?:\xef\xbb\xbf)?\s*<(?:!doctype\s+html|html|head|body)", re.IGNORECASE),
    "A zip": re.compile(rb"PK\x03\x04|PK\x05\x06"),
    "A compressed file": re.compile(rb"\x1f\x8b|BZh|\xfd7zXZ\0|\x28\xb5\x2f\xfd|7z\xbc\xaf|Rar!"),
}
# As Pillow looks for them in an AVIF: of these five it reads each as a TIFF, whatever the third byte.
EXIF = re.compile(rb"II\*\0|MM\0[*+]|II\0\*|MM\*\0")
RAW_ENDINGS = {
    ".3fr", ".arw", ".cr2", ".cr3", ".dng", ".erf", ".iiq", ".kdc", ".mef", ".mos", ".mrw", ".nef", ".nrw", ".orf",
    ".pef", ".raf", ".raw", ".rw2", ".rwl", ".sr2", ".srf", ".srw", ".x3f",
}  # fmt: skip


def _kind(data: bytes, ending: str = "") -> str:
    kind = next((name for name, signature in SIGNATURES.items() if signature.match(data, 0, SIGNATURE_BYTES)), None)
    if kind is None:
        raise BadInput(f"This is not a picture that can be read; it must be one of {ACCEPTED}.")
    if kind == "TIFF" and ending.lower() in RAW_ENDINGS:  # most of them are TIFFs around what only their makers read
        kind = "A camera's raw file"
    if kind not in READERS:
        raise cannot_be_read(kind)
    return kind


def cannot_be_read(kind: str) -> BadInput:
    """The error for a format that is known by name alone."""
    return BadInput(f"{kind} cannot be read here; save the picture as one of {ACCEPTED}.")


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

    def _setup(self) -> None:
        if _is_raw(self.tag_v2):
            raise cannot_be_read("A camera's raw file")
        if self.tag_v2.get(COMPRESSION, 1) not in COMPRESSION_INFO:
            raise OSError("unsupported compression")
        super()._setup()
        # Pillow reads the planes of a colour for themselves, as if they had 8 bits.
        if self.tag_v2.get(PLANAR_CONFIGURATION) == 2 and not self.use_load_libtiff and self._bits() != 8:
            raise OSError("unsupported planes")

    def _bits(self) -> int:
        return int(max(self.tag_v2.get(BITSPERSAMPLE, (1,))))


def _is_raw(tags: ImageFileDirectory_v2) -> bool:
    """Whether a TIFF is a camera's: its first picture is a small preview, or what the sensor saw."""
    is_preview = tags.get(SUBFILE_TYPE) == 1 and SUBIFDS in tags
    return is_preview or DNG_VERSION in tags or tags.get(PHOTOMETRIC_INTERPRETATION) in (CFA, LINEAR_RAW)


SUBFILE_TYPE, SUBIFDS, DNG_VERSION = 254, 330, 50706
CFA, LINEAR_RAW = 32803, 34892  # kinds of pixels, before they are colours

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


def _check_size(size: tuple[int, int], most: int, kind: str = "picture") -> None:
    width, height = size
    if min(size) < 1:
        raise BadInput("The picture has no pixels.")
    if max(size) > MAX_ASPECT * min(size):
        raise BadInput(
            f"The picture is {width:,} × {height:,} pixels; "
            f"the long side may be at most {MAX_ASPECT} times as long as the short side."
        )
    if width * height > most:
        raise BadInput(f"The picture is {width:,} × {height:,} pixels; {_at_most(most, kind)}.")


def _at_most(pixels: int, kind: str) -> str:
    return f"{'an' if kind == 'AVIF' else 'a'} {kind} may have at most {pixels // 1_000_000} megapixels"


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


Tag = tuple[int, int, int, int, int | None]  # see _tags


def _check_tags(data: bytes, kind: str) -> None:
    """Refuse TIFF tags (in AVIF: EXIF) that would fill the memory.

    Pillow reads all of them at once, and a thousand tags may each name the whole file as their value. A
    tile gets its memory whole, however small the picture that it is part of.
    """
    if kind == "TIFF":
        _check_values(data, 0, _tags(data, 0), len(data))  # an exception means that the TIFF is damaged
        return
    starts = [found.start() for found in islice(EXIF.finditer(data), MAX_DIRECTORIES + 1)]
    if len(starts) > MAX_DIRECTORIES:
        raise BadInput(TOO_MANY_TAGS)
    for start in starts:
        with suppress(struct.error):
            _check_values(data, start, _exif_tags(data, start), min(MAX_EXIF_BYTES, len(data)))


TOO_MANY_TAGS = "The picture's tags are larger than its file can hold; save it anew."


def _check_values(data: bytes, start: int, tags: Iterator[Tag], most: int) -> None:
    """Refuse tags whose values have more than `most` bytes together, and tiles that are too large.

    Raises:
        BadInput: there is too much.
        struct.error: a directory or a value is cut off; what Pillow reads before that has been counted.
    """
    total, tile = 0, {TILE_WIDTH: 1, TILE_LENGTH: 1}
    widths = (1, 2, 4, 8) if data[start + 2 : start + 3] == BIG else (1, 2, 4)
    for tag, count, width, value, place in tags:
        size = count * width
        if tag in tile and (count != 1 or width not in widths):  # libtiff reads it, this does not
            raise BadInput(TOO_MANY_TAGS)
        if place is not None and place + size > len(data):
            raise struct.error("A value lies outside of the file.")
        total += size
        if total > most or (width > 1 and count > MAX_TAG_VALUES):
            raise BadInput(TOO_MANY_TAGS)
        if tag in tile:
            tile[tag] = max(tile[tag], value)
    if tile[TILE_WIDTH] * tile[TILE_LENGTH] > MAX_PIXELS:
        raise BadInput(TOO_MANY_TAGS)


def _exif_tags(data: bytes, start: int) -> Iterator[Tag]:
    """The tags of the first directory of an EXIF, and of those it names, all of which Pillow reads to turn an AVIF.

    Raises:
        BadInput: there are too many directories.
        struct.error: one of them is cut off; the others come before this is raised.
    """
    pending: list[int | None] = [None]
    damage: struct.error | None = None
    for _ in range(MAX_DIRECTORIES):
        if not pending:
            break
        try:
            for tag in _tags(data, start, pending.pop()):
                number, count, width, value, place = tag
                if place is not None and place + count * width > len(data):
                    raise struct.error("A value lies outside of the file.")  # here Pillow leaves the directory
                if number in NAMED_DIRECTORIES and count == 1 and width > 1:
                    pending.append(start + value)
                yield tag
        except struct.error as error:
            damage = error
    if pending:
        raise BadInput(TOO_MANY_TAGS)
    if damage is not None:
        raise damage


TILE_WIDTH, TILE_LENGTH = 322, 323
NAMED_DIRECTORIES = (34_665, 34_853, 40_965)  # of EXIF, GPS, and how cameras work together
BIG = b"+"  # the third byte of a BigTIFF; Pillow looks at no other place
# Bytes, by type.
TAG_WIDTHS = {
    1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8,
}  # fmt: skip


def _tags(data: bytes, start: int, first: int | None = None) -> Iterator[Tag]:
    """The directory at `first`, by default the first one, of the TIFF or BigTIFF that begins at `start`.

    Yields tag, count, bytes for each, the value as a whole number (or the first one's place), and where it is if that
    is outside of the directory.

    Raises:
        struct.error: the directory is cut off.
    """
    order = "<" if data[start : start + 2] == b"II" else ">"
    whole, number, room, size = ("Q", "Q", 8, 20) if data[start + 2 : start + 3] == BIG else ("I", "H", 4, 12)
    if first is None:
        first = start + struct.unpack_from(order + whole, data, start + room)[0]
    if first >= len(data):  # struct takes no place beyond 2**63
        raise struct.error("The directory lies outside of the file.")
    (entries,) = struct.unpack_from(order + number, data, first)
    if entries > MAX_TAGS:
        raise struct.error("There are too many tags.")
    begin = first + struct.calcsize(order + number)
    end = begin + size * entries
    for entry in range(begin, end, size):
        tag, kind, count = struct.unpack_from(f"{order}HH{whole}", data, entry)
        width = TAG_WIDTHS.get(kind, 0)
        at, place = entry + size - room, None
        if count * width > room:
            (at,) = struct.unpack_from(order + whole, data, at)
            place = at = start + at
        is_one = count == 1 and (place is None or place + width <= len(data))
        letter = {2: "H", 4: "I", 8: "Q"}.get(width, whole)
        yield tag, count, width, struct.unpack_from(order + letter, data, at)[0] if is_one else at, place
    # The place of the next directory is not needed, but must be there.
    struct.unpack_from(order + whole, data, end)


def _orientation(exif: object) -> int:
    """EXIF orientation, 1 to 8; 1 where there is none that can be read."""
    if isinstance(exif, bytes):
        with suppress(struct.error):
            tags = _tags(exif.removeprefix(b"Exif\0\0"), 0)
            return next((value for tag, _, _, value, _ in tags if tag == ORIENTATION), 1)
    return 1


# --- from any mode to RGB ---


def _is_deep(image: Image.Image) -> bool:
    """Whether the pixels are numbers of more than 8 bits."""
    return image.mode == "F" or image.mode.startswith("I")


def _is_wide(image: ImageFile.ImageFile) -> bool:
    """Whether each colour of a picture that is not decoded yet has 16 bits, of which Pillow will keep 8."""
    return not _is_deep(image) and any(WIDE.fullmatch(_raw_mode(tile.args)) for tile in image.tile)


WIDE = re.compile("(?:LA|RGB|RGBA|RGBX|CMYK);16[BLN]")  # RGBa is left out: it is divided by its alpha as it is read


def _raw_mode(args: object) -> str:
    return str(args[0] if isinstance(args, tuple) and args else args)


def _low_bytes(args: Any) -> Any:
    """What has Pillow's decoder keep the low bytes of 16 bits, in place of the high ones.

    Of PNG's grey with transparency it keeps both: the high bytes as red and blue, the low ones as green and alpha.
    """
    if args == "LA;16B":
        return "RGBA"
    mode = _raw_mode(args)
    order = mode[-1] if mode[-1] != "N" else ("L" if sys.byteorder == "little" else "B")
    swapped = mode[:-1] + ("B" if order == "L" else "L")
    return (swapped, *args[1:]) if isinstance(args, tuple) else swapped


def _extrema(image: Image.Image) -> list[tuple[float, float]]:
    found: Any = image.getextrema()
    return [found] if isinstance(found[0], int | float) else list(found)


def _scale_colours(high: Image.Image, low: Image.Image, is_grey: bool) -> None:
    """Put into `high`, the high bytes of 16-bit colours, what _eight_bit makes of them and of their low bytes in `low`.

    A fourth band (transparency) is scaled by its own largest number.
    """

    def strips() -> Iterator[tuple[int, NDArray[np.uint8], NDArray[np.uint8]]]:
        for top in range(0, high.height, STRIP):
            box = (0, top, high.width, min(top + STRIP, high.height))
            first, second = (np.asarray(image.crop(box)) for image in (high, low))
            yield top, first, second[..., [1, 1, 1, 3]] if is_grey else second

    colours = len(high.getbands()) if high.mode != "RGBA" else 3
    # 8 bits that were spread over 16 have low bytes like the high ones, or none.
    factors = {0, 1}
    for _, first, second in strips():
        factors = {factor for factor in factors if np.array_equal(second[..., :colours], factor * first[..., :colours])}
        if not factors:
            break
    if factors:
        return
    most = [int(most) << 8 | 255 for _, most in _extrema(high)]
    white = _largest(max(most[:colours]))
    tables = [_table(white if band < colours else _largest(most[band])) for band in range(len(most))]
    for top, first, second in strips():
        numbers = first.astype(np.uint16) << 8 | second
        eight = np.stack([np.take(table, numbers[..., band]) for band, table in enumerate(tables)], axis=-1)
        high.paste(Image.fromarray(eight, high.mode), (0, top))


def _table(white: int) -> NDArray[np.uint8]:
    """The 8 bits of each number of 16 bits."""
    table: NDArray[np.uint8] = np.clip(np.arange(65_536) * (255 / white) + 0.5, 0, 255).astype(np.uint8)
    return table


def _rgb(image: Image.Image) -> Image.Image:
    """A copy in RGB, over white where there is transparency."""
    if _is_deep(image):
        numbers, said, is_inverted = _numbers(image)
        eight = _eight_bit(numbers, said)
        return Image.fromarray(255 - eight if is_inverted else eight).convert("RGB")
    if not image.has_transparency_data:
        return image.convert("RGB")
    if image.mode == "La":
        image = image.convert("LA")  # there is no way from La to RGBA
    if image.mode != "RGBA":
        image = image.convert("RGBA")
    white = Image.new("RGB", image.size, "white")
    white.paste(image, mask=image)
    return white


def _numbers(image: Image.Image) -> tuple[NDArray[np.generic], int, bool]:
    """The pixels of a picture of more than 8 bits, the largest number its file says they may be, and if 0 is white."""
    numbers = np.asarray(image)
    if not isinstance(image, TiffImageFile):
        return numbers, 0, False
    tags = image.tag_v2
    bits, most = tags.get(BITSPERSAMPLE, (16,)), tags.get(MAX_SAMPLE_VALUE, 0)
    if bits == (32,) and image.mode == "I" and tags.get(SAMPLEFORMAT, (1,)) == (1,):
        numbers = numbers.view(np.uint32)  # Pillow has no mode for it
    said = 2 ** bits[0] - 1 if len(bits) == 1 and bits[0] < 16 else most[0] if isinstance(most, tuple) else most
    # 65535 is what any TIFF of 16 bits is taken to say.
    return numbers, said if said < 65_535 else 0, tags.get(PHOTOMETRIC_INTERPRETATION) == WHITE_IS_ZERO


MAX_SAMPLE_VALUE, WHITE_IS_ZERO = 281, 0


def _eight_bit(values: NDArray[np.generic], said: int = 0) -> NDArray[np.uint8]:
    """Numbers as 0 … 255; see load_image for what is white. `said` is the largest that the file says they may be."""
    low, span = _range(values, said)
    result = np.empty(values.shape, dtype=np.uint8)
    for row, numbers in zip(result, values, strict=True):  # row by row, as 64 bits take eight times the memory
        scaled = np.nan_to_num((numbers.astype(np.float64) - low) * (255 / span))
        row[:] = np.clip(scaled + 0.5, 0, 255)
    return result


def _range(values: NDArray[np.generic], said: int) -> tuple[float, float]:
    """The number that is black, and how much more is white."""
    if values.dtype.kind == "u" and values.dtype.itemsize == 2:
        return 0.0, float(_white(values, said))
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
        return 0.0, float(_white(values, said))
    # A picture of 8 bits whose brightest is 16 would be black; one of 0 … 1 has brighter spots now and then.
    return 0.0, max(1.0, high) if high <= 16 else _largest(high)


def _white(parts: Iterable[NDArray[Any]], said: int = 0) -> int:
    """The number that is white among whole ones from 0 to 65,535, which come in parts.

    It is the largest of the fewest usual bits that hold them all, and `said`. Where all are multiples of 256 or of 257,
    they are 8 bits that were spread over 16, however dark they are.
    """
    largest, factors = said, [256, 257]
    for part in parts:
        largest = max(largest, int(part.max(initial=0)))
        factors = [factor for factor in factors if not (part % factor).any()]
    return 65_535 if factors and largest > 255 else _largest(largest)


def _largest(number: float) -> int:
    """The largest number of the fewest usual bits that hold this one."""
    return next(full for full in (255, 1023, 4095, 16_383, 65_535) if number <= full)


def sample_image(width: int = 320, height: int = 240) -> Image.Image:
    """A picture that is the same on every machine: soft stripes in three colours."""
    y, x = np.mgrid[:height, :width]
    channels = [128 + 100 * np.sin(x / 17 + phase) * np.cos(y / 13 - phase) for phase in (0, 1, 2)]
    return Image.fromarray(np.stack(channels, axis=-1).round().astype(np.uint8))

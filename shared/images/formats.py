"""Picture formats: signatures to detect them, and Pillow's readers for those that are accepted.

Pillow's readers are called directly, because Image.open has limits that any module can change.
"""

import importlib.util
import io
import re
from collections.abc import Callable

from PIL import Image, ImageFile, features
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
    ImageFileDirectory_v2,
    TiffImageFile,
)
from PIL.WebPImagePlugin import WebPImageFile

from ..errors import BadInput
from .limits import MAX_HEADER_READS
from .tags import ORIENTATION

SIGNATURE_BYTES = 10_000  # searched for a signature; spaces may precede some of them
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
RAW_ENDINGS = {
    ".3fr", ".arw", ".cr2", ".cr3", ".dng", ".erf", ".iiq", ".kdc", ".mef", ".mos", ".mrw", ".nef", ".nrw", ".orf",
    ".pef", ".raf", ".raw", ".rw2", ".rwl", ".sr2", ".srf", ".srw", ".x3f",
}  # fmt: skip
SUBFILE_TYPE, SUBIFDS, DNG_VERSION = 254, 330, 50706
CFA, LINEAR_RAW = 32803, 34892  # kinds of sensor data that are not colours yet


class LimitedFile(io.BytesIO):
    """Bytes in memory that allow only `reads_left` reads."""

    reads_left = MAX_HEADER_READS

    def read(self, size: int | None = -1, /) -> bytes:
        self.reads_left -= 1
        if self.reads_left < 0:
            raise BadInput("The picture's file consists of too many tiny parts; save it again.")
        return super().read(size)


class _Jpeg(JpegImageFile):
    """A JPEG, or the first picture of a phone's MPO, read without its EXIF: see tags.py."""

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
            raise make_format_error("A camera's raw file")
        if self.tag_v2.get(COMPRESSION, 1) not in COMPRESSION_INFO:
            raise OSError("unsupported compression")
        super()._setup()
        # Pillow reads separate colour planes as if they had 8 bits.
        if self.tag_v2.get(PLANAR_CONFIGURATION) == 2 and not self.use_load_libtiff and self._bits() != 8:
            raise OSError("unsupported planes")

    def _bits(self) -> int:
        return int(max(self.tag_v2.get(BITSPERSAMPLE, (1,))))


def _is_raw(tags: ImageFileDirectory_v2) -> bool:
    """Return True for a camera's raw file: the first picture of the TIFF is a small preview or sensor data."""
    is_preview = tags.get(SUBFILE_TYPE) == 1 and SUBIFDS in tags
    return is_preview or DNG_VERSION in tags or tags.get(PHOTOMETRIC_INTERPRETATION) in (CFA, LINEAR_RAW)


READERS: dict[str, Callable[[LimitedFile], ImageFile.ImageFile]] = {
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

SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif")
ACCEPTED = " or ".join([", ".join(list(READERS)[:-1]), list(READERS)[-1]])


def find_format(data: bytes, ending: str = "") -> str:
    """Return the format of a file, a key of READERS.

    Args:
        data: the whole file.
        ending: the extension of its name, such as ".jpg", if it has one.

    Raises:
        BadInput: the file is not a picture, or its format is not accepted.
    """
    kind = next((name for name, signature in SIGNATURES.items() if signature.match(data, 0, SIGNATURE_BYTES)), None)
    if kind is None:
        raise BadInput(f"This is not a picture that can be read; it must be one of {ACCEPTED}.")
    if kind == "TIFF" and ending.lower() in RAW_ENDINGS:  # most raw files are TIFFs with proprietary content
        kind = "A camera's raw file"
    if kind not in READERS:
        raise make_format_error(kind)
    return kind


def make_format_error(kind: str) -> BadInput:
    """Return the error for a format that is recognised but not accepted."""
    way_on = ""
    if kind == "HEIC" and importlib.util.find_spec("pillow_heif"):  # where a model was trained on such pictures
        way_on = " In Python, give it decoded, as pillow_heif.open_heif(path).to_pillow()."
    return BadInput(f"{kind} cannot be read here; save the picture as one of {ACCEPTED}.{way_on}")

"""Pictures as people have them, and files that were made to do harm."""

import contextlib
import importlib.util
import io
import struct
import threading
import time
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import ExifTags, Image, features

from shared import BadInput
from shared.images import (
    estimate_decoding_cost,
    find_square,
    fit_size,
    load_image,
    pixels,
    read_picture_size,
    sample_image,
    to_array,
)
from shared.images.files import count_scans
from shared.limits import LIMITS

RED, WHITE = (255, 0, 0), (255, 255, 255)
avif = pytest.mark.skipif(not features.check("avif"), reason="this Pillow reads no AVIF")


def encode(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def photo(width, height, seed=0):
    """Large shapes with finer detail on top, as a photograph has."""
    rng = np.random.default_rng(seed)
    layers = [
        Image.fromarray(rng.integers(0, 256, (rows, columns, 3), dtype=np.uint8)).resize(
            (width, height), Image.Resampling.BICUBIC
        )
        for rows, columns in [(9, 12), (height // 8, width // 8)]
    ]
    return Image.blend(*layers, 0.2)


def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width, height, *chunks):
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + chunk(b"IDAT", zlib.compress(bytes(20_000)))


def tiff(tags, size=2_000):
    """A grey TIFF of 8 × 8 zeros with more tags: (tag, type, count, value)."""
    basic = [(256, 8), (257, 8), (258, 8), (259, 1), (262, 1), (273, 1_000), (277, 1), (278, 8), (279, 64)]
    entries = sorted([(tag, 4, 1, value) for tag, value in basic] + tags)
    start = b"II*\0" + struct.pack("<IH", 8, len(entries))
    return (start + b"".join(struct.pack("<HHII", *entry) for entry in entries)).ljust(size, b"\0")


def gif(width, height, *blocks):
    data = encode(Image.new("L", (8, 8), 9), "GIF")
    first = data.index(b",", 13 + 3 * 2 ** ((data[10] & 7) + 1))
    return data[:6] + struct.pack("<HH", width, height) + data[10:first] + b"".join(blocks) + data[first:]


def webp(width, height):
    frame = encode(Image.new("RGB", (8, 8)), "WEBP", lossless=True)[12:]
    size = struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]
    body = b"VP8X" + struct.pack("<IBBH", 10, 2, 0, 0) + size + b"ANIM" + struct.pack("<I", 6) + bytes(6)
    content = bytes(6) + bytes([7, 0, 0, 7, 0, 0]) + bytes(4) + frame
    body += b"ANMF" + struct.pack("<I", len(content)) + content
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def bmp(width, height):
    return b"BM" + struct.pack("<IIIIiiHHIIiiII", 100, 0, 54, 40, width, height, 1, 24, 0, 0, 1, 1, 0, 0)


def jpeg(width, height, **options):
    """A JPEG whose header alone says that it is large."""
    data = encode(Image.new("RGB", (16, 16)), "JPEG", **options)
    at = max(data.find(b"\xff\xc0"), data.find(b"\xff\xc2")) + 5
    return data[:at] + struct.pack(">HH", height, width) + data[at + 4 :]


PHOTO = encode(photo(160, 120), "JPEG")
SCAN = PHOTO[PHOTO.index(b"\xff\xda") : -2]
DAMAGED, TAGS, TINY = "damaged or incomplete; save it again", "tags are larger", "too many tiny parts"
PIXELS, UNKNOWN = r"pixels; a [\w ]+ may have at most 24 megapixels", "not a picture that can be read"
OTHER_KIND = "This kind of TIFF cannot be read here; save it as one of"
MANY = "too many pixels"


def hide_scans(count: int) -> bytes:
    """Return a JPEG with scans behind FF 02, over which libjpeg reads on, and a length, which it does not heed."""
    data = encode(Image.new("RGB", (32, 32), "orange"), "JPEG", progressive=True, subsampling=0)
    start = data.index(b"\xff\xda")
    first = data[start : start + 14]
    scans = (first[:11] + b"\0\0\x10") * count  # each refines the coefficients
    return data[:start] + b"\xff\xdd\0\4\0\1" + first + b"\xff\2" + (len(scans) + 2).to_bytes(2) + scans + b"\xff\xd9"


HOSTILE = {
    "nothing": (b"", "file is empty; it must be one of JPEG, PNG"),
    "text": (b"I am not a picture.", UNKNOWN),
    "zeros": (bytes(1000), UNKNOWN),
    "zip": (b"PK\x03\x04" + bytes(50), "^A zip cannot be read here; save the picture as one of JPEG, PNG"),
    "executable": (b"MZ" + bytes(100), UNKNOWN),
    "svg": (b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>', "SVG cannot be read here"),
    "pdf": (b"%PDF-1.7\n", "PDF cannot be read here"),
    "heic": (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(50), "HEIC cannot be read here; save the picture as"),
    "too many bytes": (PHOTO + bytes(LIMITS.picture_bytes), "larger than 25 MB"),
    "jpeg signature alone": (b"\xff\xd8\xff", DAMAGED),
    "jpeg half": (PHOTO[: len(PHOTO) // 2], DAMAGED),
    "jpeg without end": (PHOTO[:-2], DAMAGED),
    "jpeg header then text": (PHOTO[:100] + b"text" * 100, DAMAGED),
    "jpeg of many scans": (PHOTO[:-2] + SCAN * 200, "more than 30 scans"),
    "jpeg of hidden scans": (hide_scans(1000), "more than 30 scans"),
    "jpeg of many segments": (PHOTO[:2] + b"\xff\xe5\0\2" * 1_000_000 + PHOTO[2:], TINY),
    "jpeg too large": (jpeg(12_000, 12_000), "12,000 × 12,000 " + PIXELS),
    "jpeg of no height": (jpeg(16, 0), DAMAGED),
    "png signature alone": (b"\x89PNG\r\n\x1a\n", DAMAGED),
    "png half": (encode(photo(160, 120))[:9_000], DAMAGED),
    "png flipped checksum": (png(8, 8).replace(b"IHDR\0", b"IHDR\1"), DAMAGED),
    "png bomb": (png(13_000, 13_000), "13,000 × 13,000 " + PIXELS),
    "png bomb beyond Pillow's limit": (png(100_000, 100_000), PIXELS),
    "png a little too large": (png(6_000, 4_001), "6,000 × 4,001 " + PIXELS),
    "png of no width": (png(0, 8), DAMAGED),
    "png text bomb": (png(8, 8, chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(80_000_000)))), DAMAGED),
    "png of many chunks": (png(8, 8, chunk(b"prVt", b"") * 200_000), TINY),
    "png that lies about transparency": (png(8, 8, chunk(b"tEXt", b"transparency\0none")), DAMAGED),
    "png 1 × 1000": (encode(Image.new("RGB", (1, 1000))), r"1 × 1,000 pixels; the long side may be at most 50 times"),
    "gif half": (encode(photo(160, 120), "GIF")[:9_000], DAMAGED),
    "gif bomb": (gif(10_000, 10_000), "10,000 × 10,000 " + PIXELS),
    "gif with a frame beyond its screen": (gif(8, 8).replace(b",\0\0\0\0\x08\0\x08", b",\0\0\0\0" + b"\xff" * 4), MANY),
    "gif of many comments": (gif(8, 8, b"!\xfe\x01a\0" * 1_000_000), TINY),
    "webp half": (encode(photo(160, 120), "WEBP")[:1_000], DAMAGED),
    "webp bomb": (webp(16_000, 16_000), "a WebP may have at most 13 megapixels"),
    "webp signature alone": (b"RIFF\x10\0\0\0WEBPVP8 ", DAMAGED),
    "bmp half": (encode(photo(160, 120), "BMP")[:9_000], DAMAGED),
    "bmp bomb": (bmp(30_000, 30_000), "30,000 × 30,000 " + PIXELS),
    "tiff half": (encode(photo(160, 120), "TIFF")[:9_000], DAMAGED),
    "tiff bomb": (tiff([]).replace(struct.pack("<HII", 4, 1, 8), struct.pack("<HII", 4, 1, 9_000), 2), PIXELS),
    "tiff of overlapping tags": (tiff([(40_000 + i, 7, 1_000_000, 500) for i in range(500)], 1_001_000), TAGS),
    "tiff of many numbers": (tiff([(40_000, 4, 250_000, 500)], 1_001_000), TAGS),
    "tiff of huge tiles": (tiff([(322, 4, 1, 30_000), (323, 4, 1, 30_000)]), TAGS),
    "tiff of huge tiles, in 8 bytes": (tiff([(322, 16, 1, 30_000), (323, 16, 1, 30_000)]), TAGS),
    "tiff of huge tiles, signed": (tiff([(322, 17, 1, 30_000), (323, 17, 1, 30_000)]), TAGS),
    "tiff whose tag is elsewhere": (tiff([(40_000, 7, 100, 5_000)]), DAMAGED),
    "tiff whose directory is elsewhere": (b"II*\0\xff\xff\xff\x7f" + bytes(50), DAMAGED),
}
if features.check("avif"):
    tags = tiff([(40_000 + i, 7, 5_000, 1_500) for i in range(100)], 6_500)
    HOSTILE["avif signature alone"] = (b"\0\0\0\x18ftypavif\0\0\0\0mif1avif" + bytes(50), DAMAGED)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow 13 warns of the tags
        HOSTILE["avif of overlapping tags"] = (encode(photo(64, 48), "AVIF", exif=tags), TAGS)


def turned_avif(block):
    """An AVIF that is to be turned, for which Pillow writes its EXIF anew; its EXIF is `block`."""
    tags = Image.Exif()
    tags[ExifTags.Base.Orientation], tags[40_000] = 6, b"Z" * len(block)
    data = encode(Image.new("RGB", (8, 6)), "AVIF", exif=tags)
    start = min(found for found in (data.find(b"II*\0"), data.find(b"MM\0*")) if found >= 0)
    end = data.index(b"Z" * len(block)) + len(block)
    return data[:start] + block.ljust(end - start, b"\0") + data[end:]


def exif_block(prefix=b"II*\0", tags=300, pad=b"", before=(), entries=None, order="<", directory=34_665):
    """EXIF with a directory (by default the Exif one) of tags that each name the whole block."""
    first = [(directory, 4, 1, 100), *before]
    start = prefix + struct.pack(f"{order}IH", 8, len(first))
    start += b"".join(struct.pack(f"{order}HHII", *tag) for tag in first)
    start = start.ljust(100, b"\0") + struct.pack(f"{order}H", tags if entries is None else entries)
    size = len(start) + 12 * tags
    return start + b"".join(struct.pack(f"{order}HHII", 1_000 + tag, 7, size, 0) for tag in range(tags)) + pad


def interoperability_block():
    """EXIF whose Exif directory names another directory, of tags that each name the whole block."""
    whole = exif_block(tags=301)
    at = len(whole) - 301 * 12 - 2  # the Exif directory gets one tag, and the 300 behind it are those of the other one
    inner = struct.pack("<HHHIII", 1, 40_965, 4, 1, at + 18, 0)
    rest = struct.pack("<H", 300) + b"".join(struct.pack("<HHII", 1_000 + tag, 7, 3_000, 0) for tag in range(300))
    return whole[:at] + inner + rest + bytes(8)


@avif
@pytest.mark.parametrize(
    "block",
    [
        exif_block(),
        exif_block(b"II\0*"),
        exif_block(b"MM\0*", order=">"),
        exif_block(b"MM\0+", order=">"),
        exif_block(b"MM*\0", order=">"),
        exif_block(directory=34_853),  # GPS
        interoperability_block(),
        exif_block(entries=65_535),
        exif_block(before=[(40_000, 7, 2**31, 2**31)]),
        exif_block(before=[(34_665, 4, 1, 60)] * 8),
        b"II*\0" + struct.pack("<IHHHII", 8, 1, 40_000, 7, 300_000, 30) + bytes(300_030),
    ],
)
def test_the_exif_of_an_avif_that_is_turned_is_bounded(block):
    with pytest.raises(BadInput, match=TAGS):
        load_image(turned_avif(block))


@avif
def test_an_avif_with_many_blocks_like_exif_is_refused():
    """Only the first ones are checked, so that others could hide behind them."""
    data = turned_avif(exif_block(tags=0))
    assert load_image(data + b"II*\0" * 7).size == (6, 8)
    with pytest.raises(BadInput, match=TAGS):
        load_image(data + b"II*\0" * 8)


def test_a_picture_whose_pixels_are_in_many_pieces_is_refused(monkeypatch):
    data = png(8, 8, chunk(b"IDAT", b"") * 5_000)
    assert load_image(data).size == (8, 8)
    monkeypatch.setattr(pixels, "MAX_DECODING_READS", 1_000)
    with pytest.raises(BadInput, match=TINY):
        load_image(data)


@avif
def test_an_avif_with_usual_exif_is_turned():
    assert load_image(turned_avif(exif_block(tags=0, pad=bytes(20_000)))).size == (6, 8)


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("at_least", [None, 64])
def test_hostile_files_get_one_message_at_once(tmp_path, name, at_least):
    data, sentence = HOSTILE[name]
    if name == "jpeg too large" and at_least:
        sentence = "12,000 × 12,000 pixels; a JPEG may have at most 120 megapixels"
    path = tmp_path / "picture.jpg"
    path.write_bytes(data)
    started = time.perf_counter()
    for source in (data, path, str(path)):
        with pytest.raises(BadInput, match=sentence) as caught:
            load_image(source, at_least)
        assert str(caught.value).endswith(".")
        assert "\n" not in str(caught.value)
    assert time.perf_counter() - started < 20


def test_bombs_are_refused_without_decoding(monkeypatch):
    def never(*_):
        raise AssertionError("decoded")

    monkeypatch.setattr(Image.core, "new", never)
    for name in HOSTILE:
        if "bomb" in name and "text" not in name:
            with pytest.raises(BadInput, match="megapixels"):
                load_image(HOSTILE[name][0])


@pytest.mark.parametrize("source", [None, 3, [], {}, object()])
def test_invalid_sources_are_refused(source):
    with pytest.raises(BadInput, match=r"must be a path, the bytes of a file, .*, not (None|int|list|dict|object)\.$"):
        load_image(source)


# --- what is not supported is called so ---

NAMED = {
    "JPEG 2000": [b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51"],
    "JPEG XL": [b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n"],
    "ICO": [encode(Image.new("RGB", (16, 16)), "ICO")],
    "EPS": [encode(Image.new("RGB", (16, 16)), "EPS")],
    "PPM": [encode(Image.new("RGB", (16, 16)), "PPM"), b"P2\n# grey\n1 1\n255\n0\n"],
    "QOI": [b"qoif"],
    "Photoshop's PSD": [b"8BPS\0\1"],
    "DICOM": [bytes(128) + b"DICM"],
    "HTML": [b"<!DOCTYPE html><html></html>", b"\n<html>"],
    "A compressed file": [b"\x1f\x8b\x08"],
    "A camera's raw file": [b"II*\0\x10\0\0\0CR\2\0", b"IIU\0", b"FUJIFILMCCD-RAW", b"\0\0\0\x18ftypcrx "],
    "A video": [b"\0\0\0\x18ftypisom", b"\x1aE\xdf\xa3"],
    "BigTIFF in big-endian order": [b"MM\0+\0\x08\0\0"],
    "PNG for iPhone apps": [b"\x89PNG\r\n\x1a\n\0\0\0\4CgBI"],
    "A numpy file": [b"\x93NUMPY"],
    "JPEG XR": [b"II\xbc"],
    "GIMP's XCF": [b"gimp xcf"],
    "OpenEXR": [b"v/1\1"],
    "Radiance HDR": [b"#?RADIANCE\n", b"#?RGBE\n"],
    "FITS": [b"SIMPLE  ="],
    "NIfTI": [bytes(344) + b"n+1\0", bytes(344) + b"ni1\0"],
    "HDF5": [b"\x89HDF\r\n"],
}


@pytest.mark.parametrize(("kind", "start"), [(kind, start) for kind, starts in NAMED.items() for start in starts])
def test_formats_that_are_known_by_name(kind, start):
    with pytest.raises(BadInput, match=f"^{kind} cannot be read here; save the picture as one of JPEG, PNG"):
        load_image(start + bytes(200))


@pytest.mark.parametrize("is_installed", [True, False])
def test_the_way_to_decode_a_heic_is_named_where_training_reads_them(is_installed, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name if is_installed else None)
    with pytest.raises(BadInput) as caught:
        load_image(b"\0\0\0\x18ftypheic" + bytes(200))
    way_on = " In Python, give it decoded, as pillow_heif.open_heif(path).to_pillow()."
    assert str(caught.value).endswith(way_on) == is_installed


def test_a_decoded_heic_is_read(tmp_path):
    pillow_heif = pytest.importorskip("pillow_heif")
    pillow_heif.from_pillow(Image.new("RGB", (64, 48), "red")).save(tmp_path / "photo.HEIC")
    assert load_image(pillow_heif.open_heif(tmp_path / "photo.HEIC").to_pillow()).size == (64, 48)


def float_tiff(samples, bits):
    """A TIFF of 8 × 8 zeros, floats."""
    size = 64 * samples * bits // 8
    tags = [
        (258, 3, 1, bits),
        (262, 4, 1, 2 if samples == 3 else 1),
        (277, 4, 1, samples),
        (279, 4, 1, size),
        (339, 3, 1, 3),
    ]
    basic = [(256, 4, 1, 8), (257, 4, 1, 8), (259, 4, 1, 1), (273, 4, 1, 1_000)]
    entries = sorted(basic + tags)
    start = b"II*\0" + struct.pack("<IH", 8, len(entries))
    return (start + b"".join(struct.pack("<HHII", *entry) for entry in entries)).ljust(1_000 + size, b"\0")


UNSUPPORTED = {
    "floats in colour": float_tiff(3, 32),
    "floats of 64 bits": float_tiff(1, 64),
    "floats of 16 bits": float_tiff(1, 16),
    "an unknown compression": tiff([]).replace(
        struct.pack("<HHII", 259, 4, 1, 1), struct.pack("<HHII", 259, 4, 1, 34_887)
    ),
    "colours of 16 bits in planes": tiff([(284, 4, 1, 2)]).replace(
        struct.pack("<HHII", 258, 4, 1, 8), struct.pack("<HHII", 258, 4, 1, 16)
    ),
}


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_tiffs_of_unusual_kinds(name):
    with pytest.raises(BadInput, match=OTHER_KIND):
        load_image(UNSUPPORTED[name])


def test_a_jpeg_of_12_bits():
    at = PHOTO.index(b"\xff\xc0") + 4
    with pytest.raises(BadInput, match="This kind of JPEG cannot be read here"):
        load_image(PHOTO[:at] + b"\x0c" + PHOTO[at + 1 :])


@pytest.mark.parametrize(
    "tags", [[(50_706, 1, 4, 0x401)], [(254, 4, 1, 1), (330, 4, 1, 500)], [(262, 3, 1, 32_803)], [(262, 3, 1, 34_892)]]
)
def test_a_cameras_raw_file_is_not_its_preview(tags):
    data = tiff(tags)
    if tags[0][0] == 262:
        data = data.replace(struct.pack("<HHII", 262, 4, 1, 1), b"", 1)
        data = data[:8] + struct.pack("<H", 9) + data[10:]
    with pytest.raises(BadInput, match=r"^A camera's raw file cannot be read here"):
        load_image(data)


@pytest.mark.parametrize("name", ["a.dng", "a.NEF", "a.arw"])
def test_a_tiff_with_the_ending_of_raw_files(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(encode(photo(16, 16), "TIFF"))
    with pytest.raises(BadInput, match=r"^A camera's raw file cannot be read here"):
        load_image(path)


# --- as other code hands pictures over ---


def test_bytes_and_open_files(tmp_path):
    expected = load_image(PHOTO).image.tobytes()
    path = tmp_path / "cat 1.jpg"
    path.write_bytes(PHOTO)
    written = io.BytesIO()
    written.write(PHOTO)  # and left at its end
    with path.open("rb") as file, path.open("rb", buffering=0) as unbuffered:
        for source in (bytearray(PHOTO), memoryview(PHOTO), io.BytesIO(PHOTO), written, file, unbuffered):
            assert read_picture_size(source) == (160, 120)
            assert estimate_decoding_cost(source) == 160 * 120
            assert load_image(source).image.tobytes() == expected


def test_a_stream_that_cannot_go_back():
    class Stream:
        def __init__(self):
            self.left = PHOTO

        def read(self, _):
            part, self.left = self.left[:7_000], self.left[7_000:]
            return part

    assert load_image(Stream()).size == (160, 120)


def test_open_files_that_are_no_picture(tmp_path):
    path = tmp_path / "cat.jpg"
    path.write_bytes(PHOTO)
    with path.open(encoding="utf-8") as file, pytest.raises(BadInput, match="open it in binary mode"):
        load_image(file)
    with pytest.raises(BadInput, match="open it in binary mode"):
        load_image(io.StringIO("text"))
    closed = io.BytesIO(PHOTO)
    closed.close()
    with pytest.raises(BadInput, match="cannot be read: I/O operation on closed file"):
        load_image(closed)
    with pytest.raises(BadInput, match="file is empty"):
        load_image(io.BytesIO())


def test_an_endless_stream_is_not_read_to_its_end():
    with open("/dev/zero", "rb") as file, pytest.raises(BadInput, match="larger than 25 MB"):
        load_image(file)


def test_paths_as_people_write_them(tmp_path, monkeypatch):
    path = tmp_path / "my cat.jpg"
    path.write_bytes(PHOTO)
    monkeypatch.setenv("HOME", str(tmp_path))
    for source in ("~/my cat.jpg", path.as_uri(), f"file://localhost{path.as_uri()[7:]}", f"FILE://{path}"):
        assert load_image(source).size == (160, 120)
    with pytest.raises(BadInput, match="on another machine"):
        load_image("file://server/cat.jpg")


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("https://example.org/cat.jpg", "Web addresses are not fetched; download the picture"),
        ("HTTP://127.0.0.1/cat.jpg", "Web addresses are not fetched"),
        ("data:image/png;base64,iVBORw0KGgo=", "Data URLs are not read here; decode the base64"),
    ],
)
def test_text_that_is_not_a_path_is_refused(source, sentence):
    with pytest.raises(BadInput, match=sentence):
        load_image(source)


def test_arrays():
    colours = np.asarray(photo(48, 32))
    assert np.array_equal(np.asarray(load_image(colours).image), colours)
    assert np.array_equal(np.asarray(load_image(colours[..., ::-1]).image), colours[..., ::-1])
    assert np.array_equal(np.asarray(load_image(colours[..., 0]).image)[..., 2], colours[..., 0])
    assert read_picture_size(colours) == (48, 32)


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [
        ((8, 8, 3), np.float32),
        ((3, 8, 8), np.uint8),
        ((8, 8, 5), np.uint8),
        ((8, 8), np.uint16),
        ((8,), np.uint8),
        ((), np.uint8),
    ],
)
def test_arrays_that_are_no_picture(shape, dtype):
    with pytest.raises(
        BadInput, match=r"An array must be uint8 of shape \(height, width, 3\), in the order red, green, blue"
    ):
        load_image(np.zeros(shape, dtype))


@pytest.mark.parametrize("shape", [(0, 5, 3), (5, 0), (1, 51, 3), (6_000, 4_001)])
def test_arrays_have_the_same_limits(shape):
    with pytest.raises(BadInput):
        load_image(np.broadcast_to(np.uint8(0), shape))


def test_paths_that_are_no_file(tmp_path):
    with pytest.raises(BadInput, match=r"There is no file 'cat\.jpg'"):
        load_image(tmp_path / "cat.jpg")
    with pytest.raises(BadInput, match="is not a file"):
        load_image(tmp_path)
    with pytest.raises(BadInput, match="There is no file"):
        load_image("cat\0.jpg")
    with pytest.raises(BadInput, match=r"too long|There is no file"):
        load_image("x" * 5_000)
    with pytest.raises(BadInput, match="is not a file"):
        load_image("/dev/zero")


@pytest.mark.parametrize("size", [(0, 5), (1, 51), (6_000, 4_001)])
def test_pil_images_have_the_same_limits(size):
    with pytest.raises(BadInput):
        load_image(Image.new("L", size))


def test_a_lazy_pil_image_that_is_damaged():
    with pytest.raises(BadInput, match=DAMAGED):
        load_image(Image.open(io.BytesIO(PHOTO[: len(PHOTO) // 2])))


def test_damage_anywhere_is_a_picture_or_a_sentence():
    rng = np.random.default_rng(0)
    picture = photo(48, 32)
    kinds = ["JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP"] + ["AVIF"] * features.check("avif")
    for kind in kinds:
        whole = encode(picture, kind)
        for _ in range(60):
            data = bytearray(whole)
            for _ in range(rng.integers(1, 6)):
                data[rng.integers(min(len(data), 400))] = rng.integers(256)
            try:
                assert load_image(bytes(data), 16).image.mode == "RGB"
            except BadInput:
                continue


# --- formats and modes ---


@pytest.mark.parametrize(
    ("kind", "options", "tolerance"),
    [
        ("PNG", {}, 0),
        ("BMP", {}, 0),
        ("TIFF", {}, 0),
        ("TIFF", {"compression": "tiff_lzw"}, 0),
        ("TIFF", {"compression": "jpeg"}, 8),
        ("WEBP", {"lossless": True}, 0),
        ("WEBP", {}, 8),
        ("JPEG", {}, 8),
        ("JPEG", {"progressive": True}, 8),
        ("MPO", {"save_all": True, "append_images": [Image.new("RGB", (160, 120))]}, 8),
        ("GIF", {}, 20),
        pytest.param("AVIF", {}, 8, marks=avif),
    ],
)
def test_formats(tmp_path, kind, options, tolerance):
    picture = photo(160, 120)
    data = encode(picture, kind, **options)
    path = tmp_path / "picture"
    path.write_bytes(data)
    results = [load_image(source) for source in (data, path, str(path), Image.open(io.BytesIO(data)))]
    for result in results:
        assert result.size == (160, 120)
        assert result.image.tobytes() == results[0].image.tobytes()
    assert mean_difference(results[0].image, picture) <= tolerance


def mean_difference(a, b):
    assert a.size == b.size
    return np.abs(np.asarray(a, int) - np.asarray(b, int)).mean()


def array(values, dtype):
    return Image.fromarray(np.array([values], dtype=dtype))


def palette(transparency=None):
    image = Image.new("P", (3, 1))
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    image.putdata([0, 1, 2])
    return encode(image, **({} if transparency is None else {"transparency": transparency}))


def grey(*values):
    return [(value,) * 3 for value in values]


MODES = {
    "1": (Image.new("1", (2, 1), 1), grey(255, 255)),
    "L": (array([0, 77, 255], np.uint8), grey(0, 77, 255)),
    "L with a transparent value": (encode(array([0, 77], np.uint8), transparency=77), grey(0, 255)),
    "LA": (Image.new("LA", (1, 1), (0, 51)), grey(204)),
    "La": (Image.new("LA", (1, 1), (0, 51)).convert("La"), grey(204)),
    "RGB with a transparent value": (encode(Image.new("RGB", (1, 1), RED), transparency=RED), [WHITE]),
    "RGBA opaque": (encode(Image.new("RGBA", (1, 1), (1, 2, 3, 255))), [(1, 2, 3)]),
    "RGBA half": (encode(Image.new("RGBA", (1, 1), (255, 0, 0, 128))), [(255, 127, 127)]),
    "RGBA clear": (encode(Image.new("RGBA", (1, 1), (9, 9, 9, 0))), [WHITE]),
    "RGBa": (Image.new("RGBA", (1, 1), (255, 0, 0, 51)).convert("RGBa"), [(255, 204, 204)]),
    "RGBX": (Image.new("RGBX", (1, 1), (1, 2, 3, 4)), [(1, 2, 3)]),
    "P": (palette(), [RED, (0, 255, 0), (0, 0, 255)]),
    "P, one colour clear": (palette(1), [RED, WHITE, (0, 0, 255)]),
    "P, alpha by colour": (palette(bytes([255, 0, 128])), [RED, WHITE, (127, 127, 255)]),
    "PA": (Image.new("RGBA", (1, 1), (9, 9, 9, 0)).convert("PA"), [WHITE]),
    "CMYK": (Image.new("CMYK", (1, 1), (0, 255, 255, 0)), [RED]),
    "CMYK TIFF": (encode(Image.new("CMYK", (1, 1), (0, 255, 255, 0)), "TIFF"), [RED]),
    "YCbCr": (Image.new("RGB", (1, 1), (128, 128, 128)).convert("YCbCr"), grey(128)),
    "HSV": (Image.new("HSV", (1, 1), (0, 255, 255)), [RED]),
    "LAB": (Image.new("LAB", (1, 1), (255, 128, 128)), [WHITE]),
    "I;16 PNG": (encode(array([0, 257, 32_896, 65_535], np.uint16)), grey(0, 1, 128, 255)),
    "I;16 TIFF": (encode(array([0, 257, 32_896, 65_535], np.uint16), "TIFF"), grey(0, 1, 128, 255)),
    "I;16B TIFF": (encode(array([0, 257, 65_535], ">u2"), "TIFF"), grey(0, 1, 255)),
    "I;16 made from 8 bits, by 256": (array([0, 256, 512], np.uint16), grey(0, 1, 2)),
    "I;16 made from 8 bits, by 257": (array([0, 257, 514], np.uint16), grey(0, 1, 2)),
    "I;16 of 8 bits": (array([0, 100, 255], np.uint16), grey(0, 100, 255)),
    "I;16 of 10 bits": (array([0, 256, 1_023], np.uint16), grey(0, 64, 255)),
    "I;16 of 12 bits": (array([0, 1_000, 2_047, 4_095], np.uint16), grey(0, 62, 127, 255)),
    "I;16 of 14 bits": (array([0, 4_096, 16_383], np.uint16), grey(0, 64, 255)),
    "I;16 of 16 bits, dark": (array([0, 256, 16_384], np.uint16), grey(0, 1, 64)),
    "I;16 PNG of 12 bits": (encode(array([0, 1_000, 2_047, 4_095], np.uint16)), grey(0, 62, 127, 255)),
    "I;16 TIFF of 12 bits": (encode(array([0, 1_000, 2_047, 4_095], np.uint16), "TIFF"), grey(0, 62, 127, 255)),
    "I;16B TIFF of 12 bits": (encode(array([0, 2_047, 4_095], ">u2"), "TIFF"), grey(0, 127, 255)),
    "I;16 TIFF that says 12 bits": (
        encode(array([0, 500, 1_000], np.uint16), "TIFF", tiffinfo={281: 4_095}),
        grey(0, 31, 62),
    ),
    "I;16 TIFF that says 16 bits": (
        encode(array([0, 500, 1_000], np.uint16), "TIFF", tiffinfo={281: 65_535}),
        grey(0, 125, 249),
    ),
    "I;16 TIFF whose 0 is white": (
        encode(array([0, 1_000, 4_095], np.uint16), "TIFF").replace(
            struct.pack("<HHI", 262, 3, 1) + b"\1", struct.pack("<HHI", 262, 3, 1) + b"\0"
        ),
        grey(255, 193, 0),
    ),
    "I of 12 bits": (array([0, 1_000, 4_095], np.int32), grey(0, 62, 255)),
    "I TIFF of 32 bits, unsigned": (
        encode(array([0, 1_000_000_000, -1], np.int32), "TIFF").replace(
            struct.pack("<HHIH", 339, 3, 1, 2), struct.pack("<HHIH", 339, 3, 1, 1)
        ),
        grey(0, 59, 255),
    ),
    "F of 12 bits": (array([0, 1_000, 4_095], np.float32), grey(0, 62, 255)),
    "F a little above 1": (array([0, 0.51, 1.02], np.float32), grey(0, 128, 255)),
    "F of highlights": (array([0, 1, 8], np.float32), grey(0, 32, 255)),
    "I of 8 bits": (array([0, 100, 255], np.int32), grey(0, 100, 255)),
    "I of 16 bits": (encode(array([0, 32_896, 65_535], np.int32), "TIFF"), grey(0, 128, 255)),
    "I of 32 bits": (array([-(2**31), 0, 2**31 - 1], np.int32), grey(0, 128, 255)),
    "F to 1": (encode(array([0, 0.5, 1], np.float32), "TIFF"), grey(0, 128, 255)),
    "F to 255": (array([0, 100, 255], np.float32), grey(0, 100, 255)),
    "F of any range": (array([-3e38, 0, 3e38], np.float32), grey(0, 128, 255)),
    "F not finite": (array([np.nan, 1, np.inf, -np.inf], np.float32), grey(0, 255, 255, 0)),
    "F without a number": (array([np.nan, np.nan], np.float32), grey(0, 0)),
    "F all the same": (array([-5, -5], np.float32), grey(0, 0)),
}


@pytest.mark.parametrize("name", MODES)
def test_modes(name):
    source, expected = MODES[name]
    result = load_image(source).image
    assert result.mode == "RGB"
    pixels = [tuple(pixel) for pixel in np.asarray(result).reshape(-1, 3).tolist()]
    assert np.abs(np.subtract(pixels, expected)).max() <= (2 if name in ("LAB", "La", "RGBa") else 0), pixels


# --- colours of 16 bits ---


def png16(values, interlace=0):
    """A PNG of 16 bits: grey and alpha, or three or four colours, uint16 (height, width, bands)."""
    height, width, bands = values.shape
    header = struct.pack(">IIBBBBB", width, height, 16, {2: 4, 3: 2, 4: 6}[bands], 0, 0, interlace)
    raw = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def tiff16(values, order="<", compression=1):
    """A TIFF of 16 bits: uint16 (height, width, bands)."""
    height, width, bands = values.shape
    pixels = values.astype(order + "u2").tobytes()
    if compression == 8:
        pixels = zlib.compress(pixels)
    entries = [
        (256, 4, 1, width), (257, 4, 1, height), (258, 3, bands, 200), (259, 3, 1, compression),
        (262, 3, 1, 5 if bands == 4 else 2),
        (273, 4, 1, 300), (277, 3, 1, bands), (278, 4, 1, height), (279, 4, 1, len(pixels)),
    ]  # fmt: skip
    start = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}IH", 8, len(entries))
    for tag, kind, count, value in entries:
        packed = struct.pack(f"{order}HHI", tag, kind, count)
        short = kind == 3 and count == 1
        start += packed + (struct.pack(f"{order}HH", value, 0) if short else struct.pack(f"{order}I", value))
    return (
        (start + bytes(4)).ljust(200, b"\0") + struct.pack(f"{order}{bands}H", *[16] * bands).ljust(100, b"\0") + pixels
    )


DEEP = np.random.default_rng(0).integers(0, 4_096, (70, 90, 3)).astype(np.uint16)
DEEP[0, 0] = 4_095


@pytest.mark.parametrize("write", [
    png16, tiff16, lambda values: tiff16(values, ">"), lambda values: tiff16(values, compression=8),
    lambda values: tiff16(values, ">", 8),
])  # fmt: skip
@pytest.mark.parametrize(("values", "white"), [
    (DEEP, 4_095), (DEEP // 4, 1_023), (DEEP * 4, 16_383), (DEEP // 16, 255), (DEEP * 16, 65_535),
    (DEEP // 64 * 257, 65_535), (DEEP // 64 * 256, 65_535),
])  # fmt: skip
def test_colours_of_fewer_bits_than_their_file(write, values, white):
    found = np.asarray(load_image(write(values)).image, int)
    assert np.abs(found - values * (255 / white)).max() <= 1


def test_a_cmyk_tiff_of_fewer_bits():
    ink = np.zeros((70, 90, 4), np.uint16)
    ink[..., 1:3] = 4_095
    assert np.asarray(load_image(tiff16(ink)).image)[30, 30].tolist() == list(RED)


def test_transparency_of_fewer_bits():
    alpha = np.zeros((70, 90, 1), np.uint16)
    alpha[:, :45] = 4_095
    found = np.asarray(load_image(png16(np.concatenate([DEEP, alpha], axis=2))).image, int)
    assert np.abs(found[:, :45] - DEEP[:, :45] * (255 / 4_095)).max() <= 1
    assert (found[:, 45:] == 255).all()
    found = np.asarray(load_image(png16(np.concatenate([DEEP[..., :1], alpha], axis=2))).image, int)
    assert np.abs(found[:, :45] - DEEP[:, :45, :1] * (255 / 4_095)).max() <= 1
    assert (found[:, 45:] == 255).all()


def test_colours_of_16_bits_cost_four_times():
    assert estimate_decoding_cost(png16(DEEP)) == estimate_decoding_cost(tiff16(DEEP)) == 4 * 70 * 90


# --- BigTIFF ---


def big_tiff(tags=(), size=2_000, entries=None, first=16):
    """A BigTIFF of 8 × 8 in grey, all 77, with more tags: (tag, type, count, value)."""
    basic = [(256, 8), (257, 8), (258, 8), (259, 1), (262, 1), (273, 1_000), (277, 1), (278, 8), (279, 64)]
    replaced = {tag for tag, *_ in tags}
    found = sorted([(tag, 4, 1, value) for tag, value in basic if tag not in replaced] + list(tags))
    start = b"II+\0\x08\0\0\0" + struct.pack("<QQ", first, len(found) if entries is None else entries)
    data = (start + b"".join(struct.pack("<HHQQ", *entry) for entry in found)).ljust(1_000, b"\0") + b"\x4d" * 64
    return data.ljust(size, b"\0")


def test_a_big_tiff():
    assert np.unique(np.asarray(load_image(big_tiff()).image)).tolist() == [77]
    assert load_image(big_tiff([(274, 3, 1, 6)])).size == (8, 8)
    assert np.unique(np.asarray(load_image(big_tiff([(273, 16, 1, 1_000)])).image)).tolist() == [77]


@pytest.mark.parametrize(("data", "sentence"), [
    (big_tiff([(256, 4, 1, 9_000), (257, 4, 1, 9_000)]), PIXELS),
    (big_tiff([(256, 16, 1, 2**62), (257, 16, 1, 2**62)]), PIXELS),
    (big_tiff(entries=2**62), DAMAGED),
    (big_tiff(entries=65_536, size=1_400_000), DAMAGED),
    (big_tiff(first=2**63), DAMAGED),
    (big_tiff(first=1_999), DAMAGED),
    (big_tiff([(40_000, 7, 2**60, 500)]), DAMAGED),
    (big_tiff([(40_000, 16, 2**61, 500)]), DAMAGED),
    (big_tiff([(40_000, 7, 100, 2**63)]), DAMAGED),
    (big_tiff([(40_000 + i, 7, 1_000_000, 900) for i in range(40)], 1_001_000), TAGS),
    (big_tiff([(40_000, 16, 250_000, 500)], 2_001_000), TAGS),
    (big_tiff([(322, 16, 1, 30_000), (323, 16, 1, 30_000)]), TAGS),
    (big_tiff([(322, 16, 1, 2**62), (323, 4, 1, 16)]), TAGS),
    (big_tiff([(322, 4, 2, 30_000)]), TAGS),
    (b"II+\0", DAMAGED),
    (b"II+\0\x08\0\0\0", DAMAGED),
])  # fmt: skip
def test_a_big_tiff_is_bounded_like_any(data, sentence):
    for ask in (load_image, read_picture_size, estimate_decoding_cost):
        with pytest.raises(BadInput, match=sentence):
            ask(data)


def test_a_big_tiff_that_is_cut_off():
    with pytest.raises(BadInput, match=DAMAGED):
        load_image(big_tiff()[:1_010])


def test_a_cmyk_jpeg_as_adobe_writes_it():
    red = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    pixel = np.asarray(load_image(encode(red, "JPEG", quality=95)).image)[8, 8]
    assert np.abs(pixel.astype(int) - RED).max() <= 3


@pytest.mark.parametrize(("kind", "options"), [("GIF", {}), ("PNG", {}), ("WEBP", {"lossless": True})])
def test_of_an_animation_the_first_frame(kind, options):
    red, blue = (Image.new("RGB", (8, 8), colour) for colour in ("red", "blue"))
    data = encode(red, kind, save_all=True, append_images=[blue], **options)
    assert np.asarray(load_image(data).image)[4, 4].tolist() == list(RED)


def test_a_colour_profile_is_ignored():
    from PIL import ImageCms

    image = photo(16, 16)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    for used in (profile, b"nonsense"):
        assert load_image(encode(image, icc_profile=used)).image.tobytes() == image.tobytes()


def test_one_pixel_is_a_picture():
    assert load_image(encode(Image.new("RGB", (1, 1), RED))).resize((4, 4)).getpixel((3, 3)) == RED


def test_the_source_is_left_as_it_is():
    image = Image.new("RGB", (4, 4), RED)
    image.info["comment"] = "mine"
    load_image(image).image.putpixel((0, 0), WHITE)
    assert image.getpixel((0, 0)) == RED
    assert image.info == {"comment": "mine"}


# --- orientation ---


def exif(orientation):
    result = Image.Exif()
    result[ExifTags.Base.Orientation] = orientation
    return result


STORED = {  # how an upright picture lies in the file, by EXIF orientation
    1: lambda upright: upright,
    2: np.fliplr,
    3: lambda upright: np.rot90(upright, 2),
    4: np.flipud,
    5: lambda upright: upright.swapaxes(0, 1),
    6: lambda upright: np.rot90(upright, 1),
    7: lambda upright: np.rot90(upright, 2).swapaxes(0, 1),
    8: lambda upright: np.rot90(upright, -1),
}


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("PNG", {}),
        ("JPEG", {"quality": 95}),
        ("WEBP", {"lossless": True}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        pytest.param("AVIF", {"quality": 95}, marks=avif),
    ],
)
def test_orientation(orientation, kind, options):
    upright = np.zeros((32, 48, 3), np.uint8)
    upright[:16, :24] = RED
    upright[16:, :24] = (0, 0, 255)
    upright[:16, 24:] = (0, 255, 0)
    stored = Image.fromarray(np.ascontiguousarray(STORED[orientation](upright)))
    data = encode(stored, kind, exif=exif(orientation), **options)
    for source in (data, Image.open(io.BytesIO(data))):
        result = load_image(source)
        assert result.size == result.image.size == (48, 32)
        assert not result.image.getexif()
        pixels = np.asarray(result.image, int)
        for y, x in [(8, 12), (24, 12), (8, 36), (24, 36)]:
            assert np.abs(pixels[y, x] - upright[y, x]).max() <= 12


@pytest.mark.parametrize(
    "block",
    [
        b"",
        b"Exif",
        b"II*\0",
        b"MM\0*\xff\xff\xff\xff",
        b"II*\0\x08\0\0\0\xff\xff" + bytes(20),
        exif(0).tobytes(),
        exif(99).tobytes(),
        exif(6).tobytes()[:-8],
    ],
)
def test_damaged_exif_does_no_harm(block):
    block = b"Exif\0\0" + block.removeprefix(b"Exif\0\0")
    plain = load_image(PHOTO).image.tobytes()
    segment = b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block
    assert load_image(PHOTO[:2] + segment + PHOTO[2:]).image.tobytes() == plain


# --- reduced decoding ---


@pytest.mark.parametrize(
    ("size", "at_least", "decoded"),
    [
        ((1600, 1200), 150, (200, 150)),
        ((1600, 1200), 151, (400, 300)),
        ((1600, 1200), 600, (800, 600)),
        ((1600, 1200), 601, (1600, 1200)),
        ((1600, 1200), 5000, (1600, 1200)),
        ((1601, 1203), 150, (201, 151)),
        ((1200, 1600), 1, (150, 200)),
    ],
)
def test_the_smallest_scale_that_will_do(size, at_least, decoded):
    picture = load_image(encode(photo(*size), "JPEG"), at_least)
    assert picture.image.size == decoded
    assert picture.size == size


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize(("size", "tolerance"), [((1600, 1200), 1), ((1459, 1811), 2), ((2001, 3007), 2)])
@pytest.mark.parametrize("side", [180, 224])
def test_reduced_decoding_looks_the_same(orientation, size, tolerance, side):
    """Resized for a model, a reduced decode differs from a whole one by 2 of 255 at most, on average."""
    data = encode(photo(*size), "JPEG", quality=90, exif=exif(orientation))
    whole, reduced = load_image(data), load_image(data, side)
    assert reduced.size == whole.size == (size if orientation < 5 else size[::-1])
    assert reduced.image.width < whole.image.width / 3
    for shape in (fit_size(whole.size, side * 3 // 2), (side, side)):
        assert mean_difference(whole.resize(shape), reduced.resize(shape)) < tolerance


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_decoded_at_the_very_size(mode):
    """Where nothing is left to resize, libjpeg's own average stands for ours; colours move a little more."""
    data = encode(photo(1600, 1200).convert(mode), "JPEG", quality=90)
    whole, reduced = load_image(data), load_image(data, 150)
    assert reduced.image.size == (200, 150)
    assert mean_difference(whole.resize((200, 150)), reduced.resize((200, 150))) < 3


def test_a_jpeg_may_be_larger_where_it_is_reduced():
    with pytest.raises(BadInput, match="10,000 × 10,000 " + PIXELS):
        load_image(jpeg(10_000, 10_000), 5_000)  # 25 megapixels when reduced
    data = encode(Image.new("L", (6_000, 5_000), 70), "JPEG")
    with pytest.raises(BadInput, match=PIXELS):
        load_image(data)
    with pytest.raises(BadInput, match=PIXELS):
        load_image(data, 4_000)  # for which it has to be decoded whole
    assert load_image(data, 224).image.size == (750, 625)


def test_a_progressive_jpeg_may_not_as_it_is_kept_whole():
    with pytest.raises(BadInput, match="6,000 × 5,000 pixels; a progressive JPEG may have at most 24 megapixels"):
        load_image(jpeg(6_000, 5_000, progressive=True), 224)


def test_a_film_after_the_picture_is_no_scan():
    film = np.random.default_rng(0).integers(0, 256, 1_000_000, dtype=np.uint8).tobytes() + b"\xff\xda\0\2" * 500
    assert load_image(PHOTO + film).image.tobytes() == load_image(PHOTO).image.tobytes()


# --- resizing, and numbers for a model ---


def test_resizing_keeps_what_it_says():
    picture = load_image(photo(301, 200))
    assert picture.resize((64, 32)).size == (64, 32)
    assert picture.thumbnail(150).size == fit_size(picture.size, 150) == (150, 100)
    assert picture.thumbnail(5000).size == picture.size
    assert load_image(photo(200, 4)).thumbnail(20).size == (20, 1)
    with pytest.raises(ValueError, match="longest"):
        picture.thumbnail(0)


def test_to_array():
    image = Image.new("RGB", (3, 2), (255, 0, 51))
    values = to_array(image, mean=[0.5, 0.5, 0], std=[0.5, 0.25, 1])
    assert values.shape == (3, 2, 3)
    assert values.dtype == np.float32
    assert values.flags.c_contiguous
    assert values[:, 1, 2] == pytest.approx([1, -2, 0.2])
    with pytest.raises(ValueError, match="must be RGB, not L"):
        to_array(Image.new("L", (2, 2)), [0] * 3, [1] * 3)


@pytest.mark.parametrize("at_least", [0, -1])
def test_at_least_one_pixel(at_least):
    for ask in (load_image, read_picture_size, estimate_decoding_cost):
        with pytest.raises(ValueError, match="at_least must be 1 or more"):
            ask(PHOTO, at_least)


SCANS = count_scans(jpeg(400, 300, progressive=True))


@pytest.mark.parametrize(
    ("source", "at_least", "cost"),
    [
        (jpeg(4_000, 3_000), 224, 12_000_000 // 8),
        (jpeg(4_000, 3_000), 2_000, 12_000_000),  # which it has to be decoded whole for
        (jpeg(4_000, 3_000), None, 12_000_000),
        (jpeg(4_000, 3_000, progressive=True), None, 12_000_000 * SCANS // 30),
        (jpeg(4_000, 3_000, progressive=True), 224, 12_000_000 * SCANS // 30),  # reduced, but all scans are read
        (png(4_000, 3_000), 224, 12_000_000),
        (encode(Image.fromarray(np.zeros((3_000, 4_000), np.uint16))), 224, 24_000_000),
    ],
)
def test_size_and_cost_are_known_before_anything_is_decoded(monkeypatch, source, at_least, cost):
    monkeypatch.setattr(Image.core, "new", None)
    assert estimate_decoding_cost(source, at_least) == cost
    assert read_picture_size(source, at_least) == (4_000, 3_000)


def test_the_size_of_a_pil_image():
    assert read_picture_size(Image.new("L", (400, 300))) == (400, 300)
    with pytest.raises(BadInput, match="1 × 51 pixels; the long side may be at most 50 times"):
        read_picture_size(Image.new("L", (1, 51)))


@pytest.mark.parametrize("name", ["text", "png bomb", "jpeg too large", "jpeg of hidden scans", "tiff of huge tiles"])
def test_a_picture_that_is_refused_has_no_cost(name):
    for ask in (read_picture_size, estimate_decoding_cost):
        with pytest.raises(BadInput, match=HOSTILE[name][1]):
            ask(HOSTILE[name][0])


def test_two_hundred_photos_of_twelve_megapixels_are_one_request():
    assert 200 * estimate_decoding_cost(jpeg(4_000, 3_000), 224) <= LIMITS.request_pixels


def test_threads_may_share_a_pil_image_that_is_not_decoded_yet():
    class TwoReaders(io.BytesIO):
        """A file whose reader waits until another thread reads, too, or a moment."""

        def read(self, *size):
            if decoding.is_set():
                with contextlib.suppress(threading.BrokenBarrierError):
                    barrier.wait(0.05)
            return super().read(*size)

    decoding, barrier = threading.Event(), threading.Barrier(2)
    picture = photo(320, 240)
    image = Image.open(TwoReaders(encode(picture)))
    decoding.set()
    with ThreadPoolExecutor(4) as pool:
        for loaded in pool.map(load_image, [image] * 4):
            assert np.array_equal(loaded.image, picture)


def test_threads_do_not_disturb_each_other():
    good = encode(photo(800, 600), "JPEG", exif=exif(6))
    expected = load_image(good, 64).image.tobytes()

    def work(index):
        if index % 2:
            with pytest.raises(BadInput):
                load_image(HOSTILE["png bomb"][0])
            return expected
        return load_image(good, 64).image.tobytes()

    limit = Image.MAX_IMAGE_PIXELS
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(work, range(64))) == {expected}
    assert limit == Image.MAX_IMAGE_PIXELS


def test_a_square_is_the_middle_or_has_bars_or_is_squashed():
    image = Image.new("RGB", (300, 100), "black")
    image.paste((255, 255, 255), (100, 0, 200, 100))
    assert find_square(image.size, 50, "crop") == (100, 0, 200, 100)
    assert find_square(image.size, 50, "pad") == (0, -100, 300, 200)
    assert find_square(image.size, 50, "squash") == (0, 0, 300, 100)
    for picture in (image, image.transpose(Image.Transpose.TRANSPOSE)):
        crop, pad, squash = (
            np.asarray(load_image(picture).make_square(60, framing)) for framing in ("crop", "pad", "squash")
        )
        assert crop.shape == pad.shape == squash.shape == (60, 60, 3)
        assert crop.min() == 255  # pixels beyond the edge do not count
        assert pad.mean() == pytest.approx(255 / 9, abs=2)
        assert squash.mean() == pytest.approx(255 / 3, abs=2)


def test_a_margin_is_cut_off():
    picture = load_image(sample_image())
    whole = np.asarray(picture.make_square(80))
    assert np.array_equal(np.asarray(picture.make_square(64, margin=8)), whole[8:-8, 8:-8])


def test_bars_of_a_narrow_picture_take_little_memory():
    narrow = load_image(Image.new("RGB", (20_000, 400), "white"))
    square = np.asarray(narrow.make_square(64, "pad"))  # of 400 megapixels, if padded first
    assert square[31:33].max() > 0
    assert square[:30].max() == square[34:].max() == 0


def test_an_array_with_transparency_is_read_as_the_picture_is():
    picture = Image.new("RGBA", (8, 6), (200, 30, 40, 128))
    assert load_image(np.asarray(picture)).image.tobytes() == load_image(picture).image.tobytes()


def test_what_cannot_be_read_any_more_or_not_yet_is_said_to_be_so(tmp_path):
    Image.new("RGB", (8, 6)).save(tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as closed:
        pass
    loaded = Image.open(tmp_path / "a.png")
    loaded.load()
    loaded.close()
    for image in (closed, loaded):
        with pytest.raises(BadInput, match="The PIL image is closed"):
            load_image(image)

    class Upload:
        async def read(self, size=-1):
            """As that of FastAPI."""

    with pytest.raises(BadInput, match=r"give the bytes, such as await file\.read\(\)"):
        load_image(Upload())


def test_a_tensor_can_be_converted():
    with pytest.raises(BadInput, match=r"not Tensor\. A tensor can be converted: .*\.numpy\(\)"):
        load_image(type("Tensor", (), {})())

"""Small valid files of every format that is read here, their parts, and the places of the numbers in them."""

import io
import itertools
import json
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from PIL import ExifTags, Image, features

from tests.conftest import ROOT


class Part(NamedTuple):
    """A part of a file: its type, such as b"IDAT", and its content without length and checksum."""

    kind: bytes
    content: bytes


class Number(NamedTuple):
    """The place of a number in a file; `order` is "big" or "little"."""

    start: int
    width: int
    order: str


@dataclass(frozen=True)
class Format:
    """A file format.

    `join(split(seed)) == seed`; `join` writes the right lengths and checksums for changed parts. `find_fields` returns
    the places of numbers in headers, `find_lengths` those of lengths, counts and offsets. `tokens` are bytes with a
    meaning in the format.
    """

    name: str
    suffix: str
    seeds: tuple[bytes, ...]
    tokens: tuple[bytes, ...] = ()
    split: Callable[[bytes], list[Part]] | None = None
    join: Callable[[list[Part]], bytes] = lambda parts: b"".join(part.content for part in parts)
    find_fields: Callable[[bytes], list[Number]] | None = None
    find_lengths: Callable[[bytes], list[Number]] | None = None


def read(data: bytes, start: int, width: int, order: str) -> int:
    """Return the number at a place; 0 if the file ends before it."""
    return int.from_bytes(data[start : start + width], order) if start + width <= len(data) else 0


def number_each(data: bytes, start: int, widths: str, order: str) -> list[Number]:
    """Return consecutive numbers that begin at `start`; "142" has widths of 1, 4 and 2 bytes."""
    found = []
    for width in map(int, widths):
        if start + width <= len(data):
            found.append(Number(start, width, order))
        start += width
    return found


# --- pictures ---


def photo(mode: str = "RGB", size: tuple[int, int] = (48, 36)) -> Image.Image:
    """Return a small picture with gradients and noise."""
    y, x = np.mgrid[: size[1], : size[0]]
    noise = np.random.default_rng(0).integers(0, 40, (*x.shape, 3))
    levels = np.stack([x * 4, y * 6, (x + y) * 2], axis=-1) % 216 + noise
    return Image.fromarray(levels.astype(np.uint8)).convert(mode)


def encode(image: Image.Image, kind: str, **options: object) -> bytes:
    """Return a picture as the bytes of a file."""
    content = io.BytesIO()
    image.save(content, kind, **options)
    return content.getvalue()


def make_exif() -> Image.Exif:
    """Return EXIF with an orientation, a text and a subdirectory."""
    tags = Image.Exif()
    tags[ExifTags.Base.Orientation], tags[ExifTags.Base.Make] = 6, "camera"
    tags.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.UserComment] = b"ASCII\0\0\0hello"
    return tags


DEEP = Image.fromarray(np.arange(48 * 36, dtype=np.uint16).reshape(36, 48) * 37)
FLOATS = Image.fromarray(np.linspace(0, 1, 48 * 36, dtype=np.float32).reshape(36, 48))
MOTION = {"save_all": True, "append_images": [photo().rotate(90), photo().rotate(180)], "duration": 40, "loop": 0}
EXIF = {"exif": make_exif()}


def split_png(data: bytes) -> list[Part]:
    parts, start = [Part(b"", data[:8])], 8
    while start < len(data):
        end = start + 8 + read(data, start, 4, "big")
        parts.append(Part(data[start + 4 : start + 8], data[start + 8 : end]))
        start = end + 4
    return parts


def join_png(parts: list[Part]) -> bytes:
    def pack(part: Part) -> bytes:
        checked = part.kind + part.content
        return struct.pack(">I", len(part.content)) + checked + struct.pack(">I", zlib.crc32(checked))

    return b"".join(pack(part) if part.kind else part.content for part in parts)


def make_deep_png(colour: int, depth: int = 16) -> bytes:
    """Return a PNG of 16-bit colours, which Pillow cannot write, with transparency if it is no palette."""
    channels = {0: 1, 2: 3, 4: 2, 6: 4}[colour]
    rows = (np.arange(36 * 48 * channels, dtype=">u2") * 11).reshape(36, -1)
    raw = b"".join(b"\0" + row.tobytes() for row in rows)
    header = Part(b"IHDR", struct.pack(">IIBBBBB", 48, 36, depth, colour, 0, 0, 0))
    signature = Part(b"", b"\x89PNG\r\n\x1a\n")
    return join_png([signature, header, Part(b"IDAT", zlib.compress(raw)), Part(b"IEND", b"")])


def find_png_fields(data: bytes) -> list[Number]:
    starts = (found.start() for found in re.finditer(rb"tRNS|PLTE|gAMA|pHYs|eXIf|acTL|fcTL|fdAT|IDAT", data))
    inner = [number for start in starts for number in number_each(data, start + 4, "1124", "big")]
    return number_each(data, 16, "4411111", "big") + inner


def find_png_lengths(data: bytes) -> list[Number]:
    found, start = [], 8
    while start < len(data):
        found.append(Number(start, 4, "big"))
        start += 12 + read(data, start, 4, "big")
    return found


PNG = Format(
    "PNG",
    ".png",
    (
        encode(photo(), "PNG", **EXIF),
        encode(photo("RGBA"), "PNG"),
        encode(photo("P"), "PNG", transparency=3),
        encode(photo("L"), "PNG"),
        encode(photo("1"), "PNG"),
        encode(DEEP, "PNG"),
        encode(photo(), "PNG", **MOTION),
        *map(make_deep_png, (2, 4, 6)),
    ),
    (
        b"IHDR",
        b"IDAT",
        b"IEND",
        b"PLTE",
        b"tRNS",
        b"zTXt",
        b"iTXt",
        b"tEXt",
        b"iCCP",
        b"eXIf",
        b"acTL",
        b"fcTL",
        b"CgBI",
    ),
    split_png,
    join_png,
    find_png_fields,
    find_png_lengths,
)

NO_LENGTH = {0x01, *range(0xD0, 0xDA)}  # markers of JPEG without content


def split_jpeg(data: bytes) -> list[Part]:
    parts, start = [Part(b"", data[:2])], 2
    while start < len(data):
        marker = data[start + 1]
        if marker in NO_LENGTH:
            parts.append(Part(b"", data[start : start + 2]))
            start += 2
            continue
        end = start + 2 + read(data, start + 2, 2, "big")
        parts.append(Part(data[start : start + 2], data[start + 4 : end]))
        if marker == 0xDA:  # compressed pixels follow
            found = re.compile(rb"\xff[^\x00\xd0-\xd7]").search(data, end)
            stop = found.start() if found else len(data)
            parts.append(Part(b"", data[end:stop]))
            end = stop
        start = end
    return parts


def join_jpeg(parts: list[Part]) -> bytes:
    return b"".join(
        part.kind + struct.pack(">H", len(part.content[:65_533]) + 2) + part.content[:65_533]
        if part.kind
        else part.content
        for part in parts
    )


def find_jpeg_segments(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield the marker and the start of each segment that has a length."""
    start = 0
    for part in split_jpeg(data):
        if part.kind:
            yield part.kind[1], start
        start += len(part.content) + 4 * bool(part.kind)


def find_jpeg_fields(data: bytes) -> list[Number]:
    found = []
    for marker, start in find_jpeg_segments(data):
        widths = "122" + "1" * 10 if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC) else "1" * 12
        found += number_each(data, start + 4, widths, "big")
    return found


JPEG = Format(
    "JPEG",
    ".jpg",
    (
        encode(photo(), "JPEG", **EXIF),
        encode(photo(), "JPEG", progressive=True),
        encode(photo(), "JPEG", subsampling=0, restart_marker_blocks=2),
        encode(photo("L"), "JPEG"),
        encode(photo("CMYK"), "JPEG"),
        encode(photo(size=(160, 120)), "JPEG", quality=30),
        encode(photo(), "MPO", save_all=True, append_images=[photo()]),
    ),
    (
        b"\xff\xc0", b"\xff\xc1", b"\xff\xc2", b"\xff\xc3", b"\xff\xc9", b"\xff\xd0", b"\xff\xd9", b"\xff\xda",
        b"\xff\xdd",
        b"\xff\xdc\0\4\0\x40", b"\xff\xe1", b"Exif\0\0", b"\xff\xee\0\x0eAdobe", b"MPF\0", b"ICC_PROFILE\0", b"\xff\0",
    ),
    split_jpeg,
    join_jpeg,
    find_jpeg_fields,
    lambda data: [Number(start + 2, 2, "big") for _, start in find_jpeg_segments(data)],
)  # fmt: skip


def find_subblocks(data: bytes, start: int) -> Iterator[int]:
    """Yield the places of the lengths of a GIF's sub-blocks, the last of which is 0."""
    while True:
        yield start
        if not read(data, start, 1, "big"):
            return
        start += 1 + data[start]


def find_gif_blocks(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield the start of each block of a GIF, and that of its first sub-block."""
    start = 13 + (3 << (data[10] & 7) + 1 if data[10] & 0x80 else 0)
    while start < len(data) and data[start] != 0x3B:
        inner = start + 2
        if data[start] == 0x2C:
            flags = data[start + 9]
            inner = start + 11 + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
        yield start, inner
        *_, last = find_subblocks(data, inner)
        start = last + 1
    yield start, len(data)


def split_gif(data: bytes) -> list[Part]:
    starts = [0, *(start for start, _ in find_gif_blocks(data)), len(data)]
    return [Part(b"", data[start:end]) for start, end in itertools.pairwise(starts)]


def find_gif_fields(data: bytes) -> list[Number]:
    found = number_each(data, 6, "22111", "little")
    for start, inner in find_gif_blocks(data):
        found += number_each(data, start + 1, "22221", "little") + number_each(data, inner - 1, "1", "little")
    return found


GIF = Format(
    "GIF",
    ".gif",
    (
        encode(photo("P"), "GIF"),
        encode(photo("P"), "GIF", transparency=3, interlace=True),
        encode(photo(), "GIF", **MOTION),
    ),
    (b"!\xf9\x04", b"!\xff\x0bNETSCAPE2.0", b"!\xfe", b",", b";", b"GIF87a", b"GIF89a"),
    split_gif,
    find_fields=find_gif_fields,
    find_lengths=lambda data: [
        Number(place, 1, "little")
        for _, inner in find_gif_blocks(data)
        if inner < len(data)  # the last block, a semicolon, has no sub-blocks
        for place in find_subblocks(data, inner)
    ],
)


def make_run_length_bmp() -> bytes:
    """Return a BMP with run-length compression, which Pillow cannot write."""
    plain = encode(photo("P"), "BMP")
    rows = b"".join(b"\x30" + bytes([row]) + b"\0\0" for row in range(36)) + b"\0\1"
    header = bytearray(plain[: read(plain, 10, 4, "little")])
    header[30:38] = struct.pack("<II", 1, len(rows))
    header[2:6] = struct.pack("<I", len(header) + len(rows))
    return bytes(header) + rows


BMP = Format(
    "BMP",
    ".bmp",
    (
        *(encode(photo(mode), "BMP") for mode in ("RGB", "RGBA", "P", "L", "1")),
        make_run_length_bmp(),
    ),
    (b"BM", b"\x28\0\0\0", b"\x0c\0\0\0", b"\x7c\0\0\0", b"BGRs", b"\0\1", b"\0\2\xff\xff"),
    lambda data: [Part(b"", piece) for piece in (data[:14], data[14:54], data[54:80], data[80:])],
    find_fields=lambda data: number_each(data, 18, "4422444444", "little"),
    find_lengths=lambda data: number_each(data, 2, "4", "little") + number_each(data, 10, "44", "little"),
)


@dataclass(frozen=True)
class TiffLayout:
    """The byte order of a TIFF, the start of its directory, and the width of its offsets, counts and entries."""

    order: str
    offset: int
    count: int
    entry: int
    start: int
    entries: int

    @classmethod
    def read(cls, data: bytes) -> "TiffLayout":
        order = "little" if data[:2] == b"II" else "big"
        offset, count, entry, at = (8, 8, 20, 8) if 43 in data[2:4] else (4, 2, 12, 4)
        start = read(data, at, offset, order)
        return cls(order, offset, count, entry, start, read(data, start, count, order))

    @property
    def places(self) -> list[int]:
        """The start of each entry, and the end of the last one."""
        first = self.start + self.count
        return [first + self.entry * index for index in range(self.entries + 1)]


def split_tiff(data: bytes) -> list[Part]:
    cuts = [0, *TiffLayout.read(data).places, len(data)]
    return [Part(b"", data[start:end]) for start, end in itertools.pairwise(cuts)]


def find_tiff_fields(data: bytes) -> list[Number]:
    layout = TiffLayout.read(data)
    widths = f"22{layout.offset}{layout.offset}"
    return [n for place in layout.places[:-1] for n in number_each(data, place, widths, layout.order)]


def find_tiff_lengths(data: bytes) -> list[Number]:
    layout = TiffLayout.read(data)
    found = [Number(layout.offset, layout.offset, layout.order), Number(layout.start, layout.count, layout.order)]
    found += [Number(layout.places[-1], layout.offset, layout.order)]
    for place in layout.places[:-1]:
        found.append(Number(place + 4, layout.offset, layout.order))
        if read(data, place, 2, layout.order) in (273, 279, 322, 323, 324, 325, 278, 330, 34_665):
            found.append(Number(place + 4 + layout.offset, layout.offset, layout.order))
    return found


TIFF = Format(
    "TIFF",
    ".tif",
    (
        encode(photo(), "TIFF"),
        *(encode(photo(), "TIFF", compression=name) for name in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg")),
        encode(photo("1"), "TIFF", compression="group4"),
        encode(photo("CMYK"), "TIFF"),
        encode(photo("P"), "TIFF"),
        encode(DEEP, "TIFF"),
        encode(FLOATS, "TIFF"),
        encode(photo("RGBA"), "TIFF", big_tiff=True),
    ),
    (b"II*\0", b"MM\0*", b"II+\0", b"\x01\x01\x03\0", b"\x11\x01\x04\0", b"\x42\x01\x04\0", b"\x4a\x01", b"\x69\x87"),
    split_tiff,
    find_fields=find_tiff_fields,
    find_lengths=find_tiff_lengths,
)


def split_riff(data: bytes) -> list[Part]:
    parts, start = [Part(b"", data[:12])], 12
    while start < len(data):
        size = read(data, start + 4, 4, "little")
        parts.append(Part(data[start : start + 4], data[start + 8 : start + 8 + size]))
        start += 8 + size + size % 2
    return parts


def join_riff(parts: list[Part]) -> bytes:
    body = b"".join(
        part.kind + struct.pack("<I", len(part.content)) + part.content + b"\0" * (len(part.content) % 2)
        if part.kind
        else part.content
        for part in parts
    )
    return body[:4] + struct.pack("<I", len(body) - 8) + body[8:] if body[:4] == b"RIFF" else body


def find_riff_places(data: bytes) -> list[int]:
    """Return the start of each chunk."""
    sizes = [8 + len(part.content) + len(part.content) % 2 for part in split_riff(data)[1:]]
    return list(itertools.accumulate(sizes[:-1], initial=12))


def find_riff_fields(data: bytes) -> list[Number]:
    return [
        number for place in find_riff_places(data) for number in number_each(data, place + 8, "1111212111", "little")
    ]


WEBP = Format(
    "WebP",
    ".webp",
    (
        encode(photo(), "WEBP"),
        encode(photo("RGBA"), "WEBP", **EXIF),
        encode(photo("RGBA"), "WEBP", lossless=True),
        encode(photo(), "WEBP", **MOTION),
    ),
    (
        b"RIFF",
        b"WEBP",
        b"VP8 ",
        b"VP8L",
        b"VP8X",
        b"ALPH",
        b"ANIM",
        b"ANMF",
        b"EXIF",
        b"ICCP",
        b"\x9d\x01\x2a",
        b"\x2f",
    ),
    split_riff,
    join_riff,
    find_riff_fields,
    lambda data: [Number(place + 4, 4, "little") for place in (0, *find_riff_places(data))],
)

CONTAINERS = {b"meta": b"\0\0\0\0", b"iprp": b"", b"ipco": b""}  # boxes of boxes, and what precedes these


def find_boxes(
    data: bytes, start: int = 0, end: int | None = None, path: bytes = b""
) -> Iterator[tuple[bytes, int, int]]:
    """Yield the path, such as b"meta/iprp/ipco/ispe", the start and the end of each box that has no boxes in it."""
    end = len(data) if end is None else end
    while start < end:
        kind, stop = data[start + 4 : start + 8], start + (read(data, start, 4, "big") or end - start)
        if kind in CONTAINERS:
            yield from find_boxes(data, start + 8 + len(CONTAINERS[kind]), stop, path + kind + b"/")
        else:
            yield path + kind, start, stop
        start = stop


def split_boxes(data: bytes) -> list[Part]:
    return [Part(path, data[start + 8 : end]) for path, start, end in find_boxes(data)]


def join_boxes(parts: list[Part]) -> bytes:
    done = b""
    for outer, group in itertools.groupby(parts, lambda part: part.kind.partition(b"/")[0]):
        inside = [Part(part.kind.partition(b"/")[2], part.content) for part in group]
        bodies = [part.content for part in inside]
        if outer in CONTAINERS:
            bodies = [CONTAINERS[outer] + join_boxes(inside)]
        done += b"".join(struct.pack(">I", len(body) + 8) + outer[:4].ljust(4) + body for body in bodies)
    return done


def find_box_fields(data: bytes) -> list[Number]:
    return [n for _, start, _ in find_boxes(data) for n in number_each(data, start + 8, "1" * 8 + "4422", "big")]


def make_avif() -> tuple[bytes, ...]:
    return (
        encode(photo(), "AVIF", **EXIF, speed=10),
        encode(photo("RGBA"), "AVIF", speed=10),
        encode(photo(), "AVIF", **MOTION, speed=10),
    )


AVIF = Format(
    "AVIF",
    ".avif",
    make_avif() if features.check("avif") else (),
    (b"ftyp", b"avif", b"avis", b"meta", b"iloc", b"iinf", b"infe", b"ispe", b"av1C", b"pixi", b"irot", b"mdat"),
    split_boxes,
    join_boxes,
    find_box_fields,
    lambda data: [Number(start, 4, "big") for _, start, _ in find_boxes(data)],
)  # fmt: skip

PICTURES = [format_ for format_ in (JPEG, PNG, WEBP, GIF, BMP, TIFF, AVIF) if format_.seeds]

# --- archives ---


def make_zip(method: int = zipfile.ZIP_DEFLATED, comment: bytes = b"", force: bool = False) -> bytes:
    """Return a zip of two pictures and a text; with `force`, one file has the lengths of Zip64."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", method) as archive:
        for name, data in {"pets/cat.png": PNG.seeds[3], "é.jpg": JPEG.seeds[3], "note.txt": b"no picture" * 9}.items():
            info = zipfile.ZipInfo(name, (2026, 11, 28, 12, 0, 0))
            info.compress_type = method
            with archive.open(info, "w", force_zip64=force) as file:
                file.write(data)
        archive.comment = comment
    return content.getvalue()


ZIP_PART = re.compile(rb"PK(?:\x01\x02|\x03\x04|\x05\x06)")


def split_zip(data: bytes) -> list[Part]:
    cuts = [*(found.start() for found in ZIP_PART.finditer(data)), len(data)]
    return [Part(b"", data[start:end]) for start, end in itertools.pairwise([0, *cuts[1:]])]


def join_zip(parts: list[Part]) -> bytes:
    """Join the records, with the place, the size and the number of entries of the directory in the last one."""
    pieces = [part.content for part in parts]
    central = [piece for piece in pieces if piece.startswith(b"PK\x01\x02")]
    if central and pieces[-1].startswith(b"PK\x05\x06") and len(pieces[-1]) >= 22:
        start = sum(map(len, pieces[: pieces.index(central[0])]))
        sizes = struct.pack("<HHII", len(central), len(central), sum(map(len, central)), start)
        pieces[-1] = pieces[-1][:8] + sizes + pieces[-1][20:]
    return b"".join(pieces)


ZIP_LAYOUTS = {b"PK\x03\x04": "22222444", b"PK\x01\x02": "222222444222224", b"PK\x05\x06": "222244"}
ZIP_LENGTHS = {b"PK\x03\x04": (18, "4422"), b"PK\x01\x02": (20, "44222"), b"PK\x05\x06": (8, "22442")}


def find_zip_numbers(data: bytes, is_length: bool) -> list[Number]:
    found = []
    for record in ZIP_PART.finditer(data):
        start, widths = ZIP_LENGTHS[record[0]] if is_length else (4, ZIP_LAYOUTS[record[0]])
        found += number_each(data, record.start() + start, widths, "little")
        if is_length and record[0] == b"PK\x01\x02":
            found += number_each(data, record.start() + 42, "4", "little")
    return found


ZIP = Format(
    "zip",
    ".zip",
    (make_zip(), make_zip(zipfile.ZIP_STORED), make_zip(comment=b"a comment"), make_zip(force=True)),
    (
        b"PK\x01\x02",
        b"PK\x03\x04",
        b"PK\x05\x06",
        b"PK\x06\x06",
        b"PK\x06\x07",
        b"PK\x07\x08",
        b"../",
        b"\\",
        b"\0",
        b"/",
    ),
    split_zip,
    join_zip,
    lambda data: find_zip_numbers(data, is_length=False),
    lambda data: find_zip_numbers(data, is_length=True),
)

# --- tables and texts ---

CELLS = re.compile(rb'"(?:[^"]|"")*"|[,;\t|]|\r\n|\n|\r|[^,;\t|\r\n"]+|"', re.DOTALL)
SIGNS = (
    b'"', b'""', b",", b";", b"\t", b"|", b"\n", b"\r", b"\r\n", b"\0", b"\xef\xbb\xbf", b"\xff\xfe", b"sep=;\n",
    b"'", b"=1+1",
    b"1e999", b"-0", b"NaN", b"?", b"9" * 400, b"\xed\xa0\x80", b"\xe2\x80\x8b", b"\x1a", b"<script>",
    "é".encode("cp1252"),
)  # fmt: skip


def split_cells(data: bytes) -> list[Part]:
    return [Part(b"", found[0]) for found in CELLS.finditer(data)]


def in_encodings(text: str) -> tuple[bytes, ...]:
    """Return a text in the encodings of spreadsheets."""
    names = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32", "cp1252")
    return tuple(text.encode(name, "replace") for name in names)


def make_table_format(name: str, table: str) -> Format:
    """Return the format of a CSV with the columns and rows of `table`, in several encodings and dialects."""
    others = table.replace(",", ";"), table.replace(",", "\t").replace("\n", "\r\n")
    return Format(name, ".csv", (*in_encodings(table), *(other.encode() for other in others)), SIGNS, split_cells)


def make_person_table() -> str:
    typical = json.loads((ROOT / "spaces/salary/model/gallery.json").read_text(encoding="utf-8"))["typical"]
    row = ",".join(f'"{value}"' if index % 3 == 0 else str(value) for index, value in enumerate(typical.values()))
    return f"{','.join(typical)},café\n{row},1\n{row},\n"


PEOPLE = make_table_format("CSV of people", make_person_table())
PAIRS = make_table_format("CSV of ratings", "user_id,movie_id,note\n15,260,é\n1,1,\n2,Toy Story (1995),x\n")
REVIEWS = make_table_format("CSV of texts", 'text,id\n"A good film, and I liked it.",1\nNaïve and dull.,2\n')
LINES = Format("text", ".txt", in_encodings("A good film.\nNaïve — and dull.\n"), SIGNS, split_cells)

# --- JSON and ONNX ---

JSON_TOKENS = re.compile(rb'"(?:[^"\\]|\\.)*"|[-+.\w]+|[\[\]{},:]|\s+|.', re.DOTALL)
JSON_SIGNS = (
    b"[", b"]", b"{", b"}", b":", b",", b"null", b"true", b"NaN", b"-Infinity", b"1e999", b"9" * 5000,
    b"[" * 2000, b'{"a":' * 500,
    b'"\\ud800"', b'"\\u0000"', b"\xff", b"\xef\xbb\xbf", b"-0", b'""', b"//", b"0x1", b'"path":', b'"data":',
)  # fmt: skip


def make_json_format(name: str, seeds: tuple[bytes, ...], suffix: str = ".json") -> Format:
    """Return JSON as a format; its parts are strings, numbers and signs."""
    return Format(name, suffix, seeds, JSON_SIGNS, lambda data: [Part(b"", f[0]) for f in JSON_TOKENS.finditer(data)])


CONFIG = make_json_format("gallery.json", ((ROOT / "spaces/salary/model/gallery.json").read_bytes(),))
ONNX = Format(
    "ONNX", ".onnx", ((ROOT / "spaces/salary/model/onnx/model.onnx").read_bytes(),), (b"onnx", b"Add", b"\x08\x09")
)
FILES = [*PICTURES, ZIP, PEOPLE, PAIRS, REVIEWS, LINES, CONFIG, ONNX]

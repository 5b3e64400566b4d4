"""Detect the encoding of a text file, or identify a file that is not text."""

import codecs
import re
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import BinaryIO, TextIO

from ..errors import BadInput
from ..limits import LIMITS

BLOCK = 1_000_000  # bytes
FORMATS = (  # signatures of files that people upload instead of a CSV
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Excel file (.xls)"),
    (b"%PDF-", "a PDF"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"PAR1", "a Parquet file"),
    (b"SQLite format 3\0", "an SQLite database"),
    (b"\x89PNG", "a picture"),
    (b"\xff\xd8\xff", "a picture"),
)
GUESSED = {"cp1252": "Windows-1252"}
HIGH = re.compile(rb"[\x80-\xff]+")
UTF_8_SEQUENCE = re.compile(rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}")
WORD_OF_NO_LATIN = re.compile(rb"[\x80-\xff]{4,}")


def open_text(path: str | Path, encoding: str, newline: str | None = "") -> TextIO:
    """Open a text file; `newline` has the same meaning as in open().

    Raises:
        BadInput: the file cannot be read.
    """
    try:
        return Path(path).open(encoding=encoding, newline=newline)
    except OSError as error:
        raise BadInput(f"The file cannot be read: {error.strerror}.") from error


def find_encoding(path: str | Path, max_bytes: int | None = None) -> str:
    """Return the encoding of a text file; the whole file is read, block by block.

    `max_bytes` limits its size, by default to LIMITS.table_bytes.

    Raises:
        BadInput: the file cannot be read, is too large, or is not text.
    """
    if not isinstance(path, str | Path):
        raise BadInput("Choose a file first.")
    try:
        most = max_bytes or LIMITS.table_bytes
        if Path(path).stat().st_size > most:
            raise BadInput(f"The file is larger than {most / 1e6:g} MB; split it into smaller files.")
        with Path(path).open("rb") as file:
            return _detect(file)
    except OSError as error:
        raise BadInput(f"The file cannot be read: {error.strerror}.") from error
    except ValueError as error:
        if isinstance(error, BadInput):
            raise
        raise BadInput("There is no such file.") from error  # its name has invalid characters


def _detect(file: BinaryIO) -> str:
    start = file.read(BLOCK)
    if start.startswith(b"PK\x03\x04"):
        kinds = {b"xl/": "an Excel file (.xlsx)", b"opendocument": "an OpenDocument file"}
        kind = next((kind for mark, kind in kinds.items() if mark in start), "an Excel or zip file")
        raise BadInput(f"This is {kind}, not a CSV or a text file; save the table as CSV first.")
    for signature, kind in FORMATS:
        if start.startswith(signature):
            raise BadInput(f"This is {kind}, not a CSV or a text file; save the table as CSV first.")
    if start.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        names = ["utf-32"]
    elif start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        names = ["utf-16"]
    else:  # a zero byte in the first two suggests UTF-16 without a byte order mark
        wide = {0: "utf-16-be", 1: "utf-16-le"}.get(start[:2].find(b"\0")) if len(start) > 1 else None
        names = ["utf-8-sig"] if wide is None else [wide, "utf-8-sig"]
    for name in names:
        line = _find_undecodable_line(file, name)
        if not line:
            return name
    if names[-1] != "utf-8-sig":
        raise BadInput(f"Line {line} cannot be read as text; save the file as UTF-8.")
    if not _looks_western(file) or _find_undecodable_line(file, "cp1252"):
        raise BadInput(f"Line {line} is not in the encoding UTF-8; save the file as UTF-8 (in Excel: CSV UTF-8).")
    return "cp1252"


def _read_blocks(file: BinaryIO) -> Iterator[bytes]:
    file.seek(0)
    return iter(lambda: file.read(BLOCK), b"")


def _find_undecodable_line(file: BinaryIO, encoding: str) -> int:
    """Return the first line that cannot be decoded in an encoding; 0 if there is none."""
    decoder = codecs.getincrementaldecoder(encoding)()
    line = 1
    for block in chain(_read_blocks(file), [b""]):
        try:
            text = decoder.decode(block, final=not block)
        except UnicodeDecodeError as error:
            return line + error.object[: error.start].count(b"\n")
        if encoding.startswith("utf-16-") and "\0" in text:  # the guess was wrong
            return line
        line += text.count("\n")
    return 0


def _looks_western(file: BinaryIO) -> bool:
    """Return True if the non-ASCII bytes look like Western European letters, which are mostly surrounded by ASCII.

    In other scripts such bytes form whole words, and damaged UTF-8 contains valid UTF-8 sequences.
    """
    high = foreign = 0
    for block in _read_blocks(file):
        high += sum(map(len, HIGH.findall(block)))
        foreign += sum(map(len, UTF_8_SEQUENCE.findall(block)))
        foreign += sum(len(word) for word in WORD_OF_NO_LATIN.findall(block) if len(set(word)) > 2)
    return foreign <= high / 2

"""Zips of pictures, or of other small files: read member by member, never unpacked to disk; and made."""

import io
import re
import stat
import unicodedata
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePosixPath

from .errors import BadInput, quote

MAX_FILES = 200
MAX_FILE_BYTES = 25_000_000
MAX_TOTAL_BYTES = 200_000_000
MAX_RATIO = 200  # unpacked to packed; matters for files over a megabyte
MAX_DIRECTORY_BYTES = 1_000_000  # zipfile reads the list of contents whole, whatever its length
MAX_LABEL = 200  # characters

UNSAFE = re.compile(r"[^\w .()+-]")  # in the name of a file
DRIVE = re.compile(r"[A-Za-z]:")
DIGITS = "123456789¹²³"
RESERVED = {"CON", "PRN", "AUX", "NUL", *(port + digit for port in ("COM", "LPT") for digit in DIGITS)}  # on Windows

ENCRYPTED = 0x1 | 0x40 | 0x2000  # bits of a member's flags: by password, strongly, and its name too


def read_zip(path: str | Path, seen: set[str] | None = None) -> Iterator[tuple[str, bytes | BadInput]]:
    """Yield the files of a zip, one at a time: (label, content), or (label, BadInput) where one cannot be used.

    Labels are the names in the zip, with their folders, such as holiday/cats/0.jpg; they are made unique, also among
    those already `seen`, and are only shown: nothing is ever written to them.
    Folders and what systems add (__MACOSX, .DS_Store, …) are left out; links, and zips in the zip, are refused.

    Raises:
        BadInput: on the first step of the iteration: it is no zip, damaged, empty, or too large.
    """
    seen = set() if seen is None else seen
    with _open_zip(Path(path)) as (archive, members):
        for member in members:
            yield _make_unique(_make_label(member.filename), seen), _read_content(archive, member)


def count_files(paths: Sequence[str | Path] | None) -> int:
    """Count the files that read_files gives, by the zips' lists of contents; no file is read.

    Raises:
        BadInput: a zip cannot be read, there is nothing, more than MAX_FILES files, or more than MAX_TOTAL_BYTES in
            all zips together.
    """
    is_list = isinstance(paths, Sequence) and not isinstance(paths, str)
    if not is_list or not paths or not all(isinstance(path, str | Path) for path in paths):
        raise BadInput("Choose some files first, or a zip of them.")
    count = total = 0
    for path in paths:
        if _is_zip(path):
            with _open_zip(Path(path)) as (_, members):
                count += len(members)
                total += sum(member.file_size for member in members)
        else:
            count += 1
        if count > MAX_FILES:
            raise _make_count_error("There are")
    if total > MAX_TOTAL_BYTES:
        raise BadInput(f"The zips hold more than {MAX_TOTAL_BYTES // 1_000_000} MB; send fewer at a time.")
    return count


def read_files(paths: Sequence[str | Path] | None) -> Iterator[tuple[str, str | Path | bytes | BadInput]]:
    """Yield files, and the files of zips among them, one at a time: (label, path or content), or (label, BadInput).

    A file of a zip is read when its turn comes. No two labels are the same.

    Raises:
        BadInput: on the first step of the iteration: whatever count_files raises.
    """
    count_files(paths)
    seen: set[str] = set()
    for path in paths or ():
        if _is_zip(path):
            yield from read_zip(path, seen)
        else:
            yield _make_unique(_make_label(Path(path).name), seen), path


def write_zip(path: str | Path, files: Iterable[tuple[str, Path]]) -> Path:
    """Pack files that are compressed already, such as PNGs; returns `path`.

    Args:
        path: the zip to write.
        files: (label, file): the label, with the file's ending in place of its own, is the name in the zip, with the
            label's folders. It may be anything: it is cut, made unique, and keeps only what every system allows in a
            name.
    """
    taken: set[str] = set()
    with zipfile.ZipFile(path, "w") as archive:
        for label, file in files:
            *folders, name = _split_name(label) or [""]
            # Without a full stop no folder has a file's name.
            inside = "".join(f"{make_safe_filename(folder.replace('.', '_'))}/" for folder in folders)
            stem, copy = inside + make_safe_filename(PurePosixPath(name).stem), 1
            name = stem
            while name.lower() in taken:  # Windows and macOS take A.png and a.png for the same file
                copy += 1
                name = f"{stem} ({copy})"
            taken.add(name.lower())
            archive.write(file, name + file.suffix)
    return Path(path)


def make_safe_filename(text: str) -> str:
    """Return a text as a file's name, without an ending, that every system allows; it is never empty.

    Letters of all alphabets stay, and are written in one way (NFC), as macOS takes the other (NFD) for the same. It has
    at most 100 characters and 200 bytes of UTF-8, since most systems allow 255 bytes.
    """
    short = UNSAFE.sub("_", unicodedata.normalize("NFC", text[:400]))[:100].encode()[:200].decode(errors="ignore")
    stem = short.strip(". ") or "file"
    return f"_{stem}" if stem.split(".")[0].rstrip().upper() in RESERVED else stem


def _is_zip(path: str | Path) -> bool:
    """Return True for a .zip, and for a zip without an ending, such as a Blob that a browser uploads."""
    ending = Path(path).suffix.lower()
    if ending:
        return ending == ".zip"
    try:
        with Path(path).open("rb") as file:
            return file.read(4) == b"PK\x03\x04"
    except (OSError, ValueError):  # there is no such file, or no file can be called so; whoever reads it says so
        return False


@contextmanager
def _open_zip(path: Path) -> Iterator[tuple[zipfile.ZipFile, list[zipfile.ZipInfo]]]:
    """Open a zip, and list those of its files that are wanted; whatever goes wrong with it is a BadInput."""
    if not path.is_file():
        raise BadInput(f"There is no file {quote(path.name)}.")
    size = path.stat().st_size
    if size > MAX_TOTAL_BYTES:
        raise BadInput(f"The zip file is larger than {MAX_TOTAL_BYTES // 1_000_000} MB; split it.")
    with ExitStack() as stack:
        try:
            file = stack.enter_context(_File(io.FileIO(path)))
            if not zipfile.is_zipfile(file):
                raise BadInput("This is not a zip file, or its end is missing; pack the files as .zip.")
            archive = stack.enter_context(zipfile.ZipFile(file))
            members = [member for member in archive.infolist() if _is_wanted(member)]
        except BadInput:
            raise
        except OSError as error:
            raise BadInput(f"The zip file cannot be read: {error.strerror or 'it is damaged'}.") from error
        except Exception as error:  # zipfile raises whatever a damaged list of contents makes it stumble over
            raise BadInput("The zip file is damaged; pack it anew.") from error
        _check_limits(members)
        file.most = size
        yield archive, members


class _File(io.BufferedReader):
    """A zip of which at most `most` bytes are read at once: zipfile believes the length its list of contents claims.

    The record at the file's end says it, or in a Zip64 another one before that.
    """

    most = MAX_DIRECTORY_BYTES

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > self.most:
            left = self.seek(0, io.SEEK_END)
            raise _make_count_error() if size <= left else zipfile.BadZipFile
        return super().read(size)


def _check_limits(members: list[zipfile.ZipInfo]) -> None:
    if not members:
        raise BadInput("The zip file has no files in it.")
    if len(members) > MAX_FILES:
        raise _make_count_error()
    if sum(member.file_size for member in members) > MAX_TOTAL_BYTES:
        raise BadInput(f"The zip file's contents are larger than {MAX_TOTAL_BYTES // 1_000_000} MB; split it.")


def _make_count_error(what: str = "The zip file has") -> BadInput:
    return BadInput(f"{what} more than {MAX_FILES} files; split them.")


def _is_wanted(member: zipfile.ZipInfo) -> bool:
    if member.filename.endswith(("/", "\\")):
        return False
    *folders, name = _split_name(member.filename) or [""]
    clutter = name.startswith(".") or name in ("Thumbs.db", "desktop.ini") or "__MACOSX" in folders
    return bool(name) and not clutter


def _split_name(filename: str) -> list[str]:
    """Return the folders and name of a file, without those that lead out of the zip."""
    parts = filename.replace("\\", "/").split("/")
    return [part for part in parts if part not in ("", ".", "..") and not DRIVE.fullmatch(part)]


def _make_label(filename: str) -> str:
    parts = [
        "".join(letter if letter.isprintable() else "?" for letter in part)[:100] for part in _split_name(filename)
    ]
    label = "/".join(parts)
    return label if len(label) <= MAX_LABEL else f"…{label[1 - MAX_LABEL :]}"


def _make_unique(name: str, seen: set[str]) -> str:
    label, copy = name, 1
    while label in seen:
        copy += 1
        label = f"{name} ({copy})"
    seen.add(label)
    return label


def _read_content(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes | BadInput:
    kind = stat.S_IFMT(member.external_attr >> 16)
    content: bytes | BadInput
    if kind not in (0, stat.S_IFREG):
        content = BadInput("This is a link or device; pack the file itself.")
    elif member.flag_bits & ENCRYPTED:
        content = BadInput("The file is locked with a password; pack it without one.")
    elif member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        content = BadInput("The file is packed in an unusual way; use plain zip.")
    elif member.file_size > MAX_FILE_BYTES:
        content = BadInput(f"The file is larger than {MAX_FILE_BYTES // 1_000_000} MB.")
    elif member.file_size > max(1_000_000, MAX_RATIO * member.compress_size):
        content = BadInput(f"The file is packed to less than 1/{MAX_RATIO} of its size, as no picture or text is.")
    else:
        try:
            with archive.open(member) as file:
                content = file.read(MAX_FILE_BYTES + 1)
        except Exception:  # zipfile and zlib raise whatever the damage makes them stumble over
            return BadInput("The file is damaged in the zip; pack it anew.")
        if content.startswith(b"PK\x03\x04"):
            content = BadInput("This is a zip in the zip, or an office document; put its files in directly.")
    return content

"""Read zips of small files one file at a time, without unpacking them to disk; write zips."""

import io
import re
import stat
import unicodedata
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePosixPath

from .errors import BadInput, quote
from .limits import LIMITS

MAX_RATIO = 200  # unpacked size to packed size, for files over a megabyte
MAX_DIRECTORY_BYTES = 1_000_000  # zipfile reads the whole directory into memory
MAX_LABEL = 200  # characters

TOO_MANY_FILES = "There are more than {} files; split them."
TOO_MANY_MEMBERS = "The zip file has more than {} files; split them."

UNSAFE = re.compile(r"[^\w .()+-]")  # in a file name
DRIVE = re.compile(r"[A-Za-z]:")
DIGITS = "123456789¹²³"
RESERVED = {"CON", "PRN", "AUX", "NUL", *(port + digit for port in ("COM", "LPT") for digit in DIGITS)}  # on Windows

ENCRYPTED = 0x1 | 0x40 | 0x2000  # flag bits: encrypted, strongly encrypted, encrypted name


def read_zip(path: str | Path, seen: set[str] | None = None) -> Iterator[tuple[str, bytes | BadInput]]:
    """Yield the files of a zip, one at a time: (label, content), or (label, BadInput) if a file cannot be used.

    A label is a file's path in the zip, such as holiday/cats/0.jpg, made unique among the labels in `seen`. Labels are
    only displayed: nothing is written to these paths.
    Folders and system files (__MACOSX, .DS_Store, …) are skipped. Links and nested zips are refused.

    Raises:
        BadInput: raised on the first iteration if the zip is damaged, empty or too large, or is not a zip.
    """
    seen = set() if seen is None else seen
    with _open_zip(Path(path)) as (archive, members):
        for member in members:
            yield _make_unique(_make_label(member.filename), seen), _read_content(archive, member)


def count_files(paths: Sequence[str | Path] | None) -> int:
    """Count the files that read_files will yield, from the directories of the zips; no file is read.

    Raises:
        BadInput: a zip cannot be read, there are no files or more than LIMITS.batch_files, or the zips hold more than
            LIMITS.zip_bytes together.
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
        if count > LIMITS.batch_files:
            raise BadInput(TOO_MANY_FILES.format(LIMITS.batch_files))
    if total > LIMITS.zip_bytes:
        raise BadInput(f"The zips hold more than {LIMITS.zip_bytes / 1e6:g} MB; send fewer at a time.")
    return count


def read_files(paths: Sequence[str | Path] | None) -> Iterator[tuple[str, str | Path | bytes | BadInput]]:
    """Yield files, and the files inside zips, one at a time: (label, path or content), or (label, BadInput).

    A file in a zip is read only when it is yielded. Labels are unique.

    Raises:
        BadInput: raised on the first iteration, for the reasons given in count_files.
    """
    count_files(paths)
    seen: set[str] = set()
    for path in paths or ():
        if _is_zip(path):
            yield from read_zip(path, seen)
        else:
            yield _make_unique(_make_label(Path(path).name), seen), path


def write_zip(path: str | Path, files: Iterable[tuple[str, Path]]) -> Path:
    """Pack files into a zip without compressing them (for example PNGs), and return its path.

    Args:
        path: the zip to write.
        files: pairs (label, file). The label becomes the path in the zip, with the file's own extension. Any text is
            accepted as a label: it is shortened, made unique, and stripped of characters that some system forbids.
    """
    taken: set[str] = set()
    with zipfile.ZipFile(path, "w") as archive:
        for label, file in files:
            *folders, name = _split_name(label) or [""]
            # Folders have no full stop, so a folder cannot have the same name as a file.
            inside = "".join(f"{make_safe_filename(folder.replace('.', '_'))}/" for folder in folders)
            stem, copy = inside + make_safe_filename(PurePosixPath(name).stem), 1
            name = stem
            while name.lower() in taken:  # on Windows and macOS, A.png and a.png are the same file
                copy += 1
                name = f"{stem} ({copy})"
            taken.add(name.lower())
            archive.write(file, name + file.suffix)
    return Path(path)


def make_safe_filename(text: str) -> str:
    """Return a text as a file name without extension that is valid on every system; it is never empty.

    Letters of all alphabets are kept, in the normal form NFC, because macOS does not distinguish it from NFD. The name
    has at most 100 characters and 200 bytes of UTF-8, since most systems allow 255 bytes.
    """
    short = UNSAFE.sub("_", unicodedata.normalize("NFC", text[:400]))[:100].encode()[:200].decode(errors="ignore")
    stem = short.strip(". ") or "file"
    return f"_{stem}" if stem.split(".")[0].rstrip().upper() in RESERVED else stem


def _is_zip(path: str | Path) -> bool:
    """Return True for a .zip, and for a zip without extension, such as a Blob uploaded by a browser."""
    ending = Path(path).suffix.lower()
    if ending:
        return ending == ".zip"
    try:
        with Path(path).open("rb") as file:
            return file.read(4) == b"PK\x03\x04"
    except (OSError, ValueError):  # missing file or invalid name: reported when it is read
        return False


@contextmanager
def _open_zip(path: Path) -> Iterator[tuple[zipfile.ZipFile, list[zipfile.ZipInfo]]]:
    """Open a zip and list its files without system files; raise BadInput for any problem."""
    if not path.is_file():
        raise BadInput(f"There is no file {quote(path.name)}.")
    size = path.stat().st_size
    if size > LIMITS.zip_bytes:
        raise BadInput(f"The zip file is larger than {LIMITS.zip_bytes / 1e6:g} MB; split it.")
    with ExitStack() as stack:
        try:
            file = stack.enter_context(_File(io.FileIO(path)))
            if not zipfile.is_zipfile(file):
                raise BadInput("This is not a zip file, or the end of the file is missing; pack the files as .zip.")
            archive = stack.enter_context(zipfile.ZipFile(file))
            members = [member for member in archive.infolist() if _is_wanted(member)]
        except BadInput:
            raise
        except OSError as error:
            raise BadInput(f"The zip file cannot be read: {error.strerror or 'it is damaged'}.") from error
        except Exception as error:  # zipfile raises many kinds of errors for a damaged directory
            raise BadInput("The zip file is damaged; create it again.") from error
        _check_limits(members)
        file.most = size
        yield archive, members


class _File(io.BufferedReader):
    """A zip file that refuses to read more than `most` bytes at once.

    zipfile trusts the directory size that the record at the end of the file (or the Zip64 record before it) claims.
    """

    most = MAX_DIRECTORY_BYTES

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > self.most:
            left = self.seek(0, io.SEEK_END)
            raise BadInput(TOO_MANY_MEMBERS.format(LIMITS.batch_files)) if size <= left else zipfile.BadZipFile
        return super().read(size)


def _check_limits(members: list[zipfile.ZipInfo]) -> None:
    if not members:
        raise BadInput("The zip file has no files in it.")
    if len(members) > LIMITS.batch_files:
        raise BadInput(TOO_MANY_MEMBERS.format(LIMITS.batch_files))
    if sum(member.file_size for member in members) > LIMITS.zip_bytes:
        raise BadInput(f"The zip file's contents are larger than {LIMITS.zip_bytes / 1e6:g} MB; split it.")


def _is_wanted(member: zipfile.ZipInfo) -> bool:
    if member.filename.endswith(("/", "\\")):
        return False
    *folders, name = _split_name(member.filename) or [""]
    clutter = name.startswith(".") or name in ("Thumbs.db", "desktop.ini") or "__MACOSX" in folders
    return bool(name) and not clutter


def _split_name(filename: str) -> list[str]:
    """Return the folders and the name of a file, without parts that lead out of the zip."""
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
        content = BadInput("This is a link or a device; pack the file itself.")
    elif member.flag_bits & ENCRYPTED:
        content = BadInput("The file is protected by a password; pack it without one.")
    elif member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        content = BadInput("The file uses an unusual compression method; use plain zip.")
    elif member.file_size > LIMITS.zipped_file_bytes:
        content = BadInput(f"The file is larger than {LIMITS.zipped_file_bytes / 1e6:g} MB.")
    elif member.file_size > max(1_000_000, MAX_RATIO * member.compress_size):
        content = BadInput(f"The file is compressed to less than 1/{MAX_RATIO} of its size; no picture or text is.")
    else:
        try:
            with archive.open(member) as file:
                content = file.read(LIMITS.zipped_file_bytes + 1)
        except Exception:  # zipfile and zlib raise many kinds of errors for a damaged file
            return BadInput("The file in the zip is damaged; create the zip again.")
        if content.startswith(b"PK\x03\x04"):
            content = BadInput("This is a zip in the zip, or an office document; pack its files directly.")
    return content

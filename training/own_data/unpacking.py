"""Unpack a zip of a user's own data."""

import contextlib
import lzma
import shutil
import zipfile
import zlib
from pathlib import Path

from training.data import DataError, is_clutter
from training.own_data.tables import list_tables

# What zipfile raises if a zip is damaged, or has a password.
UNREADABLE = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, NotImplementedError, RuntimeError, EOFError)
UTF_8 = 0x800  # the flag of a name in UTF-8; other names are in code page 437


def unpack(path: Path, folder: Path) -> Path:
    """Unpack a zip into a folder, whose content is deleted first; return the folder in which the data begins.

    That is the folder itself, or the one in it if all files are below a single folder with subfolders or tables, as
    most programs write them. Hidden files and what systems leave are not unpacked.

    Raises:
        DataError: the file is missing, or is no complete zip.
    """
    if not path.is_file():
        raise DataError(f"There is no file {path}; give the whole path of the zip.")
    if not zipfile.is_zipfile(path):
        raise DataError(f"{path} is no zip, or incomplete; wait until it has been uploaded, or upload it again.")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        with zipfile.ZipFile(path) as archive:
            for item in archive.infolist():
                if not item.flag_bits & UTF_8:  # a Mac's Finder writes UTF-8 and does not say so
                    with contextlib.suppress(UnicodeError):
                        item.filename = item.filename.encode("cp437").decode()
                item.filename = item.filename.replace("\\", "/")  # some programs on Windows write these
                if not item.filename.endswith("/") and not is_clutter(Path(item.filename)):
                    archive.extract(item, folder)
    except UNREADABLE as error:
        raise DataError(f"{path} cannot be unpacked ({error}); make the zip again, without a password.") from error
    while len(inside := list(folder.iterdir())) == 1 and any(child.is_dir() for child in inside):
        if not (any(child.is_dir() for child in inside[0].iterdir()) or list_tables(inside[0])):
            break
        folder = inside[0]
    return folder

"""Check that a tag, the version and CHANGELOG.md agree, and write the notes: python -m locks.release v0.2.0 FILE."""

import re
import sys
from collections.abc import Sequence
from pathlib import Path

from locks import FOLDER
from shared import __version__

CHANGELOG = FOLDER.parent / "CHANGELOG.md"
SECTION = re.compile(r"^## (\S+)(?: \((.+)\))?\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)


class ReleaseError(Exception):
    """The release is not ready; the message says what to do."""


def make_notes(tag: str, version: str, changelog: str) -> str:
    """Return the changes of a version, if its tag and its section of the changelog are right.

    Raises:
        ReleaseError: the tag is of another version, or the newest section is of another version or has no date.
    """
    if tag != f"v{version}":
        raise ReleaseError(f"The tag is {tag}, but shared.__version__ is {version}: the tag must be v{version}.")
    found = SECTION.search(changelog)
    newest, date, changes = found.groups() if found else (None, None, "")
    if newest != version:
        raise ReleaseError(f"The first section of CHANGELOG.md is about {newest}, not {version}.")
    if not re.fullmatch(r"\d{4}-\d\d-\d\d", date or ""):
        raise ReleaseError(f"CHANGELOG.md gives {version} no date: write '## {version} (YYYY-MM-DD)'.")
    return f"{changes.strip()}\n"


def main(argv: Sequence[str]) -> int:
    """Write the notes for the tag to the file in `argv`; return the exit code."""
    tag, path = argv[0], Path(argv[1])
    try:
        notes = make_notes(tag, __version__, CHANGELOG.read_text(encoding="utf-8"))
    except ReleaseError as error:
        print(error, file=sys.stderr)
        return 1
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(notes, encoding="utf-8", newline="\n")
    print(f"Wrote {path}.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""The exact versions and hashes of all packages, for Python 3.11 to 3.13 on Linux, macOS and Windows; see `refresh`."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Locked:
    """A package in a lock.

    Attributes:
        name: the normalised name.
        version: the pinned version.
        requirement: both, with the marker if it is not for every system, but without hashes.
        hashes: the SHA-256 of each of its files in the registry.
        needed_by: the names of the packages that need it.
        text: all its lines in the file.
    """

    name: str
    version: str
    requirement: str
    hashes: tuple[str, ...]
    needed_by: frozenset[str]
    text: str


def normalise(name: str) -> str:
    """Return the name of a package as the locks write it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def read_lock(name: str) -> list[Locked]:
    """Return the packages of a lock in this folder; one may be in it several times, for different systems."""
    return list(parse_lock((FOLDER / f"{name}.txt").read_text(encoding="utf-8")))


def parse_lock(text: str) -> Iterator[Locked]:
    """Return the packages in the text of a lock, as uv writes it."""
    for block in re.findall(r"^[A-Za-z0-9].*\n(?:[ \t].*\n)*", text, re.MULTILINE):
        requirement = block.split("\n")[0].removesuffix("\\").strip()
        name, version = requirement.split(" ;")[0].split("==")
        hashes = re.findall(r"--hash=sha256:([0-9a-f]{64})", block)
        needed_by = re.findall(r"^ +# +(?:via )?(\S+)", block, re.MULTILINE)
        yield Locked(name, version, requirement, tuple(hashes), frozenset(needed_by), block)


def find_needed(locked: Iterable[Locked], names: Iterable[str]) -> list[Locked]:
    """Return those packages of a lock, and all that they need in turn."""
    locked, needed = list(locked), set(map(normalise, names))
    while more := {package.name for package in locked if package.needed_by & needed} - needed:
        needed |= more
    return [package for package in locked if package.name in needed]

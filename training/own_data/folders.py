"""The files in a user's own folders, and which folders are parts of the data, such as train/, and which are labels."""

import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from training.data import DataError, is_clutter, sort_paths
from training.sentences import list_names
from training.splitting import PART_NAMES, TEST, TRAIN, VALID, name_parts


def list_files(folder: Path) -> list[Path]:
    """Return the files in a folder tree, sorted, without hidden ones and what systems leave there."""
    return sort_paths(walk_files(folder))


def walk_files(folder: Path) -> Iterator[Path]:
    """Yield the files in a folder tree, without hidden ones and what systems leave there.

    A link to a folder is followed, once, unless it leads to a folder of the tree, which is read anyway, or above it.
    """
    top, seen = folder.resolve(), set[Path]()
    for place, folders, files in os.walk(folder, followlinks=True):
        here = Path(place)
        inside = here.relative_to(folder)
        kept = []
        for name in folders:
            target = (here / name).resolve()
            is_near = target.is_relative_to(top) or top.is_relative_to(target)
            is_again = (here / name).is_symlink() and (is_near or target in seen)
            if not is_again and not is_clutter(inside / name):
                seen.add(target)
                kept.append(name)
        folders[:] = kept
        yield from (here / name for name in files if not is_clutter(inside / name))


def name_kind(path: Path) -> str:
    """Return what a list of kinds of files calls one: its suffix, or its name if it has none."""
    return path.suffix.lower() or path.name


def describe_others(others: Counter[str], used: str) -> list[str]:
    """Return a line on the files that are not `used`, such as pictures, by kind; none if there are none."""
    listed = list_names(f"{count:,} {kind}" for kind, count in others.most_common())
    return [f"Not used, since they are not {used}: {listed}."] * bool(others)


def has_texts(folder: Path) -> bool:
    """Return True if a subfolder, at any depth, has a .txt file."""
    return any(path.suffix.lower() == ".txt" and path.parent != folder for path in walk_files(folder))


def find_parts(folder: Path, paths: Sequence[Path], unit: str) -> dict[str, str]:
    """Return the part that each subfolder stands for, such as {"val": "valid"}; {} if the subfolders are labels.

    Args:
        folder: the data.
        paths: files in it.
        unit: what they are called in errors, such as pictures.

    Raises:
        DataError: there are parts, and other folders beside them.
    """
    folders = sorted({names[0] for path in paths if len(names := path.relative_to(folder).parts) > 1})
    parts = name_parts(folders)
    if TRAIN not in parts.values() or (len(parts) == 1 and len(folders) > 1):
        return {}
    if rest := [name for name in folders if name not in parts]:
        raise DataError(
            f"{folder} has parts of a data set ({list_names(parts)}) and other folders of {unit} beside them "
            f"({list_names(rest)}); move either elsewhere."
        )
    return parts


def find_label(inside: Path, parts: Mapping[str, str]) -> tuple[str | None, str | None]:
    """Return the part and the label of a file, each None if its folders name none.

    Args:
        inside: its path within the data.
        parts: what each folder of a part stands for; if there are parts, only files in them have labels.
    """
    *folders, _ = inside.parts
    part = parts.get(folders[0]) if folders else None
    labels = folders[1:] if part else folders * (not parts)
    return part, labels[0] if labels else None


def check_labels(folder: Path, paths: Sequence[Path], unit: str) -> None:
    """Check that the subfolders, which are no parts and count as labels, do not look like parts.

    Raises:
        DataError: they do; the text says what to do.
    """
    inside = [path.relative_to(folder).parts for path in paths]
    folders = sorted({names[0] for names in inside if len(names) > 1})
    lone = sorted({names[0] for names in inside if len(names) > 2 and names[0].casefold() in PART_NAMES})
    if lone and len(folders) > 1:
        raise DataError(
            f"The folder {lone[0]} has subfolders of {unit}, as a part of a data set has, but the folders of "
            f"{folder} are {list_names(folders)}; call its parts train, valid and test, or give "
            f"--data {folder / lone[0]}, or rename {lone[0]} if it is a label."
        )
    if alike := find_alike(inside):
        raise DataError(
            f"The folders {list_names(alike)} of {folder} have the same subfolders, as the parts of a data set have; "
            "call them train, valid and test, with a subfolder for each label in each."
        )
    if len(folders) == 1 and (lone_folder := find_lone_folder(folder, paths)):
        raise DataError(f"{folder} has only the subfolder {folders[0]}; did you mean --data {lone_folder}?")


def find_alike(inside: Sequence[Sequence[str]]) -> list[str]:
    """Return folders with the same two or more subfolders, if the words train and test are in their names.

    Args:
        inside: the names of the folders, and at last of the file, in the path of each file.
    """
    rests: dict[str, set[tuple[str, ...]]] = {}
    for first, *rest in inside:
        rests.setdefault(first, set()).add(tuple(rest[:-1]))
    by_names: dict[frozenset[str], list[str]] = {}
    for name, below in rests.items():
        firsts = {folders[:1] for folders in below}
        if len(firsts) == 1:  # seg_train/seg_train/forest
            firsts = {folders[1:2] for folders in below}
        if () not in firsts and len(firsts) > 1:
            by_names.setdefault(frozenset(names[0] for names in firsts), []).append(name)
    for names in by_names.values():
        words = {PART_NAMES.get(word) for name in names for word in re.split(r"[\W_]+", name.casefold())}
        if len(names) > 1 and TRAIN in words and not words.isdisjoint((VALID, TEST)):
            return sorted(names)
    return []


def find_lone_folder(folder: Path, paths: Sequence[Path]) -> Path | None:
    """Return the folder where subfolders begin, if all are below a single one; None if it has files of its own.

    Such is pets/pets, if a zip was unpacked in a folder of its name. Files beside the single one do not count.
    """
    lone = folder
    inside = [path.relative_to(folder).parts[:-1] for path in paths if path.parent != folder]
    while len(firsts := {names[:1] for names in inside}) == 1 and () not in firsts:
        lone /= inside[0][0]
        inside = [names[1:] for names in inside]
    return lone if len(firsts) > 1 and () not in firsts else None

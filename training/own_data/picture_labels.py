"""Find the labels of pictures: in the names of folders, in a CSV, or in the files' names."""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from shared.images import SUFFIXES
from training.data import DataError, is_clutter
from training.own_data.folders import check_labels, find_label, find_parts
from training.own_data.labels import clean_label, read_group
from training.own_data.options import PATTERN, DataOptions
from training.own_data.problems import Problems
from training.own_data.tables import LABELS, OwnTable, read_division, read_own_table
from training.sentences import list_names
from training.splitting import PART_NAMES, TEST, TRAIN, VALID

NAMES = (
    "name", "file", "filename", "file_name", "fname", "image", "picture", "path", "image_path", "filepath", "image_id",
    "image_name", "filenames", "filepaths", "id",
)  # fmt: skip
CSV_NAMES = ("labels.csv", "train.csv")
TRIED = 200  # names that show which of several columns has those of the pictures


@dataclass(frozen=True)
class Labelled:
    """A picture file with its label, the part of the data that it is given for, if any, and its group."""

    path: Path
    label: str
    part: str | None = None
    group: str | None = None
    digest: str = ""


def label_by_folder(folder: Path, paths: Sequence[Path]) -> tuple[list[Labelled], list[str]]:
    """Return pictures labelled with the names of their folders, in parts if there are any, and lines on the others.

    Raises:
        DataError: the pictures are not in folders, or in parts and labels side by side.
    """
    parts = find_parts(folder, paths, "pictures")
    if not parts:
        check_labels(folder, paths, "pictures")
    found, loose = [], []
    for path in paths:
        part, label = find_label(path.relative_to(folder), parts)
        if label is None:
            loose.append(path)
        else:
            found.append(Labelled(path, clean_label(label), part))
    if not found:
        what = f"The parts {list_names(parts)} of {folder}" if parts else folder
        raise DataError(
            f"{what} must have a subfolder of pictures for each label; if the labels are in a CSV or in the files' "
            "names, say so with --labels-from."
        )
    used = {item.path.relative_to(folder).parts[0] for item in found}
    if len(used) == 1 and not parts:
        (label,) = used
        names = {match[1]: path.name for path in paths if (match := re.search(PATTERN, path.name))}
        if len(names) > 1:
            name, file = next(iter(names.items()))
            raise DataError(
                f"All pictures of {folder} are in {label}, which makes one label; if the labels are in the files' "
                f"names, such as {name} in {file}, add --labels-from pattern."
            )
    lines = [f"The labels are the names of the subfolders{' of ' + list_names(parts) if parts else ''}."]
    if loose:
        lines.append(f"Not used, since they are in no label's folder: {len(loose):,} pictures, such as {loose[0]}.")
    empty = [sub.name for sub in sorted(folder.iterdir()) if sub.is_dir() and sub.name not in used]
    if empty := [name for name in empty if not is_clutter(Path(name))]:
        lines.append(f"Not used, since they have no pictures: the folders {list_names(empty)}.")
    return found, lines


def label_by_csv(
    folder: Path, paths: Sequence[Path], table: Path | None, own: DataOptions, problems: Problems
) -> tuple[list[Labelled], list[str]]:
    """Return pictures labelled by the rows of a CSV, which is found in the folder if it is not named.

    The names may lack the suffix or the folder of a picture; see match_name.

    Raises:
        DataError: there is no CSV, or it lacks a column.
    """
    names = read_own_table(table or find_csv(folder), problems)
    by_name = index_names(folder, paths)
    name_column, label_column = find_picture_columns(names, own, by_name)
    group_column = names.find(own.group, (), "--group") if own.group else None
    named = PART_NAMES.get(names.path.stem.casefold())  # train.csv beside train/ and test/, whose names repeat
    found, rows, mentioned, missing = [], [], set(), 0
    for number, (place, row) in enumerate(names.iterate()):
        name, label = row[name_column].replace("\\", "/"), clean_label(row[label_column])
        matches = prefer_part(match_name(name, by_name), folder, named)
        mentioned.update(matches)
        where = f"{names.path.name}, {place}"
        if not label:
            problems.add(where, "The row has no label.")
        elif len(matches) > 1:
            listed = list_names((path.relative_to(folder).as_posix() for path in matches), 3)
            problems.add(where, f"{name} may be any of {len(matches)} pictures ({listed}); write the path of one.")
        elif not matches:
            missing += 1
            problems.add(where, f"There is no picture {name} in {folder}.")
        else:
            part = find_part(matches[0].relative_to(folder))
            found.append(Labelled(matches[0], label, part, read_group(row[group_column]) if group_column else None))
            rows.append(number)
    if missing and missing == len(names.table):
        raise DataError(
            f"None of the names in the column {name_column} of {names.path} is a picture in {folder}; the first is "
            f"{names.table[name_column].iloc[0]}. If another column has the names, call it name."
        )
    if TRAIN not in {item.part for item in found}:  # these folders are no parts, in spite of their names
        found = [replace(item, part=None) for item in found]
    is_divided = not {VALID, TEST}.isdisjoint(item.part for item in found)
    kept = (name_column, label_column, group_column)
    division = read_division(names.table, "folders divide the data" * is_divided, kept)
    for number, sentence in division.bad.items():
        problems.add(f"{names.path.name}, {names.name_place(number)}", sentence)
    if parts := division.parts:
        found = [replace(item, part=parts[row]) for item, row in zip(found, rows, strict=True) if parts[row]]
    lines = [
        f"Names are in the column {name_column} and labels in {label_column} of {names.path.name}.",
        *division.lines,
    ]
    if others := len(paths) - len(mentioned):
        lines.append(f"Not used, since {names.path.name} does not name them: {others:,} pictures.")
    return found, lines


def list_csvs(folder: Path) -> list[Path]:
    """Return the CSVs in a folder, sorted."""
    return [path for path in sorted(folder.glob("*")) if path.suffix.lower() in (".csv", ".tsv")]


def find_csv(folder: Path) -> Path:
    """Return labels.csv, train.csv or the only CSV in a folder.

    Raises:
        DataError: there is none, or several.
    """
    tables = list_csvs(folder)
    usual = [path for name in CSV_NAMES for path in tables if path.name.casefold() == name]
    if not tables or (len(tables) > 1 and not usual):
        what = f"has several CSVs ({list_names(path.name for path in tables)})" if tables else "has no CSV"
        raise DataError(f"{folder} {what}; name the one with the labels: --labels FILE.")
    return (usual or tables)[0]


def find_picture_columns(
    table: OwnTable, own: DataOptions, by_name: Mapping[str, Sequence[tuple[Path, tuple[str, ...]]]]
) -> tuple[str, str]:
    """Return the columns of names and labels: those with usual names, else the first and the second of two.

    If none of the names in the column with the most usual one is a picture, of those in `by_name`, it is the column
    with the most of them.

    Raises:
        DataError: a column is lacking, or the first line does not name the columns.
    """
    files = [name for name in table.columns if Path(name).suffix.lower() in SUFFIXES and match_name(name, by_name)]
    if files:
        raise DataError(
            f"The first line of {table.path} names the picture {files[0]}; write the names of the columns above it, "
            "such as name,label."
        )
    try:
        label = table.find(own.label_column, LABELS, "--label-column")
        usual = [name for name in NAMES if name != label.casefold()]
        name = table.find(None, usual, "")
    except DataError:
        if own.label_column or len(table.columns) != 2:
            raise
        return table.columns[0], table.columns[1]
    named = [column for column in table.columns if column.strip().casefold() in usual]
    counts = {column: count_matches(table, column, by_name) for column in named}
    return (name if counts[name] else max(named, key=counts.__getitem__)), label


def count_matches(table: OwnTable, column: str, by_name: Mapping[str, Sequence[tuple[Path, tuple[str, ...]]]]) -> int:
    """Return how many of the first cells of a column name a picture."""
    cells = table.table[column].iloc[:TRIED].astype(str)
    return sum(bool(match_name(cell.replace("\\", "/"), by_name)) for cell in cells)


def index_names(folder: Path, paths: Sequence[Path]) -> dict[str, list[tuple[Path, tuple[str, ...]]]]:
    """Return pictures by their names, with and without suffix, each with the parts of its path within the folder.

    Names and parts are as `fold` returns them.
    """
    found: dict[str, list[tuple[Path, tuple[str, ...]]]] = {}
    for path in paths:
        parts = tuple(fold(part) for part in path.relative_to(folder).parts)
        for name in {fold(path.name), fold(path.stem)}:
            found.setdefault(name, []).append((path, parts))
    return found


def match_name(name: str, by_name: Mapping[str, Sequence[tuple[Path, tuple[str, ...]]]]) -> list[Path]:
    """Return the pictures that a name with or without folders may mean: those with which it shares the longest ending.

    A picture in another folder than the name says does not match: its path within the data must end with the whole
    name, or the name with the whole path. The very path within the data and a name with its suffix count more.

    Args:
        name: such as "photos/cat/1.jpg", "cat/1" or "1.jpg".
        by_name: the pictures, from index_names.
    """
    *folders, last = [part for part in fold(name).split("/") if part not in ("", ".")] or [""]
    ranked = []
    for path, (*inside, full) in by_name.get(last, ()):
        shared = min(len(folders), len(inside))
        if folders[len(folders) - shared :] == inside[len(inside) - shared :]:
            ranked.append(((shared, folders == inside, last == full), path))
    best = max((rank for rank, _ in ranked), default=None)
    return [path for rank, path in ranked if rank == best]


def prefer_part(paths: list[Path], folder: Path, part: str | None) -> list[Path]:
    """Return those of several pictures of one name that are in the folder of a part, if there are any."""
    of_part = [path for path in paths if part and find_part(path.relative_to(folder)) == part]
    return of_part if len(paths) > 1 and of_part else paths


def fold(name: str) -> str:
    """Return a name in lower case and with composed letters: a Mac writes ü as two characters."""
    return unicodedata.normalize("NFC", name.casefold())


def find_part(inside: Path) -> str | None:
    """Return the part that the first folder of a path within the data stands for, or None."""
    return PART_NAMES.get(inside.parts[0].casefold()) if len(inside.parts) > 1 else None


def label_by_pattern(
    folder: Path, paths: Sequence[Path], pattern: str, problems: Problems
) -> tuple[list[Labelled], list[str]]:
    """Return pictures labelled by the first group of a regular expression for their names.

    Raises:
        DataError: the pattern is no regular expression, or has no group.
    """
    expression = compile_pattern(pattern, "--pattern")
    if not expression.groups:
        raise DataError(f"--pattern {pattern} needs a group in parentheses, which is the label, such as ^(.*)_.")
    parts, found = find_parts(folder, paths, "pictures"), []
    for path in paths:
        match = expression.search(path.name)
        if not match or not match[1]:
            problems.add(path, f"Its name does not match the pattern {pattern}.")
            continue
        label = clean_label(match[1])
        if not label:
            problems.add(path, f"The label that the pattern {pattern} finds in its name is empty.")
            continue
        found.append(Labelled(path, label, parts.get(path.relative_to(folder).parts[0])))
    return found, [f"The labels are the parts of the files' names that {pattern} finds."]


def compile_pattern(pattern: str, option: str) -> re.Pattern[str]:
    """Compile a regular expression.

    Raises:
        DataError: it is none.
    """
    try:
        return re.compile(pattern)
    except re.error as error:
        raise DataError(f"{option} {pattern} is not a regular expression: {error}.") from error


def find_groups(names: Mapping[Path, str], pattern: str, problems: Problems) -> dict[Path, str]:
    """Return the group that a regular expression finds in the name of each picture: its first group, or all of it.

    Args:
        names: the name of each picture, or its path below the data.
        pattern: the regular expression.
        problems: where pictures are listed in whose names it finds none.

    Raises:
        DataError: it is no regular expression.
    """
    expression, groups = compile_pattern(pattern, "--group"), {}
    for path, name in names.items():
        match = expression.search(name)
        if match and (group := match[1] if expression.groups else match[0]):
            groups[path] = group
        else:
            problems.add(path, f"Its name does not match --group {pattern}.")
    return groups

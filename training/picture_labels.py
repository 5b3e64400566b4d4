"""Find the labels of pictures: in the names of folders, in a CSV, or in the files' names."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from training.data import DataError
from training.own_data import DataOptions, Problems, is_clutter, list_names
from training.own_tables import LABELS, OwnTable, read_own_table
from training.picture_files import find_pictures
from training.splitting import PART_NAMES, TRAIN

NAMES = (
    "name", "file", "filename", "file_name", "image", "picture", "path", "image_path", "filepath", "image_id", "id",
)  # fmt: skip
CSV_NAMES = ("labels.csv", "train.csv")


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
    parts = find_parts(folder)
    found, loose = [], []
    for path in paths:
        *folders, _ = path.relative_to(folder).parts
        part = parts.get(folders[0]) if folders else None
        inside = folders[1:] if part else folders
        if inside:
            found.append(Labelled(path, inside[0], part))
        else:
            loose.append(path)
    if not found:
        what = f"The parts {list_names(parts)} of {folder}" if parts else folder
        raise DataError(
            f"{what} must have a subfolder of pictures for each label; if the labels are in a CSV or in the files' "
            "names, say so with --labels-from."
        )
    labels = {item.label for item in found}
    if len(labels) == 1 and not parts:
        (label,) = labels
        inner = [sub for sub in (folder / label).iterdir() if sub.is_dir() and not is_clutter(Path(sub.name))]
        if len(inner) > 1:
            raise DataError(f"{folder} has only the subfolder {label}; did you mean --data {folder / label}?")
    lines = [f"The labels are the names of the subfolders{' of ' + list_names(parts) if parts else ''}."]
    if loose:
        lines.append(f"Not used, since they are in no label's folder: {len(loose):,} pictures, such as {loose[0]}.")
    empty = [sub.name for sub in sorted(folder.iterdir()) if sub.is_dir() and sub.name not in (*labels, *parts)]
    if empty := [name for name in empty if not is_clutter(Path(name))]:
        lines.append(f"Not used, since they have no pictures: the folders {list_names(empty)}.")
    return found, lines


def find_parts(folder: Path) -> dict[str, str]:
    """Return the part that each subfolder stands for, such as {"val": "valid"}; {} if the subfolders are labels.

    Raises:
        DataError: there are parts, and other folders with pictures beside them.
    """
    folders = [sub for sub in sorted(folder.iterdir()) if sub.is_dir() and not is_clutter(Path(sub.name))]
    parts = {sub.name: PART_NAMES[sub.name.casefold()] for sub in folders if sub.name.casefold() in PART_NAMES}
    if TRAIN not in parts.values() or (len(parts) == 1 and len(folders) > 1):
        return {}
    rest = [sub for sub in folders if sub.name not in parts and find_pictures(sub)[0]]
    if rest:
        raise DataError(
            f"{folder} has parts of a data set ({list_names(parts)}) and other folders of pictures beside them "
            f"({list_names(sub.name for sub in rest)}); move either elsewhere."
        )
    return parts


def label_by_csv(
    folder: Path, paths: Sequence[Path], table: Path | None, own: DataOptions, problems: Problems
) -> tuple[list[Labelled], list[str]]:
    """Return pictures labelled by the rows of a CSV, which is found in the folder if it is not named.

    The names may lack the suffix or the folder of a picture.

    Raises:
        DataError: there is no CSV, or it lacks a column.
    """
    rows = read_own_table(table or find_csv(folder), problems)
    name_column, label_column = find_picture_columns(rows, own)
    group_column = rows.find(own.group, (), "--group") if own.group else None
    by_name = index_names(folder, paths)
    found, missing = [], 0
    for row, place in zip(rows.rows, rows.places, strict=True):
        name, label = row[name_column].replace("\\", "/"), row[label_column]
        matches = next((by_name[key] for key in (name.casefold(), Path(name).name.casefold()) if key in by_name), [])
        if not label:
            problems.add(f"{rows.path.name}, {place}", "The row has no label.")
        elif len(matches) > 1:
            problems.add(
                f"{rows.path.name}, {place}", f"{name} is the name of {len(matches)} pictures; add its folder."
            )
        elif not matches:
            missing += 1
            problems.add(f"{rows.path.name}, {place}", f"There is no picture {name} in {folder}.")
        else:
            part = find_part(matches[0].relative_to(folder))
            found.append(Labelled(matches[0], label, part, row[group_column] if group_column else None))
    if missing and missing == len(rows.rows):
        raise DataError(
            f"None of the names in the column {name_column} of {rows.path} is a picture in {folder}; the first is "
            f"{rows.rows[0][name_column]}."
        )
    parts = {item.part for item in found}
    if TRAIN not in parts:  # these folders are no parts, in spite of their names
        found = [replace(item, part=None) for item in found]
    used = {item.path for item in found}
    lines = [f"Names are in the column {name_column} and labels in {label_column} of {rows.path.name}."]
    if len(used) < len(paths):
        lines.append(f"Not used, since {rows.path.name} does not name them: {len(paths) - len(used):,} pictures.")
    return found, lines


def find_csv(folder: Path) -> Path:
    """Return labels.csv, train.csv or the only CSV in a folder.

    Raises:
        DataError: there is none, or several.
    """
    tables = [path for path in sorted(folder.glob("*")) if path.suffix.lower() in (".csv", ".tsv")]
    usual = [path for name in CSV_NAMES for path in tables if path.name.casefold() == name]
    if not tables or (len(tables) > 1 and not usual):
        what = f"has several CSVs ({list_names(path.name for path in tables)})" if tables else "has no CSV"
        raise DataError(f"{folder} {what}; name the one with the labels: --labels FILE.")
    return (usual or tables)[0]


def find_picture_columns(table: OwnTable, own: DataOptions) -> tuple[str, str]:
    """Return the columns of names and labels: those with usual names, else the first and the second of two."""
    try:
        label = table.find(own.label_column, LABELS, "--label-column")
        return table.find(None, [name for name in NAMES if name != label.casefold()], ""), label
    except DataError:
        if own.label_column or len(table.columns) != 2:
            raise
        return table.columns[0], table.columns[1]


def index_names(folder: Path, paths: Sequence[Path]) -> dict[str, list[Path]]:
    """Return pictures by their paths within the folder and by their names, with and without suffix, in lower case."""
    found: dict[str, list[Path]] = {}
    for path in paths:
        inside = path.relative_to(folder)
        names = {inside.as_posix(), inside.with_suffix("").as_posix(), path.name, path.stem}
        for name in {name.casefold() for name in names}:
            found.setdefault(name, []).append(path)
    return found


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
    parts, found = find_parts(folder), []
    for path in paths:
        match = expression.search(path.name)
        if not match or not match[1]:
            problems.add(path, f"Its name does not match the pattern {pattern}.")
            continue
        found.append(Labelled(path, match[1], parts.get(path.relative_to(folder).parts[0])))
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


def group_by_pattern(folder: Path, found: Sequence[Labelled], pattern: str, problems: Problems) -> list[Labelled]:
    """Return pictures with the group that a regular expression finds in their paths: its first group, or all of it."""
    expression, grouped = compile_pattern(pattern, "--group"), []
    for item in found:
        match = expression.search(item.path.relative_to(folder).as_posix())
        if not match:
            problems.add(item.path, f"Its path does not match --group {pattern}.")
            continue
        grouped.append(replace(item, group=match[1] if expression.groups else match[0]))
    return grouped

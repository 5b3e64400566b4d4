"""The options that say how to read a user's own data."""

import argparse
from dataclasses import dataclass, fields
from typing import Any

PATTERN = r"^(.*)_\d+"  # of file names such as great_pyrenees_173.jpg


@dataclass(frozen=True)
class DataOptions:
    """How to read a user's own data; each field is set by the command-line option of its name.

    `group` is a column whose equal values stay on one side of the split, or a regular expression for the paths of
    pictures. `groups` are columns to report by, with commas between them. `labels` is a CSV with the names of pictures
    and their labels. `pattern` is a regular expression for file names; None is PATTERN.
    """

    skip_bad: bool = False
    group: str | None = None
    time: str | None = None
    labels_from: str | None = None
    labels: str | None = None
    pattern: str | None = None
    text_column: str | None = None
    label_column: str | None = None
    void: str | None = None
    user_column: str | None = None
    item_column: str | None = None
    rating_column: str | None = None
    items: str | None = None
    scale: str | None = None
    users: bool = False
    item_name: str = "item"
    unit: str | None = None
    groups: str | None = None
    task: str | None = None

    @classmethod
    def read(cls, options: argparse.Namespace) -> "DataOptions":
        """Return the options that were given on the command line."""
        given = {item.name: getattr(options, item.name, None) for item in fields(cls)}
        return cls(**{name: value for name, value in given.items() if value is not None})


def add_data_options(parser: argparse.ArgumentParser, *names: str) -> None:
    """Add --skip-bad, --group, and the options with these names."""
    helps = {
        "time": ("COLUMN", "split by this column: the last part is the test"),
        "text_column": ("COLUMN", "the column with the texts (found if it has a usual name)"),
        "label_column": ("COLUMN", "the column with the labels (found if it has a usual name)"),
        "labels": ("FILE", "a CSV with the names of the pictures and their labels"),
        "groups": ("COLUMNS", "report the figures for each value of these columns, such as sex,region"),
        "pattern": ("REGEX", f"finds the label in a file's name: --labels-from pattern (default {PATTERN})"),
        "void": ("VALUE", "an index or a colour such as #ff00ff in the masks that stands for no class"),
        "user_column": ("COLUMN", "the column with the users (found if it has a usual name)"),
        "item_column": ("COLUMN", "the column with what they rated (found if it has a usual name)"),
        "rating_column": ("COLUMN", "the column with the ratings (found if it has a usual name)"),
        "items": ("FILE", "a table with titles, kinds and years of the items"),
        "scale": ("LOW,HIGH", "the lowest and highest possible rating (found by default)"),
        "users": ("", "publish users' ids and ratings with the model, so that the page can name them"),
        "item_name": ("WORD", "what an item is called, such as book, or story,stories (default item)"),
        "unit": ("WORD", "what the numbers are counted in, such as stars or EUR (default for ratings: points)"),
    }
    parser.add_argument("--skip-bad", action="store_true", default=None, help="go on without bad rows or files")
    grouped = "keep equal values of this column in one part of the split"
    if "labels_from" in names:
        parser.add_argument(
            "--labels-from", choices=("folder", "csv", "pattern"), help="where labels are (default: names of folders)"
        )
        grouped += "; without a CSV, a REGEX for paths"
    if "void" in names:
        grouped = "keep pictures in one part of the split for whose names this finds the same"
    parser.add_argument("--group", metavar="REGEX" if "void" in names else "COLUMN", help=grouped)
    if "task" in names:
        parser.add_argument(
            "--task", choices=("classes", "number"), help="what the target is (default: found from its values)"
        )
    for name in names:
        if name in helps:
            metavar, text = helps[name]
            kind: dict[str, Any] = {"metavar": metavar} if metavar else {"action": "store_true", "default": None}
            parser.add_argument(f"--{name.replace('_', '-')}", help=text.replace("%", "%%"), **kind)

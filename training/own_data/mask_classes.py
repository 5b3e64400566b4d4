"""The classes of masks: listed in a file, with or without colours, or found in the masks themselves."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.data import DataError
from training.networks.image_segmentation import IGNORED
from training.sentences import list_names

LISTS = (
    "codes.txt", "classes.txt", "classes.csv", "class_dict.csv", "label_colors.txt", "labels.txt", "labelmap.txt",
    "class_names.txt", "_classes.csv",
)  # fmt: skip
MAX_FOUND = 64  # classes: more are the shades of a photograph or of smooth edges, unless a list names them
IGNORE, BACKGROUND = "__ignore__", "background"  # LabelMe's name of index -1, stored as 255; and of 0, "_background_"
COLOUR = re.compile(r"#?([0-9a-fA-F]{6})|(\d{1,3})[\s,;]+(\d{1,3})[\s,;]+(\d{1,3})")
NAME_FIRST = re.compile(
    rf"(?P<name>.*?[^\s,;:])[\s,;:]+(?P<colour>#[0-9a-fA-F]{{6}}|{COLOUR.pattern.split('|')[1]})(?:[\s,;]*|:.*)"
)
COLOUR_FIRST = re.compile(rf"(?P<colour>#[0-9a-fA-F]{{6}}|{COLOUR.pattern.split('|')[1]})[\s,;]+(?P<name>\S.*)")
INDEX_NAME, NAME = r"(id|index|value|pixel value|class_id|class id|label_id)", r"(name|class|label|class_name|category)"
HEADER = re.compile(rf"(# )?({INDEX_NAME}[\s,;:]+)?{NAME}[\s,;:]+(r|red|colou?r|color_rgb|hex)\b.*", re.IGNORECASE)
HEADER_OF_NAMES = re.compile(rf"(# )?({INDEX_NAME}\s*[,;:\t]\s*{NAME}|{NAME}\s*[,;:\t]\s*{INDEX_NAME})", re.IGNORECASE)
NAME_ALONE = ("name", "names", "class", "classes", "label", "labels")  # headers of a CSV
NUMBER_AND_SPACE = re.compile(r"(?P<index>\d+)\s+(?P<name>\S.*)")
NUMBER_FIRST = re.compile(r"(?P<index>\d+)(?:\s*[,;=\t]\s*|\s*[:.]\s*(?!\d))(?P<name>\S.*)")
NUMBER_LAST = re.compile(r"(?P<name>\S.*?)\s*[,;:=\t]\s*(?P<index>\d+)")


@dataclass(frozen=True)
class Classes:
    """The names of the classes, and the class of each value in a mask: an index, or a colour as 0xrrggbb."""

    names: tuple[str, ...]
    codes: Mapping[int, int]
    in_colour: bool


def read_classes(path: Path) -> Classes:
    """Read a list of classes, one per line, all or none with a colour: "name r g b", "r g b name" or "name #rrggbb".

    A line such as "name:r,g,b:parts:actions", as CVAT writes it, is read, too.

    Without colours, the lines may begin with an index, as in "0 background"; else the first line is the class with
    index 0, or with -1 if it is LabelMe's __ignore__, which is left out. Several colours may have the same name: they
    become one class.

    Raises:
        DataError: the file has fewer than two classes or too many, duplicates, or colours in some lines only.
    """
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text; save it in that encoding.") from error
    lines = [line for line in lines if line]
    if lines and HEADER.fullmatch(lines[0]):
        del lines[0]
    pairs = [pair for line in lines if (pair := split_line(line))]
    if not pairs:
        return read_names(path, lines)
    if len(pairs) < len(lines):
        bad = next(line for line in lines if not split_line(line))
        raise DataError(
            f"{path} has colours, but none from 0 to 255 in the line {bad!r}; write a name, red, green, blue."
        )
    if numbered := split_numbers([name for name, _ in pairs]):  # 0,background,0,0,0
        pairs = [(name, colour) for (_, name), (_, colour) in zip(numbered, pairs, strict=True)]
    names = tuple(dict.fromkeys(name for name, _ in pairs))
    codes = {colour: names.index(name) for name, colour in pairs}
    if len(codes) < len(pairs) or not 2 <= len(names) <= IGNORED:
        raise DataError(f"{path} must list 2 to {IGNORED} classes, each with a colour of its own.")
    return Classes(names, codes, in_colour=True)


def read_names(path: Path, lines: list[str]) -> Classes:
    """Return the classes in the lines of a list without colours: names, or indices and names, such as "0 background".

    Raises:
        DataError: there are fewer than two classes or too many, or duplicates.
    """
    first = lines[0] if lines else ""
    is_header = HEADER_OF_NAMES.fullmatch(first) or (path.suffix.lower() == ".csv" and first.casefold() in NAME_ALONE)
    if is_header or first == IGNORE:
        lines = lines[1:]
    numbered = [pair for pair in split_numbers(lines) if pair[0] != IGNORED]
    found = sorted(numbered) or list(enumerate(lines))
    names = tuple(BACKGROUND if name == f"_{BACKGROUND}_" else name for _, name in found)
    if not 2 <= len(set(names)) == len(names) <= IGNORED:
        raise DataError(f"{path} must list 2 to {IGNORED} different classes, one per line.")
    return Classes(names, {index: code for code, (index, _) in enumerate(found)}, in_colour=False)


def split_numbers(lines: Sequence[str]) -> list[tuple[int, str]]:
    """Return the index and the name in each line, such as "0 background" or "background,0"; [] if they have none.

    Indices begin with 0 or, before something else than a space, with 1; neither they nor the names repeat. So "1 wheel"
    and "2 wheels" are names.
    """
    for pattern, first in ((NUMBER_AND_SPACE, 0), (NUMBER_FIRST, 1), (NUMBER_LAST, 1)):
        found = [(int(match["index"]), match["name"]) for line in lines if (match := pattern.fullmatch(line))]
        indices, names = {index for index, _ in found}, {name for _, name in found}
        is_unique = len(lines) == len(found) == len(indices) == len(names)
        if found and is_unique and min(indices) <= first and max(indices) <= IGNORED:
            return found
    return []


def split_line(line: str) -> tuple[str, int] | None:
    """Return the name and the colour in a line of a list of classes, or None if it has no colour."""
    match = NAME_FIRST.fullmatch(line) or COLOUR_FIRST.fullmatch(line)
    if not match:
        return None
    colour = parse_colour(match["colour"])
    return None if colour is None else (match["name"].strip(" \t,;\"'"), colour)


def parse_colour(text: str) -> int | None:
    """Return a colour such as "#ff8000" or "255, 128, 0" as 0xrrggbb, or None."""
    match = COLOUR.fullmatch(text.strip())
    if not match:
        return None
    if match[1]:
        return int(match[1], 16)
    levels = [int(level) for level in match.groups()[1:]]
    return None if max(levels) > 255 else levels[0] << 16 | levels[1] << 8 | levels[2]


def parse_void(text: str | None) -> int | None:
    """Return the value of --void: an index, which is a grey of masks in colour, or a colour as 0xrrggbb, or None.

    Raises:
        DataError: it is neither.
    """
    if text is None:
        return None
    if text.strip().isdecimal() and int(text) <= 255:
        return int(text)
    colour = parse_colour(text)
    if colour is None:
        raise DataError(f"--void {text} is neither an index from 0 to 255 nor a colour such as #ff00ff.")
    return colour


def find_classes(counts: Counter[int], in_colour: bool, void: int | None, folder: Path) -> Classes:
    """Return the classes that masks have, named by their indices or colours, until their author names them.

    Of indices, 255 is void, unless the only others are 0: then the masks are black and white.

    Raises:
        DataError: there are fewer than two classes, or too many colours or shades of grey.
    """
    values = sorted(value for value in counts if value != void)
    if in_colour:
        if len(values) > MAX_FOUND:
            raise DataError(
                f"The masks in {folder} have {len(values):,} colours, too many to be classes; save them as PNG without "
                "smooth edges, or list the colours in classes.csv."
            )
        names = tuple(f"colour #{value:06x}" for value in values)
        codes = {value: index for index, value in enumerate(values)}
    elif void is None and values == [0, 255]:
        names, codes = ("class 0", "class 1"), {0: 0, 255: 1}
    else:
        values = [value for value in values if value != IGNORED]
        if len(values) > MAX_FOUND:
            raise DataError(
                f"The masks in {folder} have {len(values)} shades of grey, too many to be classes; save them as PNG "
                "without smooth edges, or list the classes in classes.txt."
            )
        if values and values[-1] >= MAX_FOUND:
            raise DataError(
                f"The masks in {folder} have the shade {values[-1]}, but classes are numbered from 0 on; save them as "
                "PNG without smooth edges, or list the classes with their colours in classes.txt."
            )
        names = tuple(f"class {index}" for index in range(max(values, default=-1) + 1))
        codes = {index: index for index in range(len(names)) if index != void}
    if len(values) < 2:
        raise DataError(f"The masks in {folder} have fewer than two classes; their pixels must be indices or colours.")
    return Classes(names, codes, in_colour)


def check_white(masks: Sequence[NDArray[np.int64]], folder: Path) -> None:
    """Check that 255 is no class where others of the masks have 0 and 1: in them, it would be void.

    Args:
        masks: the different values of each mask.
        folder: for the message.

    Raises:
        DataError: there are such masks, and none has both 1 and 255.
    """
    found = [set(values.tolist()) for values in masks]
    if set().union(*found) == {0, 1, IGNORED} and not any({1, IGNORED} <= values for values in found):
        raise DataError(
            f"Some masks in {folder} have 0 and 255, others 0 and 1, so 255 may be a class or none; add --void 255 if "
            "it is none, or save all masks with 0 and 1."
        )


def match_black_and_white(classes: Classes, counts: Counter[int], void: int | None) -> Classes:
    """Return the classes of masks; of two listed ones, white (255) is the second if the masks are black and white."""
    is_black_and_white = not classes.in_colour and len(classes.names) == 2 and set(counts) - {void} == {0, 255}
    return Classes(classes.names, {0: 0, 255: 1}, in_colour=False) if is_black_and_white and void != 255 else classes


def number_from_0(classes: Classes, counts: Counter[int], void: int | None) -> Classes:
    """Return the classes of masks, from 0 on if a list numbers them from 1, but the masks from 0."""
    last = len(classes.names)
    is_from_1 = not classes.in_colour and sorted(classes.codes) == list(range(1, last + 1))
    used = set(counts) - {void, IGNORED}
    if is_from_1 and 0 in used and last not in used:
        return Classes(classes.names, {index: index for index in range(last)}, in_colour=False)
    return classes


def encode(values: NDArray[np.int64], classes: Classes, void: int | None) -> tuple[NDArray[np.uint8], list[int]]:
    """Return the class of each pixel, or IGNORED, and the values that are neither a class nor void.

    Of indices, 255 is always void.
    """
    present, inverse = np.unique(values, return_inverse=True)
    codes = np.array([IGNORED if v == void else classes.codes.get(int(v), IGNORED) for v in present], np.uint8)
    ignored = {void} if classes.in_colour else {void, IGNORED}
    unknown = [value for value in present.tolist() if value not in ignored and value not in classes.codes]
    return codes[inverse.reshape(values.shape)], unknown


def describe_unknown(values: Sequence[int], in_colour: bool) -> str:
    """Return a sentence on the values of a mask that are neither a class nor void."""
    if in_colour and len(values) > MAX_FOUND:
        return f"It has {len(values):,} colours that are no classes; save the masks as PNG without smooth edges."
    listed = list_names((f"#{value:06x}" if in_colour else value for value in values), 5)
    if len(values) == 1:
        what = "colour" if in_colour else "index"
        return f"Its {what} {listed} is no class; list it in classes.txt or codes.txt, or name it by --void."
    what = "colours" if in_colour else "indices"
    return f"Its {what} {listed} are no classes; list them in classes.txt or codes.txt, or name one by --void."

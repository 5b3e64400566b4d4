"""Read the header of a CSV and match the required columns."""

import itertools
import re
from collections import Counter
from collections.abc import Sequence

from ..errors import BadInput, quote
from ..limits import LIMITS
from ..text import normalise_name, strip_invisible
from .writing import read_escaped

NAMES_SHOWN = 12  # column names in an error message
SEPARATORS = re.compile(r"[-_. ]")  # optional in the name of a column
OTHER_TEXTS = {r"<(!|html|head|body|table|\?xml)": "an HTML or XML file", r"\[\s*(\{|$)|\{\s*$|\{\"": "JSON"}


def read_header(values: Sequence[str], required: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the column names of the file, and the same list with the required columns under their required names.

    Raises:
        BadInput: a required column is missing, a column occurs twice, or there are too many.
    """
    names = clean_names(values)
    if not names:
        raise BadInput("The first line has no names of columns; name them there.")
    for start, kind in OTHER_TEXTS.items():
        if re.match(start, names[0], re.IGNORECASE) and not set(names).intersection(required):
            raise BadInput(f"This is {kind}, not a CSV; save the table as CSV first.")
    if len(names) > LIMITS.columns:
        raise BadInput(f"The CSV has {len(names):,} columns; keep at most {LIMITS.columns}.")
    places = match_columns(names, required)
    missing = [name for name, place in zip(required, places, strict=True) if place is None]
    if missing:
        shown = ", ".join(quote(name)[1:-1] for name in names[:NAMES_SHOWN])
        more = f", and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
        rule = " The first line must name the columns." if len(missing) == len(required) else ""
        lacks = "The CSV lacks the columns " if len(missing) > 1 else "The CSV lacks the column "
        raise BadInput(f"{lacks}{', '.join(missing)}; its first line has: {shown}{more}.{rule}")
    repeated = [name for name, times in Counter(names).items() if name and times > 1]
    if repeated:
        raise BadInput(f"The CSV names the column {quote(repeated[0])} twice.")
    columns = list(names)
    for name, place in zip(required, places, strict=True):
        columns[place] = name  # type: ignore[index]  # none is missing
    return names, columns


def match_columns(names: Sequence[str], required: Sequence[str]) -> list[int | None]:
    """Return the index of each required column among the names, or None if it is missing.

    A name in another case or with other separators matches only if there is no exact match, and no other column has it.

    Raises:
        BadInput: several names match a column, but none exactly.
    """
    loose: dict[str, list[int]] = {}
    for index, name in enumerate(names):
        loose.setdefault(SEPARATORS.sub("", normalise_name(name)), []).append(index)
    exact = {name: names.index(name) for name in required if name in names}
    places: list[int | None] = []
    for name in required:
        similar = loose.get(SEPARATORS.sub("", normalise_name(name)), [])
        taken = {*exact.values(), *places}
        found = [exact[name]] if name in exact else [place for place in similar if place not in taken]
        if len(found) > 1:
            both = " and ".join(quote(names[index]) for index in found)
            raise BadInput(f"The CSV has the column {name} more than once: {both}; rename all but one.")
        places.append(found[0] if found else None)
    return places


def clean_names(values: Sequence[str]) -> list[str]:
    """Return the names in a header as they were before write_csv, and without empty names at the end."""
    names = [read_escaped(" ".join(strip_invisible(value).split())) for value in values]
    while names and not names[-1]:
        names.pop()
    if names.count("") < 2:
        return names
    given, last = set(names), 0
    for index, name in enumerate(names):
        if not name:
            last = next(number for number in itertools.count(max(last, index) + 1) if f"column {number}" not in given)
            names[index] = f"column {last}"
    return names

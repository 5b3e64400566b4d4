"""Find the column that is asked for, or the one with a usual name."""

from collections.abc import Collection, Sequence
from pathlib import Path

from shared.errors import quote
from training.data import DataError
from training.sentences import list_names, suggest


def find_column(
    columns: Sequence[str],
    asked: str | None,
    usual: Collection[str],
    option: str,
    data: Path,
    others: Collection[str] = (),
) -> str:
    """Return the column that is asked for, or else the one with the most usual name, in any case.

    Args:
        columns: all columns.
        asked: the value of the option, or None.
        usual: usual names in lower case, the most usual first.
        option: the option that names the column, for the message; "" if there is none.
        data: the file, for the message.
        others: usual names of columns with another use, in lower case, which the message does not propose.

    Raises:
        DataError: there is no such column.
    """
    there = list_columns(columns)
    if asked is not None:
        exact = [column for column in columns if column == asked]
        loose = exact or [column for column in columns if column.strip().casefold() == asked.strip().casefold()]
        if len(loose) != 1:
            raise DataError(f"{data} has no column {quote(asked)}.{suggest(asked, columns)} {there}")
        return loose[0]
    if found := find_usual(columns, usual):
        return found
    free = [column for column in columns if column.strip().casefold() not in others]
    near = next((clause for name in usual if (clause := suggest(name, free, least=0.8))), "")
    advice = f"name another with {option}" if option else "rename the one that is meant"
    called = " or ".join(list(usual)[:2])
    raise DataError(f"{data} has no column called {called}; {advice}.{near} {there}")


def list_columns(columns: Sequence[str]) -> str:
    """Return a sentence that lists the columns of a table."""
    return f"Its columns are: {list_names(columns)}."


def find_usual(columns: Sequence[str], usual: Collection[str]) -> str | None:
    """Return the column with the most usual name, in any case; None if none has a usual one."""
    by_name = {column.strip().casefold(): column for column in reversed(columns)}
    return next((by_name[name] for name in usual if name in by_name), None)

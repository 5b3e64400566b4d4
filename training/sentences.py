"""Words for messages: a list of names, the name that was perhaps meant, and lines to print."""

import difflib
from collections.abc import Iterable

from shared.errors import quote

SHOWN = 20  # names in a list


def list_names(names: Iterable[object], shown: int = SHOWN) -> str:
    """Return names as a list for a sentence; of many, the first ones and the number of the rest."""
    listed = [str(name) for name in names]
    more = f" and {len(listed) - shown:,} more" if len(listed) > shown else ""
    return ", ".join(listed[:shown]) + more


def print_lines(lines: Iterable[str]) -> None:
    """Print lines; nothing if there are none."""
    for line in lines:
        print(line)


def suggest(name: str, names: Iterable[str], kind: str = "column", least: float = 0.7) -> str:
    """Return a clause, after a space, that names the nearest of `names`; "" if none is as similar as `least`."""
    by_key = {other.casefold().replace("_", " ").replace("-", " "): other for other in names}
    near = difflib.get_close_matches(name.casefold().replace("_", " ").replace("-", " "), by_key, 1, least)
    article = "an" if kind[0] in "aeiou" else "a"
    return f" There is {article} {kind} {quote(by_key[near[0]])}; did you mean it?" if near else ""

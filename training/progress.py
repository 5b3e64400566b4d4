"""Show how far a long step of a training is."""

from collections.abc import Collection, Iterable, Iterator
from typing import TypeVar

from fastprogress.fastprogress import ConsoleProgressBar, progress_bar

Item = TypeVar("Item")


def show_progress(what: str, items: Iterable[Item], total: int | None = None) -> Iterator[Item]:
    """Yield items, and draw a bar that names the step; in a notebook, its name is above the bar.

    Args:
        what: a few words, such as "Decoding": the bar gets what is left of the line.
        items: what to yield.
        total: their number, if they have no length.
    """
    if isinstance(items, Collection) and not items:
        return
    bar = progress_bar(items, total=total)
    is_console = isinstance(bar, ConsoleProgressBar)
    if is_console:
        bar.prefix = what
    else:
        print(f"{what}:")
    try:
        yield from bar
    finally:
        if is_console:
            print()  # fastprogress leaves the cursor behind the bar

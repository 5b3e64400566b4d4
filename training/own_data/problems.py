"""Collect the problems of a data set, to report them all at once."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from training.data import DataError
from training.sentences import SHOWN

Result = TypeVar("Result")


class Problems:
    """The problems of a data set: one sentence for each bad row or file.

    Args:
        data: the file or folder, for the message.
        skip: leave out what is bad, instead of raising an error.
        unit: what is counted, such as "pictures".
    """

    def __init__(self, data: Path, skip: bool, unit: str) -> None:
        self.data, self.skip, self.unit = data, skip, unit
        self.found: list[str] = []  # the first ones, which are shown: there may be millions
        self.count = 0

    def add(self, where: object, sentence: str) -> None:
        """Add a problem of a row or file."""
        self.count += 1
        if len(self.found) < SHOWN:
            shown = where.relative_to(self.data) if isinstance(where, Path) and self.data in where.parents else where
            self.found.append(f"{shown}: {sentence}")

    def settle_with(self, check: Callable[[], Result]) -> Result:
        """Return what a check of the rest of the data returns, and settle; what it finds is reported with the others.

        Raises:
            DataError: the check found something, or there are problems that are not to be skipped.
        """
        try:
            result = check()
        except DataError as error:
            self.settle(str(error))
            raise
        self.settle()
        return result

    def settle(self, more: str = "") -> None:
        """Print the problems with --skip-bad; otherwise raise them together.

        Args:
            more: what is wrong with the rest of the data.

        Raises:
            DataError: there are problems, and they are not to be skipped.
        """
        if not self.found:
            return
        listed = "".join(f"\n  {line}" for line in self.found)
        hidden = f"\n  … and {self.count - SHOWN:,} more" if self.count > SHOWN else ""
        what = f"{self.count:,} problem{'s' * (self.count > 1)} with the {self.unit} of {self.data}"
        if not self.skip:
            way_on = f". Without them: {more}" if more else ", or go on without them with --skip-bad."
            raise DataError(f"{what}:{listed}{hidden}\nRepair or delete them{way_on}")
        done = "Bad cells count as missing, bad rows are left out" if self.unit == "rows" else "Left out"
        print(f"{done}: {what}:{listed}{hidden}")
        self.found, self.count = [], 0

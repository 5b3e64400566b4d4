"""Parse the values of a table row: categories, numbers and missing values."""

import difflib
import functools
import math
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from numbers import Real
from typing import Any, Literal

import numpy as np

from .config import StrictModel
from .dates import format_date, read_date
from .errors import BadInput, quote
from .text import drop_zeros, normalise_name, parse_number, strip_invisible, suggest_number

Row = Mapping[str, Any]
MISSING = "?"  # a missing value in the data set; always category 0
# In cells that Excel could not compute, in English and in German.
EXCEL_ERRORS = {
    "#n/a", "#div/0!", "#value!", "#ref!", "#num!", "#name?", "#null!", "#nv", "#wert!", "#bezug!", "#zahl!",
}  # fmt: skip
UNKNOWN = {"", MISSING, "na", "n/a", "<na>", "nan", "null", "none", *EXCEL_ERRORS}  # other spellings, in any case

GROUPED = {  # numbers with thousands separators, by their decimal sign
    ".": re.compile(r"[-+]?(?:\d++|[1-9]\d{0,2}(?:[, '\u2019]\d{3})++)?(?:\.\d*+)?(?:e[-+]?\d++)?", re.IGNORECASE),
    ",": re.compile(r"[-+]?(?:\d++|[1-9]\d{0,2}(?:[. '\u2019]\d{3})++)?(?:,\d*+)?(?:e[-+]?\d++)?", re.IGNORECASE),
}
SIGNS = "$\u20ac\xa3\xa5% "
CURRENCY = re.compile(r"^(?:EUR|USD|GBP|CHF)|(?:EUR|USD|GBP|CHF)$", re.IGNORECASE | re.ASCII)


class NumberColumn(StrictModel):
    """A numeric column: the range in the training data, and the median that replaces a missing value.

    `decimal` is the decimal sign of a column whose texts have thousands separators, signs or codes of currency, % or
    decimal commas; see read_grouped. A column with a `date_format` has days since 1970-01-01, and takes dates in that
    spelling.
    """

    minimum: float
    maximum: float
    median: float
    decimal: Literal[".", ","] | None = None
    date_format: str | None = None

    def read(self, value: object) -> float:
        """Return a value as a number, a date as its days; NaN if it is neither."""
        if self.date_format:
            return read_date(value, self.date_format)
        number = read_grouped(value, self.decimal) if self.decimal and isinstance(value, str) else math.nan
        return parse_number(value) if math.isnan(number) else number

    def show(self, number: float) -> str:
        """Return a number of this column for a sentence: a date in its spelling."""
        return format_date(number, self.date_format) if self.date_format else f"{number:.10g}"


def strip_units(text: str) -> str:
    """Return a text without signs of currency and % at its ends, nor one of the codes EUR, USD, GBP and CHF.

    A minus may stand before them, and parentheses stand for one, as in accounts: -$5 and (5 EUR).
    """
    bare = text.strip(SIGNS)
    if bare.startswith("(") and bare.endswith(")"):
        bare = f"-{bare[1:-1]}"
    sign = bare[:1] if bare.startswith(("-", "+")) else ""
    return sign + CURRENCY.sub("", bare[len(sign) :].strip(SIGNS), count=1).strip(SIGNS)


def read_grouped(text: str, decimal: str) -> float:
    """Return the number in a text with this decimal sign, such as "$ 1,234.5", or "12,5 %" as 12.5; else NaN."""
    bare = strip_units(" ".join(strip_invisible(text).split()).replace("\u2212", "-"))
    if not GROUPED[decimal].fullmatch(bare):
        return math.nan
    whole, _, decimals = re.sub(r"[ '\u2019]", "", bare).partition(decimal)
    try:
        return float(f"{re.sub('[.,]', '', whole)}.{decimals}" if decimals else re.sub("[.,]", "", whole))
    except ValueError:  # no digits
        return math.nan


def find_wrong_columns(columns: Sequence[str], rows: Sequence[Row]) -> dict[int, BadInput]:
    """Return an error, by index, for each row that does not have exactly these columns."""
    errors = {}
    known = set(columns)
    for index, row in enumerate(rows):
        if not known <= row.keys():
            absent = ", ".join(name for name in columns if name not in row)
            errors[index] = BadInput(f"The value of {absent} is not given; write ? where it is unknown.")
        elif len(row) > len(known):
            name = next(name for name in row if name not in known)
            close = difflib.get_close_matches(name[:40], columns, n=1) if isinstance(name, str) else []
            hint = f" Did you mean {close[0]!r}?" if close else f" The columns are {', '.join(columns)}."
            errors[index] = BadInput(f"There is no column {quote(name)}.{hint}")
    return errors


@functools.lru_cache(maxsize=256)  # columns; computed each time, it would take a third of a prediction's time
def index_categories(values: tuple[str, ...]) -> Mapping[str, int]:
    """Return the index of each category, by its name and by its normalised name if that is unambiguous."""
    loose: dict[str, list[int]] = {}
    for code, value in enumerate(values):
        loose.setdefault(_loosen(value), []).append(code)
    codes = {value: code for code, value in enumerate(values)}
    return codes | {form: found[0] for form, found in loose.items() if len(found) == 1 and form not in codes}


def read_category(name: str, value: object, codes: Mapping[str, int], values: Sequence[str]) -> int:
    """Return the index of a value among the categories of a column; 0 for a missing value.

    Args:
        name: what the error calls the column.
        value: the value as given by the user.
        codes: the result of index_categories.
        values: the categories; the first one stands for a missing value.

    Raises:
        BadInput: the category does not exist.
    """
    code = codes.get(value) if isinstance(value, str) else None
    if code is None:
        text = _as_text(value)
        forms = (text, _loosen(text), drop_zeros(text))
        code = next((codes[form] for form in forms if form in codes), None)
    if code is None and is_missing(value):
        code = 0
    if code is None:
        known = ", ".join(values[1:])
        raise BadInput(f"{name} must be one of {known}, or ? where it is unknown; not {quote(value)}.")
    return code


def read_number(name: str, value: object, span: NumberColumn, any_range: bool) -> float:
    """Return the number in a numeric column; the median for a missing value. A date counts as the nearest in the range.

    Args:
        name: what the error calls the column.
        value: the value as given by the user.
        span: the range and median of the column.
        any_range: True to accept finite numbers outside the range.

    Raises:
        BadInput: the value is not a number, or is outside the range.
    """
    if is_missing(value):
        return span.median
    number = span.read(value)
    if span.date_format and not math.isnan(number):
        return min(max(number, span.minimum), span.maximum)  # today is always later than the training data
    if not (span.minimum <= number <= span.maximum or (any_range and math.isfinite(number))):
        hint = suggest_number(value) if math.isnan(number) else ""
        ends = f"{span.show(span.minimum)} to {span.show(span.maximum)}"
        number_or_date = f"a number from {ends}, the range of the training data"
        has_days = span.minimum % 1 == span.maximum % 1 == 0  # the median of days may be half a day
        middle = math.floor(span.median) if has_days else span.median
        accepted = f"a date such as {span.show(middle)}" if span.date_format else number_or_date
        raise BadInput(f"{name} must be {accepted}, not {quote(value)}.{hint}")
    return number


def _loosen(name: str) -> str:
    return re.sub("[-_ ]+", "-", normalise_name(name))


def _as_text(value: object) -> str:
    """Return a text, or a number as text, without surrounding spaces; "" for anything else."""
    is_number = isinstance(value, Real | Decimal | np.bool_)
    try:
        return str(value).strip() if isinstance(value, str) or is_number else ""
    except ValueError:  # str() refuses integers of thousands of digits
        return ""


def is_missing(value: object) -> bool:
    """Return True for the spellings of a missing value."""
    if isinstance(value, str):
        return normalise_name(value) in UNKNOWN
    if isinstance(value, Decimal):
        return value.is_nan()
    if isinstance(value, Real):
        return bool(value != value)  # noqa: PLR0124 - NaN of any library
    if isinstance(value, np.datetime64):
        return bool(np.isnat(value))
    return value is None or type(value).__name__ in ("NAType", "NaTType")  # from pandas

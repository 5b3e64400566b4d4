"""Find what each column of a user's own table holds: numbers, dates, categories, or nothing to learn from."""

import math
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from shared.dates import FORMATS, parse_date
from shared.errors import quote
from shared.tabular_values import MISSING, is_missing, read_grouped, strip_units
from shared.text import ONE_COMMA, drop_zeros, parse_number
from training.data import DataError
from training.own_data.labels import clean_label
from training.own_data.problems import Problems

NUMBER, DATE, CATEGORY, LEFT_OUT = "number", "date", "category", "left out"
MIN_PARSED = 0.95  # of the cells of numbers or dates; the others are problems
MAX_CATEGORIES = 1000  # the most frequent ones; the others count as missing
RARE = 5  # rows: categories with fewer count as missing
MANY = 100  # different texts, of which most are numbers
TRIED = 200  # texts that show which formats of dates are worth trying
WORDS = 4  # on average, in a column of free text
ID_NAME = re.compile(r"(?i:(^|[\W_])(id|ids|no|uuid|guid|index|key)\.?$|nr\.?$)|[a-z]I[dD]$")
NUMBER_NAME = re.compile(r"(?i:nummer|number)$")  # of ids if hardly any value repeats, as those of houses do
CODE = re.compile(r"0\d+")
MIN_PADDED = 0.05  # of the different texts begin with 0 in a column of codes
ONE_POINT = re.compile(r"[-+]?[1-9]\d{0,2}\.\d{3}")  # 1.200: perhaps with a thousands separator
ABOUT = r"(?:(?:ca\.?|approx\.?|about|etwa|~|\u2248) ?)?"
WITH_UNIT = re.compile(
    rf"{ABOUT}([-+\u2212]?\d(?:[\d.,'\u2019 ]*\d)?)(?: ?((?:[^\W\d_]|[%$\u20ac\xa3\xa5\xb0])[^\d\s]{{0,9}}))?", re.I
)
UNITS = "its numbers have units or words beside them"
PAIRS = (("yes", "no"), ("true", "false"), ("y", "n"), ("t", "f"), ("ja", "nein"), ("j", "n"), ("wahr", "falsch"))
YES_NO, YES = tuple(map(set, PAIRS)), {yes for yes, _ in PAIRS}


@dataclass(frozen=True)
class Column:
    """A column, and the reason, a clause, if it is left out.

    Attributes:
        hint: what is printed after the reason, but not published: it may quote a cell. Categories
            that are numbers with a unit have one, too.
        values: of each row: float64, NaN if missing, for numbers and dates (in days); otherwise text, "?" if missing.
        decimal: the decimal sign of numbers, if their spelling needs it; see NumberColumn.
        sign: the decimal sign that numbers surely have; "" if they do not tell.
        reading: how a number is read whose spelling does not tell, such as "1.200 is 1200"; not published.
        date_format: the spelling of dates.
        bad: the rows whose cell is not what the others are; it counts as missing.
        question: of dates whose day and month cannot be told apart, and of numbers whose thousands and decimals cannot.
    """

    name: str
    kind: str
    values: pd.Series
    reason: str = ""
    hint: str = ""
    decimal: str | None = None
    sign: str = ""
    reading: str = ""
    date_format: str | None = None
    bad: tuple[int, ...] = ()
    question: str = ""

    @property
    def is_number(self) -> bool:
        """True if the values are numbers, perhaps of days."""
        return self.kind in (NUMBER, DATE)

    @property
    def categories(self) -> set[str]:
        """The different texts, without that for a missing value."""
        return set(self.values.unique()) - {MISSING}

    @property
    def is_yes_or_no(self) -> bool:
        """True for categories such as yes and no."""
        return self.kind == CATEGORY and {value.casefold() for value in self.categories} in YES_NO

    def describe(self) -> str:
        """Return the name, and what needs to be said of the values."""
        if self.kind == CATEGORY:
            return f"{self.name} ({len(self.categories):,})"
        spelling = self.date_format or self.reading or (self.sign == "," and "decimal comma")
        return f"{self.name} ({spelling})" if spelling else self.name


@dataclass(frozen=True)
class Dates:
    """Dates as days, NaN where a text is none, with the format that fits most of them."""

    form: str = FORMATS[0]
    days: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    is_ambiguous: bool = False


@dataclass(frozen=True)
class _Texts:
    """The different texts of a column, without the missing ones, and how often each occurs."""

    texts: list[str]
    counts: NDArray[np.int64] = field(repr=False)

    def share(self, numbers: NDArray[np.float64]) -> float:
        """Return the share of cells whose text is a number."""
        return float(self.counts[~np.isnan(numbers)].sum() / max(self.counts.sum(), 1))


def read_columns(table: pd.DataFrame, seen: int, kept: Collection[str], delimiter: str = ",") -> list[Column]:
    """Return what each column holds.

    Texts such as 1,234 and 1.234 are decimals if the decimal sign of another column is surely that of them; otherwise,
    1,234 has a thousands separator and 1.234 is a decimal. If whole numbers beside 1.234 show that it may have one, it
    does in a file with semicolons in which no column surely has decimal points; in others, it is asked about. So is
    1.234 in such a file if all numbers of the column are like it, and 1,234 if no column surely has a decimal sign.

    Args:
        table: columns of texts, as categories.
        seen: rows of the file, of which the table may be a sample.
        kept: columns that are not left out, such as the target.
        delimiter: of the file; "" for Parquet.
    """
    found = [read_column(table[name], seen, name in kept) for name in table]
    has_commas = any(column.sign == "," for column in found)
    if has_commas or delimiter == ";":
        again = [
            read_column(table[column.name], seen, column.name in kept, comma=True) if column.kind == NUMBER else column
            for column in found
        ]
        has_points = any(column.sign == "." for column in again)
        if has_commas or (not has_points and any(column.kind == NUMBER and column.question for column in found)):
            return again
        if not has_points:
            return [
                read_column(table[one.name], seen, one.name in kept, is_alone=True) if one.kind == NUMBER else one
                for one in found
            ]
    if not delimiter:  # floats, but for a column of texts
        return [replace(column, question="") if column.kind == NUMBER else column for column in found]
    return found


def read_column(
    cells: pd.Series, seen: int, is_kept: bool = False, comma: bool = False, is_alone: bool = False
) -> Column:
    """Return what a column holds; with `is_kept`, it is not left out.

    `comma` prefers decimal commas where texts do not tell; `is_alone` asks about points and commas although no number
    tells more.
    """
    name = str(cells.name)
    codes, all_texts = pd.factorize(cells.astype(object))
    present = np.array([not is_missing(text) for text in all_texts], np.bool_)
    texts = _Texts(list(all_texts[present]), np.bincount(codes, minlength=len(all_texts))[present])
    codes = np.where(present, np.cumsum(present) - 1, -1)[codes]  # -1: missing, the last of what they index
    cleaned = np.array([*map(clean_label, texts.texts), MISSING], dtype=object)
    as_text = Column(name, CATEGORY, pd.Series(cleaned[codes], name=name, dtype="str"))

    def as_numbers(kind: str, numbers: NDArray[np.float64], **spelling: Any) -> Column:
        values = pd.Series(np.append(numbers, np.nan)[codes], name=name)
        bad = np.flatnonzero(values.isna().to_numpy() & (codes >= 0))
        return Column(name, kind, values, bad=tuple(bad.tolist()), **spelling)

    unclear = "" if comma else find_unclear(texts.texts, is_alone)
    numbers, spelling = read_numbers(texts, comma, bool(unclear))
    share = texts.share(numbers)
    dates = read_dates(texts.texts) if share < MIN_PARSED else Dates()
    column, reason, hint = as_text, "", ""
    are_codes = _are_codes(texts.texts)
    if share >= MIN_PARSED and not are_codes:
        question = ask_thousands(unclear, name) if unclear else ""
        column = as_numbers(NUMBER, numbers, question=question, **spelling)
        reason = _judge_numbers(column, seen)
        if not reason and _are_ids(name, texts, numbers) and not is_kept:
            column = replace(as_text, values=as_text.values.map(drop_zeros))
    elif texts.share(dates.days) >= MIN_PARSED:
        question = ask_day_or_month(texts.texts[0], name) if dates.is_ambiguous else ""
        column = as_numbers(DATE, dates.days, date_format=dates.form, question=question)
    elif not are_codes and (text := find_unit(texts)):
        is_mixed = share >= 0.5 and len(texts.texts) > MANY
        reason = UNITS if is_mixed or _judge_texts(texts) else ""
        hint = f"; write them without, such as {WITH_UNIT.fullmatch(text)[1]} instead of {quote(text)}"  # type: ignore[index]
        column = replace(as_text, hint=hint)
    elif share >= 0.5 and len(texts.texts) > MANY and not are_codes:
        reason = f"{share:.0%} of its cells are numbers, but others are not"
        hint = f", such as {quote(texts.texts[int(np.isnan(numbers).argmax())])}; empty those"
    elif texts.texts:
        reason = _judge_texts(texts)
    if len(texts.texts) < 2 and (codes == 0).all() | (codes < 0).all():
        reason = "it has the same value in every row" if texts.texts else "it is empty"
    if not name:
        reason, hint = "it has no name", ""
    return replace(as_text, kind=LEFT_OUT, reason=reason, hint=hint) if reason and not is_kept else column


def _judge_numbers(column: Column, seen: int) -> str:
    """Return why numbers are left out: they are whole, and count or name the rows; "" if they are not."""
    known = column.values.dropna()
    different = known.nunique()
    if (known % 1 != 0).any() or different < MIN_PARSED * len(column.values):
        return ""
    if different == len(known) and known.max() - known.min() < seen:
        return "it counts the rows"
    is_named = ID_NAME.search(column.name) or NUMBER_NAME.search(column.name)
    return "it has ids: almost all values are different" if is_named else ""


def _judge_texts(texts: _Texts) -> str:
    """Return why texts are left out: they are ids or free text, or hardly repeat; "" if they do."""
    total, different = int(texts.counts.sum()), len(texts.texts)
    words = float(np.dot([len(text.split()) for text in texts.texts], texts.counts)) / total
    if words >= WORDS and different > total / 2:
        return f"it has free text, of {words:.0f} words on average"
    if different >= 0.9 * total:
        return "it has ids: almost all values are different"
    if not _repeat(texts):
        return f"its values hardly repeat: {different:,} different ones in {total:,} rows"
    return ""


def _are_ids(name: str, texts: _Texts, numbers: NDArray[np.float64]) -> bool:
    """Return True for whole numbers that repeat, in a column with the name of ids: they are categories."""
    is_whole = not (numbers[~np.isnan(numbers)] % 1).any()
    return bool(ID_NAME.search(name)) and is_whole and len(texts.texts) <= MAX_CATEGORIES and _repeat(texts)


def _repeat(texts: _Texts) -> bool:
    """Return True if at least half of the cells hold texts that are frequent enough to be categories."""
    frequent = np.sort(texts.counts[texts.counts >= RARE])[-MAX_CATEGORIES:]
    return bool(frequent.sum() >= texts.counts.sum() / 2)


def _are_codes(texts: Sequence[str]) -> bool:
    """Return True for digits such as those of postcodes: some begin with 0, and have as many digits as the longest.

    If others have fewer, several begin with 0, and they have four digits or more.
    """
    if not all(map(str.isdigit, texts)):
        return False
    lengths = set(map(len, texts))
    padded = [text for text in texts if text.startswith("0")]
    are_many = len(padded) >= max(2, MIN_PADDED * len(texts)) and max(lengths) >= 4
    return (
        any(map(CODE.fullmatch, padded)) and {*map(len, padded)} == {max(lengths)} and (len(lengths) == 1 or are_many)
    )


# --- numbers and dates ---


def read_numbers(texts: _Texts, comma: bool, is_unclear: bool) -> tuple[NDArray[np.float64], dict[str, str | None]]:
    """Return texts as numbers, NaN for one that is no number or that float32 cannot hold, and their spelling.

    The spelling has those of decimal, sign and reading of a Column that need to be said.
    """
    plain = _limit(pd.to_numeric(pd.Series(texts.texts, dtype=object), errors="coerce").to_numpy(np.float64))
    if not (np.isnan(plain).any() or comma or is_unclear):  # much faster for most columns
        return plain, {}
    by_sign = {sign: _limit([read_grouped(text, sign) for text in texts.texts]) for sign in (".", ",")}
    shares = {sign: texts.share(numbers) for sign, numbers in by_sign.items()}
    decimal = max(by_sign, key=lambda sign: (shares[sign], comma == (sign == ",")))
    numbers = by_sign[decimal]
    served = _limit([parse_number(text) for text in texts.texts])
    needed = None if np.array_equal(served, numbers, equal_nan=True) else decimal
    if shares["."] != shares[","]:
        return numbers, {"decimal": needed, "sign": decimal}
    either = np.flatnonzero(np.abs(by_sign["."] - by_sign[","]) > 0)  # not NaN
    reading = f"{texts.texts[either[0]]} is {numbers[either[0]]:.10g}" if len(either) else ""
    return numbers, {"decimal": needed, "reading": reading}


def find_unclear(texts: Sequence[str], is_alone: bool) -> str:
    """Return a text such as 1.200 whose point may separate thousands; "" if there is none.

    All numbers with a point must be like it. Others must have three digits or, with `is_alone`, there must be none. So
    may the comma of 1,200, but only with `is_alone`: otherwise, other columns show what it is.
    """
    for text in texts if is_alone else ():
        if "," in text and ONE_COMMA.fullmatch(strip_units(text)):
            return text
    found, has_three_digits, has_others = "", False, False
    for text in texts if any("." in text for text in texts) else ():  # much faster for whole numbers
        bare = strip_units(text)
        if ONE_POINT.fullmatch(bare):
            found = found or text
        elif bare.lstrip("+-").isdecimal():
            has_others = True
            has_three_digits |= len(bare.lstrip("+-")) == 3
        elif not all(math.isnan(read_grouped(text, sign)) for sign in ".,"):
            return ""
    return found if has_three_digits or (is_alone and not has_others) else ""


def find_unit(texts: _Texts) -> str:
    """Return a text such as 121 m² or ca. 103 if nearly all cells are numbers, and many with the same beside them."""
    found = [WITH_UNIT.fullmatch(text) for text in texts.texts]
    numbers = [read_grouped(one[1], "," if "," in one[1] else ".") if one else math.nan for one in found]
    units = {one[2].casefold() for one in found if one and one[2]}
    if not found or len(units) > 1 or texts.share(np.array(numbers)) < MIN_PARSED:
        return ""
    return next((text for text, one in zip(texts.texts, found, strict=True) if one and one[1] != text), "")


def _limit(numbers: Sequence[float] | NDArray[np.float64]) -> NDArray[np.float64]:
    found = np.asarray(numbers, np.float64)
    return np.where(np.abs(found) <= np.finfo(np.float32).max, found, np.nan)


def read_dates(texts: Sequence[str]) -> Dates:
    """Return texts as dates in the format that fits most of them; of equals, the first of FORMATS."""
    some = texts[:: max(len(texts) // TRIED, 1)]
    likely = [form for form in FORMATS if any(not math.isnan(parse_date(text, form)) for text in some)]
    read = [Dates(form, np.array([parse_date(text, form) for text in texts])) for form in likely]
    if not read:
        return Dates(days=np.full(len(texts), np.nan))
    read.sort(key=lambda dates: int(np.isnan(dates.days).sum()))  # stable
    best, *others = read
    also = [other for other in others if np.isnan(other.days).sum() == np.isnan(best.days).sum()]
    differ = any(not np.array_equal(best.days, other.days, equal_nan=True) for other in also)
    return replace(best, is_ambiguous=differ)


def ask_day_or_month(text: str, column: str) -> str:
    """Return a sentence on dates whose day and month cannot be told apart."""
    return f"Is {text} in {column} a day and a month, or a month and a day? Write dates as 2026-05-31."


def ask_thousands(text: str, column: str) -> str:
    """Return a sentence on numbers whose thousands and decimals cannot be told apart."""
    decimal, whole = sorted((read_grouped(text, sign) for sign in ",."), key=abs)
    clear = f"{whole:.10g} or, with four decimals, {decimal:.4f}"
    return f"Is {text} in {column} {whole:.10g} or {decimal:.10g}? Write its numbers like {clear}."


def parse_times(
    cells: pd.Series, column: str, name_place: Callable[[int], str], problems: Problems
) -> NDArray[np.float64]:
    """Return times as numbers, NaN for one that cannot be read, which is a problem.

    All are numbers, or all are dates in one form, whichever are more.

    Args:
        cells: texts, as categories.
        column: its name, for messages.
        name_place: returns where the cell with an index is.
        problems: takes the problems of cells.

    Raises:
        DataError: none can be read, or days and months cannot be told apart.
    """
    codes, used = pd.factorize(cells.cat.codes)
    texts = cells.cat.categories[used].tolist()
    times = np.fromiter(map(parse_number, texts), np.float64, len(texts))
    dates = read_dates(texts) if np.isnan(times).any() else Dates(days=times)
    question = ""
    if np.isnan(dates.days)[codes].sum() < np.isnan(times)[codes].sum():
        times = dates.days
        question = ask_day_or_month(texts[int((~np.isnan(times)).argmax())], column) if dates.is_ambiguous else ""

    def describe(row: int) -> str:
        text = texts[codes[row]]
        if is_missing(text):
            return f"{column} is missing."
        return f"{column} is neither a number nor a date such as 2026-05-31: {text!r}."

    bad = np.flatnonzero(np.isnan(times)[codes]).tolist()
    if 0 < len(bad) == len(codes):
        question = f"{name_place(0)}: {describe(0)}"
    if question:
        problems.settle(question)
        raise DataError(question)
    for row in bad:
        problems.add(name_place(row), describe(row))
    return times[codes]

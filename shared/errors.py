"""What can go wrong, as exceptions whose text is made to be shown to a person."""

import math
import re
from decimal import Decimal
from numbers import Real

from .text import visible

# Possessive: what has been read as digits is not read again, or a long row of digits would keep the process busy.
NUMBER = re.compile(r"[-+]?(\d++\.?\d*+|\.\d++)(e[-+]?\d++)?", re.IGNORECASE)
DECIMAL_COMMA = re.compile(r"[-+]?\d*,\d+")
ONE_COMMA = re.compile(r"[-+]?[1-9]\d{0,2},\d{3}")  # thousands, or three decimals: nobody can tell
THOUSANDS = re.compile(
    r"[-+]?[1-9]\d{0,2}"
    r"(([ '\u2019])\d{3}(\2\d{3})*([.,]\d+)?|(,\d{3}){2,}(\.\d+)?|,\d{3}\.\d+|(\.\d{3}){2,}(,\d+)?|\.\d{3},\d+)"
)


class BadInput(ValueError):
    """What was given cannot be answered; one sentence says what was wrong and what is accepted."""


def quoted(value: object) -> str:
    """What somebody gave, in quotation marks: short, on one line, printable, and without the marks of HTML."""
    if isinstance(value, str):
        text = value[:1000]
    else:
        try:
            text = str(value)[:1000]
        except Exception:  # Python writes no integer of thousands of digits and no list in thousands of lists
            is_integer = isinstance(value, int)
            text = "a number of thousands of digits" if is_integer else f"something of type {type(value).__name__}"
    text = " ".join(text.split()).translate(str.maketrans("<>", "‹›"))
    text = "".join(letter if letter.isprintable() else "?" for letter in text)
    return f"'{text if len(text) <= 40 else text[:37] + '...'}'"


def as_number(value: object) -> float:
    """A number, or the text of one, as float; NaN for anything else, True and False included.

    A text may have a decimal comma or separated thousands, where they cannot be mistaken for each other: 37,5 or 1 196
    or 1,234.5, but not 2,174. See number_hint.
    """
    if isinstance(value, bool) or not isinstance(value, Real | Decimal | str):
        return math.nan
    try:
        return float(_spelled(value) if isinstance(value, str) else value)
    except (ValueError, OverflowError):
        return math.nan


def _spelled(text: str) -> str:
    """The text of a number as Python spells it; "" if it is none."""
    text = " ".join(visible(text).split()).replace("\u2212", "-")
    if NUMBER.fullmatch(text):
        return text
    if THOUSANDS.fullmatch(text):
        text = re.sub("[ '\u2019]", "", text)
        mark = max(",.", key=text.rfind)  # the last one may be the decimal sign, which there is once
        whole, decimals = text.split(mark) if text.count(mark) == 1 else (text, "0")
        return f"{re.sub('[.,]', '', whole)}.{decimals}"
    return text.replace(",", ".") if DECIMAL_COMMA.fullmatch(text) and not ONE_COMMA.fullmatch(text) else ""


def number_hint(value: object) -> str:
    """A sentence, after a space, on how to write a number that as_number refuses; "" if it is nothing like one."""
    text = visible(value).strip() if isinstance(value, str) and len(value) < 40 else ""
    bare = text.strip("$\u20ac\xa3\xa5 \t\xa0\u202f")
    if ONE_COMMA.fullmatch(bare):
        thousands, decimals = bare.replace(",", ""), bare.replace(",", ".")
        return f" Write {thousands} if the comma separates thousands, or {decimals} if it is a decimal comma."
    return f" Write it without a sign of currency: {_spelled(bare)}." if bare != text and _spelled(bare) else ""


class CheckpointError(RuntimeError):
    """A checkpoint folder is missing, damaged or of an unknown format; the text names the file or field."""


class HubError(CheckpointError):
    """A model cannot be had from the Hub; one sentence says why, and what to do."""

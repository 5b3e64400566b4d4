"""Clean pasted text: remove invisible characters, normalise names, and parse numbers."""

import math
import re
import unicodedata
from decimal import Decimal
from numbers import Real

import numpy as np

# Invisible characters: soft hyphen, zero-width space, word joiner, byte order mark, direction marks, ...
INVISIBLE = re.compile(
    "[\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\u3164"
    "\ufeff\uffa0\ufff9-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a]"
)
# Joiners, variation selectors and tags; only emoji and the scripts from Hebrew onwards need them.
JOINERS = re.compile(
    "(?<![\u0590-\u1dff\u2190-\U0010ffff])[\u200c\u200d\ufe00-\ufe0f\U000e0001\U000e0020-\U000e007f"
    "\U000e0100-\U000e01ef]+"
)

LONGEST_NAME = 1000  # characters

# Possessive quantifiers prevent slow backtracking on long sequences of digits.
NUMBER = re.compile(r"[-+]?(\d++\.?\d*+|\.\d++)(e[-+]?\d++)?", re.IGNORECASE)
WHOLE = re.compile(r"([-+]?\d++)\.0++", re.ASCII)
DECIMAL_COMMA = re.compile(r"[-+]?\d*,\d+")
ONE_COMMA = re.compile(r"[-+]?[1-9]\d{0,2},\d{3}")  # ambiguous: thousands, or three decimals
THOUSANDS = re.compile(
    r"[-+]?[1-9]\d{0,2}"
    r"(([ '\u2019])\d{3}(\2\d{3})*([.,]\d+)?|(,\d{3}){2,}(\.\d+)?|,\d{3}\.\d+|(\.\d{3}){2,}(,\d+)?|\.\d{3},\d+)"
)


def strip_invisible(text: str) -> str:
    """Return the text without invisible characters; joiners are kept where emoji or a script need them."""
    return text if text.isascii() else JOINERS.sub("", INVISIBLE.sub("", text))


def normalise_name(text: str) -> str:
    """Return a name in normal form (NFKC) without case and with single spaces, cut to LONGEST_NAME characters."""
    short = strip_invisible(text)[:LONGEST_NAME]  # normalising n accents may take n * n steps
    return " ".join(unicodedata.normalize("NFKC", short).casefold().split())


def raise_first(text: str) -> str:
    """Return a text with a capital first letter; capitals in it stay, as in a German title or in PLZ."""
    return text[:1].upper() + text[1:]


def parse_number(value: object) -> float:
    """Convert a number, or its text, to float; return NaN for anything else, including True and False.

    A text may have a decimal comma or thousands separators unless it is ambiguous: 37,5 or 1 196 or 1,234.5, but not
    2,174. See suggest_number.
    """
    if isinstance(value, np.ndarray) and not value.ndim:
        value = value.item()
    if isinstance(value, bool | np.timedelta64) or not isinstance(value, Real | Decimal | str):
        return math.nan
    try:
        return float(_spell(value) if isinstance(value, str) else value)
    except (ValueError, OverflowError):
        return math.nan


def is_like_number(value: object) -> bool:
    """Return True for what parse_number reads, or suggest_number knows how to write."""
    return not math.isnan(parse_number(value)) or suggest_number(value) != ""


def parse_whole(value: object) -> int:
    """Return a whole number from 5, 5.0, "5" or "5.0"; -1 from anything else."""
    number = parse_number(value)
    return int(number) if number.is_integer() else -1


def drop_zeros(text: str) -> str:
    """Return the text of a whole number without decimals, "5" for "5.0"; pandas writes them beside missing ones."""
    return found[1] if (found := WHOLE.fullmatch(text)) else text


def _spell(text: str) -> str:
    """Return the text of a number in Python's notation; "" if it is not a number."""
    text = " ".join(strip_invisible(text).split()).replace("\u2212", "-")
    if NUMBER.fullmatch(text):
        return text
    if THOUSANDS.fullmatch(text):
        text = re.sub("[ '\u2019]", "", text)
        mark = max(",.", key=text.rfind)  # the last separator is the decimal sign if it occurs once
        whole, decimals = text.split(mark) if text.count(mark) == 1 else (text, "0")
        return f"{re.sub('[.,]', '', whole)}.{decimals}"
    return text.replace(",", ".") if DECIMAL_COMMA.fullmatch(text) and not ONE_COMMA.fullmatch(text) else ""


def suggest_number(value: object) -> str:
    """Return a hint, after a space, on how to write a number that parse_number refuses; "" for anything else."""
    text = strip_invisible(value).strip() if isinstance(value, str) and len(value) < 40 else ""
    bare = text.strip("$\u20ac\xa3\xa5 \t\xa0\u202f")
    if ONE_COMMA.fullmatch(bare):
        thousands, decimals = bare.replace(",", ""), bare.replace(",", ".")
        return f" Write {thousands} if the comma separates thousands, or {decimals} if it is a decimal comma."
    number = math.nan if bare == text else parse_number(bare)
    return "" if math.isnan(number) else f" Write it without a sign of currency: {number:.10g}."

"""Text as people paste it: invisible characters, names that differ only in how they are written, and numbers."""

import math
import re
import unicodedata
from decimal import Decimal
from numbers import Real

# Characters without width or ink: soft hyphen, zero-width space, word joiner, byte order mark, marks of direction, ...
UNSEEN = re.compile(
    "[\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\u3164"
    "\ufeff\uffa0\ufff9-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a]"
)
# Joiners, variation selectors and tags: emoji and scripts from Hebrew on need them, other characters do not.
JOINERS = re.compile(
    "(?<![\u0590-\u1dff\u2190-\U0010ffff])[\u200c\u200d\ufe00-\ufe0f\U000e0001\U000e0020-\U000e007f"
    "\U000e0100-\U000e01ef]+"
)

LONGEST_NAME = 1000  # characters: more than any name has

# Possessive: what has been read as digits is not read again, or a long row of digits would keep the process busy.
NUMBER = re.compile(r"[-+]?(\d++\.?\d*+|\.\d++)(e[-+]?\d++)?", re.IGNORECASE)
DECIMAL_COMMA = re.compile(r"[-+]?\d*,\d+")
ONE_COMMA = re.compile(r"[-+]?[1-9]\d{0,2},\d{3}")  # thousands, or three decimals: nobody can tell
THOUSANDS = re.compile(
    r"[-+]?[1-9]\d{0,2}"
    r"(([ '\u2019])\d{3}(\2\d{3})*([.,]\d+)?|(,\d{3}){2,}(\.\d+)?|,\d{3}\.\d+|(\.\d{3}){2,}(,\d+)?|\.\d{3},\d+)"
)


def strip_invisible(text: str) -> str:
    """Return the text without the characters that nobody sees. Joiners stay where emoji or a script need them."""
    return text if text.isascii() else JOINERS.sub("", UNSEEN.sub("", text))


def normalise_name(text: str) -> str:
    """Return what two ways to write a name have in common: no case, no characters of another width, single spaces.

    Only the beginning of a text longer than any name counts.
    """
    short = strip_invisible(text)[:LONGEST_NAME]  # to put n accents in order, Python may take n * n steps
    return " ".join(unicodedata.normalize("NFKC", short).casefold().split())


def parse_number(value: object) -> float:
    """Return a number, or the text of one, as float; NaN for anything else, True and False included.

    A text may have a decimal comma or separated thousands, where they cannot be mistaken for each other: 37,5 or 1 196
    or 1,234.5, but not 2,174. See suggest_number.
    """
    if isinstance(value, bool) or not isinstance(value, Real | Decimal | str):
        return math.nan
    try:
        return float(_spell(value) if isinstance(value, str) else value)
    except (ValueError, OverflowError):
        return math.nan


def _spell(text: str) -> str:
    """Return the text of a number as Python spells it; "" if it is none."""
    text = " ".join(strip_invisible(text).split()).replace("\u2212", "-")
    if NUMBER.fullmatch(text):
        return text
    if THOUSANDS.fullmatch(text):
        text = re.sub("[ '\u2019]", "", text)
        mark = max(",.", key=text.rfind)  # the last one may be the decimal sign, which there is once
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
    return f" Write it without a sign of currency: {_spell(bare)}." if bare != text and _spell(bare) else ""

"""Read dates as numbers of days, and write them, in the spelling of a table."""

import math
import re
from datetime import UTC, date, datetime, timedelta

import numpy as np

from .text import parse_number

EPOCH = datetime(1970, 1, 1)
FIRST_DAY, END_DAY = -719_162, 2_932_897  # days of years 1 to 9999; larger numbers may be seconds
ISO = "%Y-%m-%d"
FORMATS = (
    ISO, "%Y/%m/%d", "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%m-%d-%Y", "%d.%m.%y", "%d/%m/%y", "%m/%d/%y",
    "%d %b %Y", "%d %B %Y", "%b %d, %Y", "%B %d, %Y", "%a, %d %b %Y",
)  # fmt: skip
TIMES = {0: ("",), 1: (" %H:%M", " %I:%M %p"), 2: (" %H:%M:%S", " %I:%M:%S %p", " %H:%M:%S %z")}  # by colons
FIRST_TWO_DIGIT = 50  # of two digits, 50 to 99 are 1950 to 1999, and 00 to 49 are 2000 to 2049; tables.js has it, too
ISO_TEXT = re.compile(r"\d{4}-\d{2}-\d{2}(?:[T ].+)?")


def parse_date(text: str, form: str) -> float:
    """Return a date, perhaps with a time, as days since 1970-01-01 in UTC; NaN if it is not spelled like that.

    Args:
        text: such as "31.05.2026" or "31.05.2026 10:30".
        form: one of FORMATS.
    """
    if form == ISO:
        try:
            return _count_days(datetime.fromisoformat(text)) if ISO_TEXT.fullmatch(text) else math.nan
        except ValueError:
            return math.nan
    for time in TIMES.get(text.count(":"), ()):
        try:
            moment = datetime.strptime(text, form + time)
        except ValueError:
            continue
        if "%y" in form and moment.year >= 2000 + FIRST_TWO_DIGIT:  # strptime's own rule ends at 68
            moment = moment.replace(year=moment.year - 100)
        return _count_days(moment)
    return math.nan


def read_date(value: object, form: str) -> float:
    """Return a visitor's date as days: a text in the spelling `form` or in ISO 8601, a date, or a number of days.

    Where `form` has years of two digits, those of four are read, too. NaN if it is none of them, or outside
    the years 1 to 9999.
    """
    if isinstance(value, date):  # a datetime is a date, too
        value = value.isoformat()
    if isinstance(value, str):
        text = " ".join(value.split())
        found = (parse_date(text, one) for one in (form, form.replace("%y", "%Y"), ISO))
        return next((days for days in found if not math.isnan(days)), math.nan)
    if isinstance(value, np.datetime64):  # as a number, it would be days, seconds or nanoseconds
        days = float((value - np.datetime64(0, "D")) / np.timedelta64(1, "D"))
    else:
        days = math.nan if isinstance(value, np.timedelta64) else parse_number(value)
    return days if FIRST_DAY <= days < END_DAY else math.nan


def format_date(days: float, form: str) -> str:
    """Return days since 1970-01-01 as a date, with the time of day unless it is midnight."""
    moment = EPOCH + timedelta(seconds=round(days * 86400))
    if moment.time() != EPOCH.time():
        form += TIMES[2 if moment.second else 1][0]
    return moment.strftime(form.replace("%Y", f"{moment.year:04}"))  # strftime may leave out zeros


def _count_days(moment: datetime) -> float:
    try:
        naive = moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment
    except OverflowError:  # a time zone leads beyond the year 1 or 9999
        return math.nan
    return (naive - EPOCH) / timedelta(days=1)

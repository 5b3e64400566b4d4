"""Dates in the spelling of a table: read as days, shown again, and served."""

import math
from datetime import date, datetime

import numpy as np
import pytest

from shared.dates import format_date, parse_date, read_date
from shared.errors import BadInput
from shared.tabular_values import NumberColumn, is_missing, read_grouped, read_number

DAY = 20604  # 2026-05-31


@pytest.mark.parametrize(
    ("text", "form", "days"),
    [
        ("2026-05-31", "%Y-%m-%d", DAY),
        ("31.05.2026", "%d.%m.%Y", DAY),
        ("31.5.2026", "%d.%m.%Y", DAY),
        ("05/31/2026", "%m/%d/%Y", DAY),
        ("31/05/26", "%d/%m/%y", DAY),
        ("31.12.49", "%d.%m.%y", 29219),  # 2049
        ("01.01.50", "%d.%m.%y", -7305),  # 1950
        ("03.02.55", "%d.%m.%y", -5446),
        ("29.02.68 12:00", "%d.%m.%y", -671.5),
        ("31.12.99", "%d.%m.%y", 10956),
        ("31.12.2055", "%d.%m.%Y", 31410),
        ("31 May 2026", "%d %b %Y", DAY),
        ("2026-05-31 12:00", "%Y-%m-%d", DAY + 0.5),
        ("2026-05-31T18:00:00+06:00", "%Y-%m-%d", DAY + 0.5),
        ("31.05.2026 06:00:00", "%d.%m.%Y", DAY + 0.25),
        ("5/31/2026 6:00 PM", "%m/%d/%Y", DAY + 0.75),
        ("Sun, 31 May 2026 02:00:00 +0200", "%a, %d %b %Y", DAY),
        ("1969-12-31", "%Y-%m-%d", -1),
        ("31.02.2026", "%d.%m.%Y", math.nan),
        ("20260531", "%Y-%m-%d", math.nan),
        ("2026-05-31", "%d.%m.%Y", math.nan),
        ("0001-01-01T00:00+06:00", "%Y-%m-%d", math.nan),
        ("1:2:3:4", "%d.%m.%Y", math.nan),
        ("", "%Y-%m-%d", math.nan),
    ],
)
def test_a_date_is_a_number_of_days(text, form, days):
    assert parse_date(text, form) == pytest.approx(days, nan_ok=True)


@pytest.mark.parametrize(
    "value", [" 31.05.2026", "2026-05-31", date(2026, 5, 31), datetime(2026, 5, 31), DAY, np.float32(DAY)]
)
def test_a_visitor_may_write_a_date_in_the_spelling_of_the_table_or_in_iso(value):
    assert read_date(value, "%d.%m.%Y") == DAY


def test_a_year_of_two_digits_may_have_four():
    assert read_date("03.02.1955", "%d.%m.%y") == read_date("03.02.55", "%d.%m.%y") == -5446
    assert read_date("31.05.2126", "%d.%m.%y") == DAY + 36524
    assert math.isnan(read_date("31.05.26", "%d.%m.%Y"))


@pytest.mark.parametrize("unit", ["D", "h", "s", "us", "ns"])
def test_a_date_of_numpy_is_read_in_its_unit(unit):
    assert read_date(np.datetime64("2026-05-31", unit), "%d.%m.%Y") == DAY
    assert is_missing(np.datetime64("NaT", unit))


def test_a_date_of_pandas_is_read():
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame({"day": pandas.to_datetime(["2026-05-31 12:00", None])})
    moment, nothing = table["day"]
    assert read_date(moment, "%d.%m.%Y") == read_date(table["day"].to_numpy()[0], "%d.%m.%Y") == DAY + 0.5
    assert read_date(moment.tz_localize("Europe/Berlin"), "%d.%m.%Y") == DAY + 10 / 24
    assert is_missing(nothing)


@pytest.mark.parametrize("value", [-719_162, 2_932_896.5])
def test_a_number_of_days_may_be_in_any_year(value):
    assert read_date(value, "%d.%m.%Y") == value


@pytest.mark.parametrize(
    "value",
    [
        *(True, np.True_, [], np.array([DAY]), "tomorrow", 10**400, math.inf, -math.inf, -1e300, 1_577_836_800),
        *(-719_163, 2_932_897, np.timedelta64(DAY, "D"), np.datetime64(10**6, "Y")),
    ],
)
def test_what_is_no_date_is_nan(value):
    assert math.isnan(read_date(value, "%d.%m.%Y"))


def test_a_date_is_shown_with_its_time_unless_it_is_midnight():
    assert format_date(DAY, "%d.%m.%Y") == "31.05.2026"
    assert format_date(DAY + 0.75, "%Y-%m-%d") == "2026-05-31 18:00"


@pytest.mark.parametrize("text", ["0001-01-01", "1066-10-14", "1969-12-31 23:59:59", "2026-05-31 10:30:07"])
def test_a_date_that_is_shown_can_be_read_again(text):
    assert format_date(parse_date(text, "%Y-%m-%d"), "%Y-%m-%d") == text


def test_messages_name_dates():
    span = NumberColumn(minimum=DAY - 30, maximum=DAY, median=DAY, date_format="%d.%m.%Y")
    assert read_number("Tag", "30.05.2026", span, any_range=False) == DAY - 1
    assert read_number("Tag", "?", span, any_range=False) == DAY
    for value in ("soon", "20600"):
        with pytest.raises(BadInput, match=r"Tag must be a date such as 31\.05\.2026, not"):
            read_number("Tag", value, span, any_range=False)


def test_the_example_of_a_date_has_a_time_only_where_others_have_one():
    span = NumberColumn(minimum=DAY - 3, maximum=DAY, median=DAY - 1.5, date_format="%d.%m.%y")
    with pytest.raises(BadInput, match=r"must be a date such as 29\.05\.26, not"):
        read_number("Tag", "soon", span, any_range=False)
    span = span.model_copy(update={"maximum": DAY + 0.75})
    with pytest.raises(BadInput, match=r"must be a date such as 29\.05\.26 12:00, not"):
        read_number("Tag", "soon", span, any_range=False)


def test_a_later_or_earlier_date_counts_as_the_nearest_one():
    span = NumberColumn(minimum=DAY - 30, maximum=DAY, median=DAY, date_format="%d.%m.%Y")
    assert read_number("Tag", "01.06.2027", span, any_range=False) == DAY
    assert read_number("Tag", "01.06.1999", span, any_range=False) == DAY - 30


@pytest.mark.parametrize(
    ("text", "decimal", "number"),
    [
        ("1,234.5", ".", 1234.5), ("1,234", ".", 1234), ("1 234 567", ".", 1234567), ("$ 1,200", ".", 1200),
        ("\xa31,200", ".", 1200), ("1,200\xa5", ".", 1200),
        ("1.234,5", ",", 1234.5), ("1,234", ",", 1.234), ("1.234", ",", 1234), ("12,5 %", ",", 12.5),
        ("\u22123", ".", -3), ("1e3", ".", 1000), ("1,23", ".", math.nan), ("1.5", ",", math.nan), ("", ".", math.nan),
        (".", ".", math.nan), ("nan", ".", math.nan), ("12 km", ".", math.nan),
        ("3640,50 EUR", ",", 3640.5), ("EUR 3898,50", ",", 3898.5), ("CHF 2'966.50", ".", 2966.5), ("5usd", ".", 5),
        ("-$5.00", ".", -5), ("+$ 5", ".", 5), ("- \u20ac1.200", ",", -1200), ("-USD 5", ".", -5),
        ("\u2212\xa35", ".", -5),
        ("(5.00)", ".", -5), ("($1,234.50)", ".", -1234.5), ("$(5)", ".", -5), ("(5 EUR)", ",", -5),
        ("(-5)", ".", math.nan), ("(5", ".", math.nan), ("()", ".", math.nan), ("--5", ".", math.nan),
        ("-", ".", math.nan),
        ("-3,5 % gbp", ",", -3.5), ("EUR", ".", math.nan), ("EUR 5 EUR", ".", math.nan), ("5 EURO", ".", math.nan),
    ],
)  # fmt: skip
def test_grouped_numbers_are_read_with_their_decimal_sign(text, decimal, number):
    assert read_grouped(text, decimal) == pytest.approx(number, nan_ok=True)


def test_a_column_with_a_decimal_sign_also_takes_plain_numbers():
    span = NumberColumn(minimum=0, maximum=2000, median=1, decimal=",")
    given = {"1.234": 1234, "1,234": 1.234, "1.5": 1.5, 1.5: 1.5}
    assert {value: read_number("x", value, span, any_range=False) for value in given} == given

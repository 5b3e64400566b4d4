"""Numbers and names as people write them."""

import math
import unicodedata

import pytest

from shared.text import normalise_name, parse_number, raise_first, strip_invisible, suggest_number


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("15", 15), (" 15.0 ", 15), ("1.5E+01", 15), ("+4", 4), ("-5", -5), ("\u22125", -5), (".5", 0.5), ("5.", 5),
        ("1\u200b5\ufeff", 15), ("\uff11\uff15", 15),
        ("15,0", 15), ("37,5", 37.5), ("0,125", 0.125), (",5", 0.5), ("1234,567", 1234.567),
        ("1 196", 1196), ("1\u202f196", 1196), ("1\xa0196", 1196), ("2'174", 2174), ("2\u2019174,5", 2174.5),
        ("1,234,567", 1234567), ("1,234.5", 1234.5), ("1.234,5", 1234.5), ("1.234.567", 1234567),
    ],
)  # fmt: skip
def test_a_number_is_read_where_it_can_mean_one_thing_alone(text, number):
    assert parse_number(text) == number


def test_capitals_within_a_name_stay():
    assert [raise_first(text) for text in ("kunden Übersicht", "PLZ", "übrige", "")] == [
        "Kunden Übersicht", "PLZ", "Übrige", "",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "text",
    ["1_5", "1,196", "2,174", "$5", "nan", "inf", "Infinity", "", ".", "1,2,3", "12 34", "1,234,56", "0x10", "5 %"],
)
def test_what_is_no_number_or_may_be_two(text):
    assert math.isnan(parse_number(text))


LONG = ["1" * 10**6 + "x", "." + "1" * 10**6 + "x", "1." + "1" * 10**6 + "x", "1" + ",111" * 10**5 + "x"]


@pytest.mark.parametrize("text", [*LONG, "1" + " 111" * 300_000 + "x"], ids=range(5))
def test_a_long_row_of_digits_is_read_once(text):
    """If each digit were read once more for every other, these would take hours, and hold up the whole process."""
    assert math.isnan(parse_number(text))


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("2,174", " Write 2174 if the comma separates thousands, or 2.174 if it is a decimal comma."),
        ("$2,174", " Write 2174 if the comma separates thousands, or 2.174 if it is a decimal comma."),
        ("$2174", " Write it without a sign of currency: 2174."),
        ("\xa32174", " Write it without a sign of currency: 2174."),
        ("2174\xa0\xa5", " Write it without a sign of currency: 2174."),
        ("2174,50 \u20ac", " Write it without a sign of currency: 2174.5."),
        ("many", ""),
        ("$", ""),
        (None, ""),
    ],
)
def test_how_to_write_a_number_is_said(text, hint):
    assert suggest_number(text) == hint


def test_invisible_characters_are_not_visible():
    """Of those that format any text; others belong to a notation, such as Egyptian hieroglyphs."""
    everyday = [chr(code) for code in (0xAD, *range(0x2000, 0x2070), *range(0xFE00, 0xFE10), 0xFEFF)]
    unseen = [sign for sign in everyday if unicodedata.category(sign) in ("Cf", "Mn")]
    assert len(unseen) > 30
    assert [ascii(sign) for sign in unseen if strip_invisible(f"hat{sign}ed") != "hated"] == []


@pytest.mark.parametrize(
    "text", ["\U0001f468\u200d\U0001f469\u200d\U0001f467", "\u2764\ufe0f", "\u0645\u06cc\u200c\u062e"]
)
def test_joiners_stay_where_they_are_needed(text):
    assert strip_invisible(f"\u200b{text}\u200b") == text


def test_names_are_compared_without_case_and_width():
    assert normalise_name(" \ufeffMarital\u00a0 STATUS\u200b ") == normalise_name("marital status") == "marital status"
    assert normalise_name("Straße") == normalise_name("STRASSE")


def test_the_accents_of_a_long_name_take_no_time():
    """To put a million accents in order, Python needs a quarter of an hour."""
    assert normalise_name("text" + "\u0301\u0316" * 500_000) == normalise_name("text" + "\u0301\u0316" * 498)


@pytest.mark.parametrize(
    "sign",
    [
        "\u034f", "\u061c", "\u115f", "\u1160", "\u17b4", "\u180e", "\u3164", "\uffa0", "\ufff9", "\U0001bca0",
        "\U0001d173", "\U000e0001", "\U000e0041", "\U000e0100",
    ],
)  # fmt: skip
def test_no_word_hides_an_invisible_sign(sign):
    assert strip_invisible(f"hat{sign}ed") == "hated"

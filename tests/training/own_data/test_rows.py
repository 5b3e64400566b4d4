"""A user's own table: what its columns hold, what is left out or refused and why, and its split."""

import argparse
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("torch", reason="torch and fastai are not installed: make test-all")

from shared.tables import write_csv
from shared.tabular_values import NumberColumn, read_number
from training.data import DataError
from training.own_data.columns import find_column, find_usual
from training.own_data.options import DataOptions
from training.own_data.rows import read_own_rows
from training.own_data.targets import TARGETS
from training.recipes.tabular import Tabular

pytestmark = pytest.mark.training
COUNT = 200


def make_table(count=COUNT) -> pd.DataFrame:
    """Return texts of a table with a column of each kind; the target is in the last column, and follows the hours."""
    rng = np.random.default_rng(0)
    hours = rng.integers(1, 60, count)
    table = pd.DataFrame(
        {
            "Stunden": hours,
            "Umsatz": rng.uniform(0.5, 99, count).round(1),
            "Ort": rng.choice(["Köln", "Düren", "Ulm"], count),
            "neu": rng.choice(["ja", "nein"], count),
            "gekündigt": np.where(hours + rng.normal(0, 15, count) > 30, "ja", "nein"),
        }
    )
    return table.astype(str)


def spell(table, separator=",") -> str:
    lines = [table.columns, *table.itertuples(index=False)]
    return "".join(separator.join(f'"{cell}"' for cell in line) + "\r\n" for line in lines)


def read(table, folder, target=None, **own):
    """Read a table, which is written first, or the file with that name in the folder."""
    path = folder / (table if isinstance(table, str) else "mine.csv")
    if not isinstance(table, str):
        path.write_text(spell(table), encoding="utf-8")
    return read_own_rows(path, target, DataOptions(**own), 42)


def join_parts(found) -> pd.DataFrame:
    return pd.concat([found.train.table, found.test.table])


@pytest.fixture
def table() -> pd.DataFrame:
    return make_table()


@pytest.mark.parametrize(
    "content",
    [
        spell(make_table(), ";").encode("cp1252"),
        ("sep=;\r\n" + spell(make_table(), ";")).encode("cp1252"),
        spell(make_table(), "\t").encode("utf-16"),
        b"\xef\xbb\xbf" * 2 + spell(make_table()).encode(),
    ],
    ids=["semicolons and cp1252", "Excel's sep=", "UTF-16", "two byte order marks"],
)
def test_every_dialect_is_read_alike(tmp_path, capsys, table, content):
    (tmp_path / "mine.csv").write_bytes(content)
    found = read("mine.csv", tmp_path)
    assert found.target == "gekündigt"
    assert found.labels == ("nein", "ja")  # the page shows the probability of the second
    assert (len(found.train), len(found.test), found.split) == (160, 40, "held-out fifth")
    rows = join_parts(found)
    assert sorted(rows["Stunden"]) == sorted(table["Stunden"].astype(float))
    assert sorted(rows["Ort"]) == sorted(table["Ort"])
    said = capsys.readouterr().out
    assert "mine.csv: 200 rows of 5 columns, understood as:" in said
    assert "target      gekündigt (it is the last column; --target names another)" in said
    assert "numbers     Stunden, Umsatz\n" in said
    assert "yes or no   neu\n" in said
    assert "categories  Ort (3)\n" in said
    assert re.search(r"gekündigt has 2 classes: nein \d\d\.\d%, ja \d\d\.\d%\.", said)
    assert "Split: 160 to train on, 40 to test on." in said


def test_parquet_is_read_alike(tmp_path, table):
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    days = pd.to_datetime("2026-05-01") + pd.to_timedelta(np.arange(COUNT) % 90, unit="D")
    typed = table.assign(Stunden=table["Stunden"].astype("Int64"), Umsatz=table["Umsatz"].astype(float), Tag=days)
    typed.loc[3, "Stunden"] = None
    typed.to_parquet(tmp_path / "mine.parquet")
    found = read("mine.parquet", tmp_path, "gekündigt")
    rows = join_parts(found)
    assert sorted(rows["Stunden"].dropna()) == sorted(table["Stunden"].drop(3).astype(float))
    assert found.date_formats == {"Tag": "%Y-%m-%d"}
    assert rows["Tag"].min() == 20574  # 2026-05-01


@pytest.mark.parametrize(
    ("spelling", "decimal"),
    [
        (lambda value: f"{value:.2f}".replace(".", ","), None),
        (lambda value: f"{value:,.2f}", None),
        (lambda value: f"{value:,.2f}".translate(str.maketrans(",.", ".,")), None),
        (lambda value: f"{value:,.2f}".replace(",", " "), None),
        (lambda value: f"{value:,.0f}", "."),
        (lambda value: f"$ {value:,.2f}", "."),
        (lambda value: f"{value:.1f} %".replace(".", ","), ","),
        (lambda value: f"{value:.3f}".replace(".", ","), ","),
        (lambda value: f"{value:.2f} EUR".replace(".", ","), ","),
        (lambda value: f"CHF {value:,.2f}".replace(",", "'"), "."),
    ],
)
def test_numbers_are_read_in_any_spelling_and_served_alike(tmp_path, table, spelling, decimal):
    values = np.random.default_rng(1).uniform(0.2, 4000, COUNT)
    texts = [spelling(value) for value in values]
    found = read(table.assign(Umsatz=texts), tmp_path)
    assert found.decimals.get("Umsatz") == decimal
    rows = join_parts(found)["Umsatz"]
    digits = len(re.search(r"[.,](\d+)( %| EUR)?$", texts[0])[1]) if not texts[0].isdigit() and decimal != "." else 0
    digits = 2 if texts[0].startswith(("$", "CHF")) else digits
    np.testing.assert_allclose(sorted(rows), sorted(values.round(digits)), atol=1e-9)
    span = NumberColumn(minimum=0, maximum=5000, median=1, decimal=decimal)
    served = [read_number("Umsatz", text, span, any_range=False) for text in texts]
    np.testing.assert_allclose(served, values.round(digits), atol=1e-9)


def test_another_column_decides_what_a_comma_means(tmp_path, table):
    texts = [f"{value},{value % 900 + 100}" for value in range(1, COUNT + 1)]
    read_alone = join_parts(read(table.assign(Umsatz=texts), tmp_path))["Umsatz"]
    assert read_alone.min() == 1101
    commas = [f"{value / 10:.1f}".replace(".", ",") for value in range(COUNT)]
    beside = join_parts(read(table.assign(Umsatz=texts, Satz=commas), tmp_path, "gekündigt"))["Umsatz"]
    assert beside.min() == 1.101


RENTS = [f"{rent:,}".replace(",", ".") for rent in range(850, 1250, 2)]  # 850 to 1.248


def read_rents(folder, table, separator, target="gekündigt", **own):
    columns = {"Miete": RENTS, "Kaution": [f"{row % 7 + 1}.500" for row in range(COUNT)]}
    columns["frei"] = ["1.500 €" if row % 3 else "900 €" for row in range(COUNT)]
    table = table[["Ort", "neu", "gekündigt"]].assign(**columns, **own.pop("more", {}))
    (folder / "mine.csv").write_bytes(spell(table, separator).encode("cp1252"))
    return read("mine.csv", folder, target, **own)


def test_points_separate_thousands_beside_whole_numbers_in_a_csv_with_semicolons(tmp_path, capsys, table):
    rows = join_parts(found := read_rents(tmp_path, table, ";"))
    assert sorted(rows["Miete"]) == list(range(850, 1250, 2))
    assert set(rows["Kaution"]) == {1500, 2500, 3500, 4500, 5500, 6500, 7500}
    assert set(rows["frei"]) == {900, 1500}
    assert found.decimals == {"Miete": ",", "Kaution": ",", "frei": ","}
    said = capsys.readouterr().out
    assert "numbers     Miete (1.000 is 1000), Kaution (1.500 is 1500), frei (1.500 € is 1500)" in said
    found = read_rents(tmp_path, table, ";", "Miete")
    assert sorted([*found.train.y, *found.test.y]) == list(range(850, 1250, 2))
    assert "Miete is a number from 850 to 1248 (1.000 is 1000), with the median 1049." in capsys.readouterr().out


@pytest.mark.parametrize(("separator", "more"), [(",", {}), (";", {"x": [f"{row % 90}.5" for row in range(COUNT)]})])
def test_points_that_may_separate_thousands_are_asked_about(tmp_path, table, separator, more):
    question = r"Is 1\.000 in Miete 1000 or 1\? Write its numbers like 1000 or, with four decimals, 1\.0000\."
    with pytest.raises(DataError, match=f"column Miete: {question}"):
        read_rents(tmp_path, table, separator, more=more)
    found = read_rents(tmp_path, table, separator, more=more, skip_bad=True)
    assert list(found.train.table) == ["Ort", "neu", "Kaution", *more]
    assert "Miete (its thousands and decimals cannot be told apart)" in found.notes[0]
    with pytest.raises(DataError, match=f"^{question}$"):
        read_rents(tmp_path, table, separator, "Miete", more=more, skip_bad=True)


def test_points_in_all_numbers_are_asked_about_in_a_csv_with_semicolons(tmp_path, table):
    table["Umsatz"] = [f"{row % 50 + 1}" for row in range(COUNT)]
    table["Miete"] = [f"1.{872 + row % 100}" for row in range(COUNT)]
    for separator in ";,":
        (tmp_path / "rents.csv").write_text(spell(table, separator), encoding="utf-8")
        if separator == ";":
            with pytest.raises(DataError, match=r"column Miete: Is 1\.872 in Miete 1872 or 1\.872\? Write its numbers"):
                read("rents.csv", tmp_path, "gekündigt")
        else:
            assert join_parts(read("rents.csv", tmp_path, "gekündigt"))["Miete"].min() == 1.872
    table["Umsatz"] = [f"{row % 50 + 1}.5" for row in range(COUNT)]
    (tmp_path / "rents.csv").write_text(spell(table, ";"), encoding="utf-8")
    assert join_parts(read("rents.csv", tmp_path, "gekündigt"))["Miete"].min() == 1.872


def test_commas_in_a_csv_with_semicolons_are_asked_about_if_nothing_tells_what_they_are(tmp_path, table):
    table = table[["Stunden", "Ort", "gekündigt"]].assign(x=[f"81,{211 + row}" if row else "7" for row in range(COUNT)])

    def read_x(table, separator=";"):
        (tmp_path / "x.csv").write_text(spell(table, separator), encoding="utf-8")
        return join_parts(read("x.csv", tmp_path, "gekündigt"))["x"].max()

    question = r"Is 81,212 in x 81212 or 81\.212\? Write its numbers like 81212 or, with four decimals, 81\.2120\."
    with pytest.raises(DataError, match=question):
        read_x(table)
    with pytest.raises(DataError, match=question):
        read("x.csv", tmp_path, "x")
    points, rents = [f"{row % 9}.5" for row in range(COUNT)], [f"{900 + row:,}" for row in range(COUNT)]
    assert read_x(table, ",") == read_x(table.assign(y=points)) == 81410
    for others in (points, rents):
        assert read_x(table.assign(y=[text.translate(str.maketrans(",.", ".,")) for text in others])) == 81.41
    assert read_x(table.assign(x=table["x"].str.replace(",", ".") + "0")) == 81.41


def test_numbers_of_a_parquet_have_decimal_points(tmp_path, capsys, table):
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    values = np.random.default_rng(4).choice([1.125, 1.375, 2.625, 850], COUNT)
    table.assign(Umsatz=values).to_parquet(tmp_path / "mine.parquet")
    found = read("mine.parquet", tmp_path, "gekündigt")
    assert sorted(join_parts(found)["Umsatz"]) == sorted(values)
    assert re.search(r"Umsatz \((1.125 is 1.125|1.375 is 1.375|2.625 is 2.625)\)", capsys.readouterr().out)


def test_decimal_commas_are_said(tmp_path, capsys, table):
    read(table.assign(Umsatz=table["Umsatz"].str.replace(".", ",")), tmp_path)
    assert "numbers     Stunden, Umsatz (decimal comma)\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("form", "spelled"),
    [
        ("%Y-%m-%d", "%Y-%m-%d"),
        ("%d.%m.%Y", "%d.%m.%Y"),
        ("%m/%d/%Y", "%m/%d/%Y"),
        ("%d.%m.%Y %H:%M", "%d.%m.%Y"),
        ("%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%d"),
    ],
)
def test_dates_become_days(tmp_path, capsys, table, form, spelled):
    days = pd.to_datetime("2026-01-01") + pd.to_timedelta(np.arange(COUNT), unit="D")
    found = read(table.assign(Tag=days.strftime(form)), tmp_path, "gekündigt")
    assert found.date_formats == {"Tag": spelled}
    assert sorted(join_parts(found)["Tag"]) == list(range(20454, 20454 + COUNT))
    assert f"dates       Tag ({spelled})" in capsys.readouterr().out


def test_a_day_that_may_be_a_month_is_asked_about(tmp_path, table):
    table["Tag"] = [f"{row % 12 + 1:02}/{row // 12 % 12 + 1:02}/2026" for row in range(COUNT)]
    with pytest.raises(DataError, match=r"column Tag: Is 01/01/2026 in Tag a day and a month, or a month and a day\?"):
        read(table, tmp_path, "gekündigt")
    found = read(table, tmp_path, "gekündigt", skip_bad=True)
    assert "Tag" not in found.train.table
    assert "Columns left out: Tag (its days and months cannot be told apart)." in found.notes


def test_birthdays_with_two_digits_are_not_in_the_future(tmp_path, capsys, table):
    born = pd.to_datetime("1950-01-01") + pd.to_timedelta(np.arange(COUNT) * 91, unit="D")
    table["geboren"] = born.strftime("%d.%m.%y")
    found = read(table, tmp_path, "gekündigt")
    assert found.date_formats == {"geboren": "%d.%m.%y"}
    assert sorted(join_parts(found)["geboren"]) == [-7305 + row * 91 for row in range(COUNT)]
    rule = "geboren has years of two digits: 50 to 99 are 1950 to 1999, 00 to 49 are 2000 to 2049.\n"
    said = capsys.readouterr().out
    assert rule in said
    assert "Warning: geboren" not in said
    table.loc[0, "geboren"] = "31.12.49"
    read(table, tmp_path, "gekündigt")
    warning = "geboren has dates in the future: 31.12.49 is 2049-12-31. Write its years with four digits."
    assert f"{rule}Warning: {warning}\n" in capsys.readouterr().out


def test_numbers_with_a_unit_are_said_to_be_so(tmp_path, capsys, table):
    table["qm"] = [f"{row * 7 % 211} m²" if row % 3 else f"ca. {row * 7 % 211}" for row in range(COUNT)]
    table["Gewicht"] = [f"{50 + row % 10},5 kg" for row in range(COUNT)]
    table["Hausnummer"] = [f"{row % 20}{'abcde'[row % 5]}" for row in range(COUNT)]
    found = read(table, tmp_path, "gekündigt")
    assert "qm" not in found.train.table
    assert "Columns left out: qm (its numbers have units or words beside them)." in found.notes
    said = capsys.readouterr().out
    why = "its numbers have units or words beside them; write them without, such as"
    assert f"  left out    qm: {why} 0 instead of 'ca. 0'\n" in said
    assert f"Gewicht has categories, since {why} 50,5 instead of '50,5 kg'.\n" in said
    assert "Hausnummer has" not in said
    with pytest.raises(DataError, match=rf"{why} 0 instead of 'ca\. 0'"):
        read(table, tmp_path, "qm")
    with pytest.raises(DataError, match=rf"is not a number: .*{why} 50,5 instead of '50,5 kg'"):
        read(table, tmp_path, "Gewicht", task="number")


@pytest.mark.parametrize("total", ["sum", "100000"])
def test_a_total_below_the_rows_is_a_problem(tmp_path, capsys, table, total):
    rents = np.random.default_rng(3).uniform(300, 900, COUNT).round(2)
    table["Nr"] = [f"K-{row}" for row in range(COUNT)]
    table["Miete"] = rents.astype(str)
    value = f"{rents.sum():.2f}" if total == "sum" else total
    ends = pd.concat([table, pd.DataFrame([{"Nr": "Summe", "Miete": value}])]).fillna("")
    message = rf"line 202: It seems to be a total: Miete is {re.escape(value)}, and most inputs are empty\."
    with pytest.raises(DataError, match=message):
        read(ends, tmp_path, "Miete")
    found = read(ends, tmp_path, "Miete", skip_bad=True)
    assert sorted([*found.train.y, *found.test.y]) == sorted(rents)
    capsys.readouterr()
    for other in ({**dict(table.iloc[0]), "Miete": value}, {"Miete": "950"}, {"Miete": "8000"}, {"Miete": "-100000"}):
        more = pd.concat([table, pd.DataFrame([other])]).fillna("")
        found = read(more, tmp_path, "Miete")
        assert len(found.train.y) + len(found.test.y) == COUNT + 1


def test_a_total_is_the_sum_and_above_the_others(tmp_path, table):
    rents = np.random.default_rng(3).uniform(300, 900, COUNT).round(2)
    rents[0] = 50_000  # so that the sum is not ten times the largest
    for share, is_total in ((1, True), (1.005, False)):
        last = pd.DataFrame([{"Miete": f"{rents.sum() * share:.2f}"}])
        found = read(pd.concat([table.assign(Miete=rents), last]).fillna(""), tmp_path, "Miete", skip_bad=True)
        assert len(found.train.y) + len(found.test.y) == COUNT + (not is_total)
    gains = [*rents[:100], *-rents[:99], 5 - rents[99]]  # together, they are 5
    more = pd.concat([table.assign(Gewinn=gains), pd.DataFrame([{"Gewinn": "5"}])]).fillna("")
    found = read(more, tmp_path, "Gewinn")
    assert len(found.train.y) + len(found.test.y) == COUNT + 1


def test_subtotals_among_the_rows_are_problems(tmp_path, table):
    sums = np.random.default_rng(3).uniform(300, 900, COUNT).round(2).astype(str)
    table["Umsatz"] = sums
    subtotals = pd.DataFrame([{"Umsatz": str(20_000 + row)} for row in range(4)] + [{"Umsatz": "612.5"}])
    parts = [table.iloc[:50], subtotals.iloc[:2], table.iloc[50:], subtotals.iloc[2:]]
    mixed = pd.concat(parts).fillna("")
    with pytest.raises(
        DataError, match=r"(?s)5 problems.*line 52: It seems to be a total: Umsatz is 20000, and most"
    ) as found:
        read(mixed, tmp_path, "Umsatz")
    assert "line 206: It seems to be a total: Umsatz is 612.5" in str(found.value)
    found = read(mixed, tmp_path, "Umsatz", skip_bad=True)
    assert sorted([*found.train.y, *found.test.y]) == sorted(sums.astype(float))
    small = pd.concat([table, pd.DataFrame([{"Umsatz": "400"}, {"Umsatz": "500"}])]).fillna("")
    found = read(small, tmp_path, "Umsatz")
    assert len(found.train.y) + len(found.test.y) == COUNT + 2


LEFT_OUT = {
    "Kunde": ([f"K{row:05}" for row in range(COUNT)], "it has ids: almost all values are different"),
    "Nummer": (range(1000, 1000 + COUNT), "it counts the rows"),
    "kunden_id": ([row * 977 for row in range(COUNT)], "it has ids: almost all values are different"),
    **{
        name: ([row * row * 7 + 1000 for row in range(COUNT)], "it has ids: almost all values are different")
        for name in ("Kundennummer", "Kunden-Nr.", "KundenNr", "Lfd. Nr.", "Rechnungsnr", "Order No.", "Order Number")
    },
    "Vorwahl": ([f"0{row % 110:04}" for row in range(COUNT)], "its values hardly repeat: 110 different ones in 200"),
    "Notiz": ([f"Er rief am {row}. Tag an und war zufrieden" for row in range(COUNT)], "it has free text, of 9 words"),
    "Anruf": ([f"Er rief {row} an" for row in range(COUNT)], "it has free text, of 4 words on average"),
    "Raum": ([f"Haus {row} oben" for row in range(COUNT)], "it has ids: almost all values are different"),
    "Land": (["DE"] * COUNT, "it has the same value in every row"),
    "leer": (["", "NA", "?", "null"] * (COUNT // 4), "it is empty"),
    "Code": ([f"c{row % 100}" for row in range(COUNT)], "its values hardly repeat: 100 different ones in 200 rows"),
    "Menge": ([str(row) if row % 5 else f"x{row}" for row in range(COUNT)], "80% of its cells are numbers, but"),
}


@pytest.mark.parametrize("name", LEFT_OUT)
def test_columns_without_use_are_left_out_with_a_reason(tmp_path, capsys, table, name):
    cells, reason = LEFT_OUT[name]
    table.insert(0, name, list(map(str, cells)))
    found = read(table, tmp_path)
    assert name not in found.train.table
    printed = capsys.readouterr().out
    assert f"left out    {name}: {reason}" in printed
    assert found.notes[0].startswith(f"Columns left out: {name} ({reason}")
    assert ("such as 'x0'; empty those" in printed) is (name == "Menge")
    assert "x0" not in found.notes[0]  # the card does not quote cells


def test_answers_of_many_words_are_categories_if_they_repeat(tmp_path, table):
    words = ["Ich war sehr zufrieden damit", "Es ging so, mal sehen", "Nie wieder, das war schlimm"]
    found = read(table.assign(Urteil=[words[row % 3] for row in range(COUNT)]), tmp_path, "gekündigt")
    assert set(found.train.table["Urteil"]) == set(words)


@pytest.mark.parametrize(("wrong", "is_number"), [(10, True), (11, False)])
def test_a_column_of_numbers_has_5_percent_of_other_cells_at_most(tmp_path, table, wrong, is_number):
    table.loc[: wrong - 1, "Umsatz"] = "viel"
    table["Umsatz"] = table["Umsatz"].str.replace(r"\..*", "", regex=True)
    found = read(table, tmp_path, skip_bad=True)
    assert "Umsatz" in found.train.table if is_number else "Umsatz" not in found.train.table.select_dtypes("number")
    assert join_parts(found)["Umsatz"].isna().sum() == wrong if is_number else True


def test_numbers_of_few_values_stay_numbers_and_codes_do_not(tmp_path, table):
    table["Sterne"] = [str(row % 5) for row in range(COUNT)]
    table["Postleitzahl"] = [f"0{row % 4}234" for row in range(COUNT)]
    table["PLZ"] = [("01067", "04109", "10115", "1010")[row % 4] for row in range(COUNT)]
    table["Stück"] = [("0", "5", "10")[row % 3] for row in range(COUNT)]
    table["Monat"] = [("05", "7", "12")[row % 3] for row in range(COUNT)]
    table["Preis"] = ["0950", *(str(900 + row % 40 * 11) for row in range(1, COUNT))]
    table["filiale_id"] = [str(row % 7) for row in range(COUNT)]
    table["Hausnummer"] = [str(row % 40) for row in range(COUNT)]
    table["number_of_rooms"] = [str(row * 977) for row in range(COUNT)]
    found = read(table, tmp_path, "gekündigt").train.table
    assert set(found["Sterne"]) == {0.0, 1.0, 2.0, 3.0, 4.0}
    assert set(found["Postleitzahl"]) == {"00234", "01234", "02234", "03234"}
    assert set(found["PLZ"]) == {"01067", "04109", "10115", "1010"}
    assert set(found["Stück"]) == {0.0, 5.0, 10.0}
    assert set(found["Monat"]) == {5.0, 7.0, 12.0}
    assert found["Preis"].min() == 900
    assert set(found["filiale_id"]) == set("0123456")
    assert set(found["Hausnummer"]) == set(range(40))
    assert "number_of_rooms" in found


def test_codes_beside_missing_ones_are_whole(tmp_path, table):
    """pandas writes 3.0 into a CSV, and later asks for 3."""
    table["filiale_id"] = ["" if row % 50 == 0 else f"{row % 7}.0" for row in range(COUNT)]
    table["gekündigt"] = [str(4006381333931 + row % 2) for row in range(COUNT)]
    found = read(table, tmp_path, "gekündigt")
    assert set(found.train.table["filiale_id"]) == {*"0123456", "?"}
    assert found.labels == ("4006381333931", "4006381333932")


def test_more_than_a_hundred_codes_are_categories(tmp_path, capsys, table):
    many = pd.concat([table] * 10, ignore_index=True)
    many["PLZ"] = [f"{row % 120 * 700:05}" for row in range(len(many))]
    found = read(many, tmp_path, "gekündigt")
    assert {"00000", "00700", "07700", "83300"} < set(found.train.table["PLZ"])
    assert "PLZ (120)" in capsys.readouterr().out


def test_a_measured_number_with_the_name_of_ids_stays_a_number(tmp_path, table):
    rng = np.random.default_rng(0)
    table["uv_index"] = rng.uniform(0, 12, COUNT).round(2).astype(str)
    table["key"] = [str(row % 50 * 7) for row in range(COUNT)]  # whole, but each of four rows
    table["room_no"] = rng.integers(1, 9, COUNT).astype(str)
    found = read(table, tmp_path, "gekündigt")
    assert sorted(join_parts(found)["uv_index"]) == sorted(table["uv_index"].astype(float))
    assert found.train.table.select_dtypes("number").columns.tolist() == ["Stunden", "Umsatz", "uv_index", "key"]
    assert found.open_categories == ()


def test_a_category_of_which_nothing_is_left_is_left_out(tmp_path, capsys, table):
    table["Code"] = [f"c{row % 40}" for row in range(COUNT)]  # each has five rows, but four to train on
    table["Tag"] = list(map(str, range(COUNT)))
    found = read(table, tmp_path, "gekündigt", time="Tag")
    line = "Code is left out: none of its values has 5 training rows; merge some of them."
    assert list(found.train.table) == ["Stunden", "Umsatz", "Ort", "neu"]
    assert line in found.notes
    assert line in capsys.readouterr().out.splitlines()
    with pytest.raises(DataError, match="has no column to predict the target gekündigt from"):
        read(table[["Code", "Tag", "gekündigt"]], tmp_path, "gekündigt", time="Tag")


def test_rare_and_unseen_categories_count_as_missing(tmp_path, capsys, table):
    table.loc[:3, "Ort"] = ["Aachen", "Bonn", "Bonn", "Bonn"]
    table.loc[10:12, "neu"] = ""
    found = read(table, tmp_path)
    assert found.open_categories == ("Ort",)
    assert set(join_parts(found)["Ort"]) == {"?", "Köln", "Düren", "Ulm"}
    assert (join_parts(found)["Ort"] == "?").sum() == 4
    assert (join_parts(found)["neu"] == "?").sum() == 3
    line = "Values with fewer than 5 training rows count as missing, as unknown ones do, in Ort."
    assert line in found.notes
    assert line in capsys.readouterr().out.splitlines()


def test_categories_of_the_test_that_no_training_row_has_are_said(tmp_path, capsys, table):
    test = table[160:].assign(Ort=lambda part: part["Ort"].str.upper())
    test.loc[190, "Ort"], test.loc[[160, 161], "neu"] = "", ["vielleicht", ""]
    (tmp_path / "train.csv").write_text(spell(table[:160]), encoding="utf-8")
    (tmp_path / "test.csv").write_text(spell(test), encoding="utf-8")
    found = read_own_rows(tmp_path, "gekündigt", DataOptions(), 42)
    assert set(found.test.table["Ort"]) == {"?"}
    assert found.notes[1:3] == (
        "Test rows with a value that no training row has: neu 2.5%.",
        "Warning: 98% of the test rows have a value of Ort that no training row has, so it counts as missing; are they "
        "spelled otherwise?",
    )
    assert "Warning: 98% of the test rows" in capsys.readouterr().out


def test_test_rows_that_the_model_refuses_are_counted(tmp_path, capsys, table):
    table["Umsatz"] = [str(row % 50) for row in range(COUNT)]
    table["Tag"] = [f"2026-01-{row % 28 + 1:02}" for row in range(COUNT)]
    test = table[160:].copy()
    test.loc[[160, 161], "Stunden"] = "400"
    test.loc[[161, 170], "Umsatz"] = ["-3", "50"]
    test.loc[180:, "Tag"] = "2027-01-01"  # a date outside counts as the nearest one on the page, too
    (tmp_path / "train.csv").write_text(spell(table[:160]), encoding="utf-8")
    (tmp_path / "test.csv").write_text(spell(test), encoding="utf-8")
    found = read_own_rows(tmp_path, "gekündigt", DataOptions(), 42)
    note = (
        "3 of 40 test rows have numbers outside the range of the training rows (Stunden, Umsatz). The model refuses "
        "such rows; they are measured at the nearest number."
    )
    assert found.notes == (note,)
    assert note in capsys.readouterr().out
    test = table[160:]
    (tmp_path / "test.csv").write_text(spell(test), encoding="utf-8")
    assert not read_own_rows(tmp_path, "gekündigt", DataOptions(), 42).notes


def test_a_category_with_five_training_rows_is_kept(tmp_path, table):
    table["Tag"] = list(map(str, range(COUNT)))
    table.loc[:8, "Ort"] = ["Aachen"] * 5 + ["Bonn"] * 4
    table.loc[COUNT - 1, "Ort"] = "Bonn"  # its fifth row is in the test
    found = read(table, tmp_path, "gekündigt", time="Tag")
    assert set(found.train.table["Ort"]) == {"?", "Aachen", "Köln", "Düren", "Ulm"}
    assert found.test.table["Ort"].iloc[-1] == "?"


def test_of_100_000_categories_the_frequent_ones_are_kept(tmp_path):
    rng = np.random.default_rng(0)
    count = 60_000
    often = rng.integers(0, 300, count)
    code = np.where(rng.random(count) < 0.3, rng.integers(1000, 101_000, count), often)
    text = pd.DataFrame({"Code": [f"c{value}" for value in code], "y": np.where(often % 2, "a", "b")})
    found = read(text, tmp_path)
    assert found.open_categories == ("Code",)
    kept = set(found.train.table["Code"])
    assert kept >= {"?", *(f"c{value}" for value in range(300))}
    assert len(kept) < 320
    text["Code"] = [f"c{value}" for value in rng.integers(0, 100_000, count)]
    text["x"] = rng.integers(0, 9, count).astype(str)
    found = read(text, tmp_path, "y")
    assert list(found.train.table) == ["x"]
    assert "its values hardly repeat: 45," in found.notes[0]


def test_bad_cells_are_named_together(tmp_path, capsys, table):
    table.loc[[1, 5], "Stunden"] = ["viele", "1e39"]
    table.loc[7, "Umsatz"] = "-"
    with pytest.raises(DataError) as caught:
        read(table, tmp_path)
    assert "3 problems with the rows of" in str(caught.value)
    assert "line 3: Stunden is not a number: 'viele'." in str(caught.value)
    assert "line 9: Umsatz is not a number: '-'." in str(caught.value)
    found = read(table, tmp_path, skip_bad=True)
    assert join_parts(found).isna().sum().to_dict() == {"Stunden": 2, "Umsatz": 1, "Ort": 0, "neu": 0}
    (tmp_path / "mine.csv").write_text(spell(make_table()) + '"1","2"\r\n', encoding="utf-8")
    with pytest.raises(DataError, match=r"line 202: The row has 2 cells; the header has 5"):
        read("mine.csv", tmp_path)


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (lambda t: t.assign(gekündigt="ja"), {}, "The target gekündigt is ja in every row; at least two values"),
        (lambda t: t[:20], {}, r"has 20 rows with a target \(gekündigt\); at least 100 are needed"),
        (lambda t: t.assign(gekündigt=["x"] * 3 + ["y"] * 9 + ["z"] * 188), {}, "gekündigt, x has 3, y has 9; add"),
        (lambda t: t.assign(gekündigt=[str(row % 25) for row in range(200)]), {"task": "classes"}, "or predict the"),
        (lambda t: t, {"target": "gekundigt"}, "There is a column 'gekündigt'; did you mean it"),
        (lambda t: t, {"task": "number"}, "gekündigt is not a number: it has values such as '(ja|nein)'; leave"),
        (lambda t: t[["gekündigt"]], {}, "has no column to predict the target gekündigt from"),
        (lambda t: t.assign(gekündigt=[f"2026-01-{row % 28 + 1:02}" for row in range(200)]), {}, "has dates, which"),
        (lambda t: t, {"group": "Ort", "time": "Stunden"}, "--time and --group exclude each other"),
        (lambda t: t, {"group": "gekündigt"}, "The target gekündigt cannot also divide the rows"),
        (lambda t: t, {"time": "Ort"}, "Not every row has a number or a date in the column Ort of --time"),
        (lambda t: t, {"groups": "Ortt"}, "There is a column 'Ort'; did you mean it"),
        (lambda t: t.assign(Ort=[f"c{row % 40}" for row in range(200)]), {"groups": "Ort"}, "--groups takes numbers"),
        (lambda t: t.rename(columns={"Ort": "neu"}), {}, "names the column 'neu' twice"),
        (lambda t: t.rename(columns={"Ort": "o" * 300}), {}, "a name of 300 characters, 'o+...'; at most 100"),
    ],
)  # fmt: skip
def test_tables_that_cannot_be_used_are_refused(tmp_path, table, change, options, message):
    with pytest.raises(DataError, match=message):
        read(change(table), tmp_path, **options)


def test_names_are_cleaned(tmp_path, table):
    found = read(table.rename(columns={"Ort": " Ort\n der  Filiale", "neu": ""}), tmp_path)
    assert list(found.train.table) == ["Stunden", "Umsatz", "Ort der Filiale"]
    assert "(it has no name)" in found.notes[0]


def test_the_target_has_a_usual_name_or_is_the_last_column(tmp_path, capsys, table):
    found = read(table.rename(columns={"neu": "Churn"}), tmp_path)
    assert found.target == "Churn"
    assert "Churn (it has a usual name; --target names another)" in capsys.readouterr().out
    assert read(table, tmp_path, "ORT").labels == ("Düren", "Köln", "Ulm")
    parser = argparse.ArgumentParser()
    Tabular().add_options(parser)
    shown = " ".join(parser.format_help().split())
    (examples,) = re.findall("default: one with a usual name, such as (.*), or else the last one", shown)
    assert set(examples.replace(" or ", ", ").split(", ")) <= set(TARGETS)


def test_a_usual_name_is_found_in_any_case_and_between_spaces():
    assert find_usual(["Ort", " Label", "TARGET "], TARGETS) == "TARGET "  # the most usual one
    assert find_usual(["Ort", "Label", "label"], TARGETS) == "Label"  # the first of two
    assert find_usual(["Ort"], TARGETS) is None
    assert find_column(["Ort", " Ziel "], "ziel", (), "--target", Path("mine.csv")) == " Ziel "


def test_a_target_is_classes_or_a_number(tmp_path, capsys, table):
    stars = table.assign(gekündigt=[str(row % 12) for row in range(COUNT)])
    found = read(stars, tmp_path)
    assert found.labels == tuple(map(str, range(12)))
    assert re.search(r"classes: .*%\. Use --task number to predict it as a number\.\n", capsys.readouterr().out)
    assert read(stars, tmp_path, task="number").labels == ()
    prices = table.assign(gekündigt=[f"{row + 1:,.2f} €" for row in range(900, 900 + COUNT)])
    found = read(prices, tmp_path)
    assert found.labels == ()
    assert found.train.y.dtype == np.float64
    assert sorted([*found.train.y, *found.test.y]) == list(range(901, 901 + COUNT))
    bands = np.histogram(found.test.y, 10, (901, 1101))[0]
    assert bands.tolist() == [4] * 10
    said = capsys.readouterr().out
    assert "gekündigt is a number from 901 to 1100, with the median 1000.5." in said
    assert " Use --task classes to treat its values as classes.\n" in said


def test_up_to_twenty_whole_numbers_or_two_of_any_kind_are_classes(tmp_path, table):
    many = pd.concat([table] * 2, ignore_index=True)
    for count in (20, 21):
        found = read(many.assign(gekündigt=[str(row % count) for row in range(len(many))]), tmp_path)
        assert found.labels == (tuple(map(str, range(20))) if count == 20 else ())
    assert read(table.assign(gekündigt=[("0.5", "1.5")[row % 2] for row in range(COUNT)]), tmp_path).labels == (
        "0.5", "1.5",
    )  # fmt: skip
    assert read(table.assign(gekündigt=[("0.5", "1", "1.5")[row % 3] for row in range(COUNT)]), tmp_path).labels == ()


@pytest.mark.parametrize(
    ("no", "yes"),
    [("no", "yes"), ("False", "True"), ("N", "Y"), ("f", "t"), ("Nein", "Ja"), ("n", "j"), ("FALSCH", "WAHR")],
)
def test_yes_is_the_second_label_in_any_word_and_case(tmp_path, capsys, table, no, yes):
    words = {"ja": yes, "nein": no}
    found = read(table.assign(neu=table["neu"].map(words), gekündigt=table["gekündigt"].map(words)), tmp_path)
    assert found.labels == (no, yes)  # the page shows the probability of the second
    share = np.mean([*found.train.y, *found.test.y])
    assert share == pytest.approx((table["gekündigt"] == "ja").mean())
    assert "yes or no   neu\n" in capsys.readouterr().out


def test_rows_without_a_target_are_counted_and_labels_that_look_alike_named(tmp_path, capsys, table):
    table.loc[:2, "gekündigt"] = ["", "?", "NA"]
    table.loc[10:29, "gekündigt"] = "JA"
    found = read(table, tmp_path)
    assert len(found.train) + len(found.test) == COUNT - 3
    line = "Rows without a target are left out: ? 1, NA 1, empty 1."
    assert line in found.notes
    said = capsys.readouterr().out
    assert line in said
    assert "perhaps meant as one: JA and ja." in said


def test_ticks_beside_empty_cells_are_no_target(tmp_path, table):
    ticks = table.assign(gekündigt=["x" if row % 4 == 0 else "" for row in range(COUNT)])
    ticks = pd.concat([ticks] * 3)
    with pytest.raises(DataError, match="The target gekündigt is x in 150 rows and missing in 450; if missing means"):
        read(ticks, tmp_path)


@pytest.mark.parametrize("error", ["#NV", "#DIV/0!", "#WERT!", "#N/A"])
def test_errors_of_excel_are_missing(tmp_path, table, error):
    table.loc[:19, "Umsatz"] = error
    table.loc[5:19, "gekündigt"] = error
    found = read(table, tmp_path)
    assert found.labels == ("nein", "ja")
    assert join_parts(found)["Umsatz"].isna().sum() == 5


def test_a_file_of_answers_can_be_trained_on(tmp_path, table):
    rows = [{**row, "Faktor": "+-"[number % 2]} for number, row in enumerate(table.to_dict("records"))]
    found = read(write_csv(tmp_path / "answers.csv", rows).name, tmp_path, "gekündigt")
    assert set(found.train.table["Faktor"]) == {"+", "-"}


def test_categories_that_look_alike_are_named(tmp_path, capsys, table):
    table["Land"] = [("DE", "de", "AT")[row % 3] for row in range(COUNT)]
    read(table, tmp_path, "gekündigt")
    assert "Different values of Land, but perhaps meant as one: DE and de.\n" in capsys.readouterr().out


def test_a_class_may_be_called_none(tmp_path, capsys, table):
    rng = np.random.default_rng(0)
    table["Mittel"] = rng.choice(["drug", "none"], COUNT)
    assert read(table, tmp_path, "Mittel").labels == ("drug", "none")
    table["Mittel"] = rng.choice(["drug", "none", "placebo", "NA", "null"], COUNT)
    table.loc[:2, "Mittel"] = ["", "?", "n/a"]
    found = read(table, tmp_path, "Mittel", groups="Mittel")
    assert found.labels == ("NA", "drug", "none", "null", "placebo")
    assert set(found.groups["Mittel"]) == set(found.labels)
    said = capsys.readouterr().out
    line = "Classes of Mittel, too: NA, none, null; empty these cells if the target is missing there."
    assert line in said.splitlines()
    assert "Rows without a target are left out: ? 1, empty 1, n/a 1." in found.notes
    table["Mittel"] = ["none"] * 10 + ["null"] * 9 + ["drug"] * (COUNT - 19)
    assert read(table, tmp_path, "Mittel").labels == ("drug", "none")  # of enough rows for a class
    with pytest.raises(DataError, match="The target Mittel is none in every row; at least two values are needed"):
        read(table.assign(Mittel="none"), tmp_path, "Mittel")


def test_a_target_of_numbers_stays_one_beside_missing_ones(tmp_path, capsys, table):
    table["Preis"] = [str(row * 7.5) for row in range(COUNT)]
    table.loc[:49, "Preis"] = "NA"
    table.loc[50:52, "Preis"] = "auf Anfrage"
    table.loc[53, "Preis"] = ""
    found = read(table, tmp_path, "Preis", skip_bad=True)
    assert found.labels == ()
    assert len(found.train) + len(found.test) == COUNT - 54
    line = "Rows without a target are left out: NA 50, empty 1, not a number 3."
    assert line in found.notes
    assert line in capsys.readouterr().out
    stars = table.assign(Preis=np.where(table["Preis"] == "NA", "NA", [str(row % 3) for row in range(COUNT)]))
    assert read(stars, tmp_path, "Preis").labels == ("0", "1", "2")


def test_a_column_that_says_the_same_as_the_target_is_left_out(tmp_path, capsys, table):
    table.insert(0, "Status", table["gekündigt"].map({"ja": "beendet", "nein": "läuft"}))
    table.insert(0, "Flag", (table["gekündigt"] == "ja").astype(int))
    first = table.index[table["gekündigt"] == "ja"][0]
    table.insert(0, "fast", np.where(table.index == first, "läuft", table["Status"]))
    found = read(table, tmp_path)
    assert list(found.train.table) == ["fast", "Stunden", "Umsatz", "Ort", "neu"]
    assert "Status is left out: it says the same as the target gekündigt, so nothing would be learned." in found.notes
    assert any(note.startswith("Warning: fast alone predicts gekündigt almost perfectly") for note in found.notes)


@pytest.mark.parametrize(("wrong", "is_warned_of"), [(2, True), (3, False)])
def test_a_column_that_is_right_for_99_percent_of_the_rows_is_warned_of(tmp_path, capsys, table, wrong, is_warned_of):
    status = table["gekündigt"].map({"ja": "beendet", "nein": "läuft"})
    status[table.index[table["gekündigt"] == "ja"][:wrong]] = "läuft"
    assert "fast" in read(table.assign(fast=status), tmp_path, "gekündigt").train.table
    said = capsys.readouterr().out
    assert ("Warning: fast alone predicts" in said) is is_warned_of
    assert ("almost perfectly (99.0% of the rows right)" in said) is is_warned_of


def test_a_number_that_follows_the_target_in_few_rows_stays(tmp_path, table):
    price = np.random.default_rng(3).uniform(10, 900, COUNT)
    final = np.where(np.arange(COUNT) % 5 < 2, (price / 1.19).astype(str), "")
    assert "final" in read(table.assign(final=final, price=price), tmp_path).train.table
    final = np.where(np.arange(COUNT) % 5 < 3, (price / 1.19).astype(str), "")
    assert "final" not in read(table.assign(final=final, price=price), tmp_path).train.table


def test_a_number_that_nearly_follows_the_target_stays(tmp_path, table):
    rng = np.random.default_rng(3)
    price = rng.uniform(10, 900, COUNT)
    near = price + rng.normal(0, 25, COUNT)
    assert 0.99 < np.corrcoef(near, price)[0, 1] < 0.999
    assert "near" in read(table.assign(near=near, price=price), tmp_path).train.table


def test_a_number_that_follows_the_target_is_left_out(tmp_path, table):
    price = np.random.default_rng(3).uniform(10, 900, COUNT)
    table = table.assign(netto=price / 1.19, log=np.log(price) ** 3, price=price)
    found = read(table, tmp_path)
    assert list(found.train.table) == ["Stunden", "Umsatz", "Ort", "neu", "gekündigt"]


def test_equal_rows_and_groups_stay_in_one_part(tmp_path, capsys, table):
    twice = pd.concat([table, table[:60]])
    found = read(twice, tmp_path)
    train, test = (set(part.table.itertuples(index=False, name=None)) for part in (found.train, found.test))
    assert not train & test
    assert "Equal rows are kept in one part of the split: 60 repeat another one." in found.notes
    rows = list(found.train.table.itertuples(index=False, name=None))
    assert len(set(rows)) == len(set(found.train.groups)) == len(set(zip(rows, found.train.groups, strict=True)))
    assert read(table, tmp_path).train.groups is None
    table["Filiale"] = [f"F{row // 10}" for row in range(COUNT)]
    found = read(table, tmp_path, "gekündigt", group="Filiale")
    assert "Filiale" not in found.train.table
    hours = {name: set(rows["Stunden"] + "/" + rows["Umsatz"]) for name, rows in table.groupby("Filiale")}
    in_test = {f"{row.Stunden:g}/{row.Umsatz}" for row in found.test.table.itertuples()}
    assert all(not (own & in_test) or own <= in_test for own in hours.values())
    assert np.bincount(np.unique(found.train.groups, return_inverse=True)[1]).tolist() == [10] * 16
    table["Filiale"] = [f"F{row // 50}" for row in range(COUNT)]
    with pytest.raises(DataError, match="The column Filiale of --group has too few values; at least 5 must be"):
        read(table, tmp_path, "gekündigt", group="Filiale")


def test_groups_with_a_few_equal_rows_stay_apart(tmp_path, capsys, table):
    table["Filiale"] = [f"F{row // 10}" for row in range(COUNT)]
    table.iloc[10::10, :5] = table.iloc[9:-1:10, :5].to_numpy()  # the first row of a group is the last of that before
    found = read(table, tmp_path, "gekündigt", group="Filiale")
    assert len(found.test) == 40
    assert np.bincount(np.unique(found.train.groups, return_inverse=True)[1]).tolist() == [10] * 16
    assert "Equal rows are kept in one part of the split, unless their groups differ: 19 repeat" in found.notes[0]
    table.to_csv(tmp_path / "train.csv", index=False)
    table[:10].assign(Filiale="F99").to_csv(tmp_path / "test.csv", index=False)
    found = read_own_rows(tmp_path, "gekündigt", DataOptions(group="Filiale"), 42)  # equal to rows of a given test
    assert len(found.train) == COUNT - 11


def test_rows_that_are_mostly_equal_are_split_anyway(tmp_path, table):
    found = read(table[["Ort", "neu", "gekündigt"]], tmp_path)
    assert (len(found.train), len(found.test)) == (160, 40)
    assert any(note.startswith("Most rows (18") for note in found.notes)


def test_the_last_rows_are_the_test_if_asked_for(tmp_path, capsys, table):
    table["Tag"] = [f"{row % 28 + 1:02}.{row // 28 + 1:02}.2026" for row in range(COUNT)][::-1]
    found = read(table, tmp_path, "gekündigt", time="Tag")
    assert found.split == "last fifth by Tag"
    assert "Tag" not in found.train.table
    assert found.test.table["Stunden"].tolist() == table["Stunden"][:40].astype(float).tolist()
    assert "Split by Tag: 160 to train on, 40 to test on." in capsys.readouterr().out


def test_equal_rows_of_other_times_are_no_copies(tmp_path, table):
    twice = pd.concat([table, table[:60]]).assign(Tag=[str(row) for row in range(COUNT + 60)])
    found = read(twice, tmp_path, "gekündigt", time="Tag")
    assert found.test.table["Stunden"].tolist() == twice["Stunden"][-52:].astype(float).tolist()
    assert found.train.groups is None
    assert not any("Equal rows" in note for note in found.notes)


def test_rows_without_a_time_are_named_and_can_be_left_out(tmp_path, capsys, table):
    table["Tag"] = [f"{row % 28 + 1:02}.{row // 28 + 1:02}.2026" for row in range(COUNT)]
    table.loc[[0, 9, 150], "Tag"] = ["", "bald", "NA"]
    table.loc[3, ["Tag", "gekündigt"]] = ""  # without a target, no time is needed
    with pytest.raises(DataError, match="3 problems with the rows of") as caught:
        read(table, tmp_path, "gekündigt", time="Tag")
    for line in ("line 2: Tag is missing.", "line 11: Tag is not a date: 'bald'.", "line 152: Tag is missing."):
        assert line in str(caught.value)
    capsys.readouterr()
    found = read(table, tmp_path, "gekündigt", time="Tag", skip_bad=True)
    assert (len(found.train) + len(found.test), found.split) == (COUNT - 4, "last fifth by Tag")
    expected = table["Stunden"].drop([0, 3, 9, 150])[-len(found.test) :]
    assert found.test.table["Stunden"].tolist() == expected.astype(float).tolist()
    assert "Bad cells count as missing, bad rows are left out: 3 problems with the rows" in capsys.readouterr().out
    (tmp_path / "train.csv").write_text(spell(table[:160]), encoding="utf-8")
    (tmp_path / "test.csv").write_text(spell(table[160:].assign(Tag="")), encoding="utf-8")
    found = read_own_rows(tmp_path, "gekündigt", DataOptions(time="Tag", skip_bad=True), 42)
    assert (len(found.train), len(found.test)) == (159, 40)  # nothing is divided, so no time is needed


def test_parts_are_taken_as_given(tmp_path, capsys, table):
    (tmp_path / "train.csv").write_text(spell(table[:160]), encoding="utf-8")
    (tmp_path / "test.csv").write_text(spell(table[155:]), encoding="utf-8")
    found = read_own_rows(tmp_path, None, DataOptions(), 42)
    assert found.split == "own test"
    assert found.test.table["Stunden"].tolist() == table["Stunden"][155:].astype(float).tolist()
    assert len(found.train) == 155
    said = capsys.readouterr().out
    assert "5 training rows left out: they, or their groups, are also in the given test." in said
    assert "Split (test as given): 155 to train on, 45 to test on." in said
    (tmp_path / "test.csv").write_text(spell(table[155:].drop(columns="neu")), encoding="utf-8")
    with pytest.raises(DataError, match=r"lacks the column 'neu' of train\.csv.* is the target, add --target neu\."):
        read_own_rows(tmp_path, None, DataOptions(), 42)
    with pytest.raises(DataError, match="There is no table"):
        read_own_rows(tmp_path / "nothing", None, DataOptions(), 42)


def test_fast_ais_column_divides_the_rows_and_is_no_input(tmp_path, capsys, table):
    table["is_valid"] = [str(row >= 150) for row in range(COUNT)]
    found = read(table, tmp_path)
    assert found.target == "gekündigt"
    assert "is_valid" not in found.train.table
    assert sorted(found.test.table["Stunden"]) == sorted(table["Stunden"][150:].astype(float))
    assert "The column is_valid divides the rows, true is the test" in capsys.readouterr().out
    found = read(table, tmp_path, "gekündigt", time="Stunden")
    assert "is_valid" not in found.train.table
    assert "is_valid is not used for the split and is no input: --time Stunden divides the" in capsys.readouterr().out
    table["is_valid"] = np.where(np.arange(COUNT) % 3, "yes", "no")
    assert "is_valid" not in read(table, tmp_path, "gekündigt").train.table
    assert read(table, tmp_path, "is_valid").labels == ("no", "yes")


@pytest.mark.parametrize("names", [("train", "test"), ("train", "val"), ("Training", "valid", "Test")])
def test_a_column_called_split_divides_the_rows_and_is_no_input(tmp_path, capsys, names):
    table = make_table()
    table["split"] = [names[-1] if row % 5 == 0 else names[row % (len(names) - 1)] for row in range(len(table))]
    table.to_csv(tmp_path / "mine.csv", index=False)
    found = read_own_rows(tmp_path / "mine.csv", "gekündigt", DataOptions(), 42)
    assert (len(found.test), len(found.train), found.split) == (len(table) // 5, len(table) * 4 // 5, "own test")
    assert "split" not in found.train.table
    assert "The column split divides the rows" in capsys.readouterr().out
    assert "split" in read(table.assign(split=table["Ort"]), tmp_path, "gekündigt").train.table  # something else


@pytest.mark.parametrize(
    ("name", "bad", "message"),
    [
        ("split", "", r"line 4: split is empty; write train, valid or test, or rename the column\."),
        ("Set", "holdout", r"line 4: Set names no part: 'holdout'; write train, valid or test, or rename the"),
        ("is_valid", "maybe", r"line 4: is_valid names no part: 'maybe'; write true or false, or rename the"),
        ("is_valid", "", r"line 4: is_valid is empty; write true or false, or rename the column\."),
    ],
)
def test_a_row_of_no_part_is_a_problem(tmp_path, name, bad, message):
    table = make_table()
    train, test = ("0.0", "1.0") if name == "is_valid" else ("train", "test")  # as pandas writes 0 and 1 beside missing
    table[name] = np.where(np.arange(COUNT) % 5, train, test)
    table.loc[2, name] = bad
    with pytest.raises(DataError, match=message):
        read(table, tmp_path, "gekündigt")
    found = read(table, tmp_path, "gekündigt", skip_bad=True)
    assert (len(found.train), len(found.test), found.split) == (159, 40, "own test")
    assert list(found.train.table) == ["Stunden", "Umsatz", "Ort", "neu"]


def test_a_column_that_should_divide_the_rows_and_does_not_is_said_and_no_input(tmp_path, capsys, table):
    for names in (("train", "north"), ("", "test"), ("train", "train")):
        found = read(table.assign(split=[names[row % 2] for row in range(COUNT)]), tmp_path, "gekündigt")
        assert (len(found.test), "split" in found.train.table) == (40, False)
        assert "The column split is not used for the split and is no input: most of its" in capsys.readouterr().out
    rows = np.arange(COUNT) % 5
    both = table.assign(split=np.where(rows, "train", "test"), is_valid=np.where(rows, "0", "1"))
    assert list(read(both, tmp_path, "gekündigt").train.table) == ["Stunden", "Umsatz", "Ort", "neu"]
    assert "split is not used for the split and is no input: is_valid divides the rows." in capsys.readouterr().out
    holdout = table.assign(split=np.where(rows, "train", "holdout"))
    assert read(holdout, tmp_path, "gekündigt", skip_bad=True).split == "held-out fifth"
    assert "The column split names no test.\n" in capsys.readouterr().out


def test_fast_ais_column_may_be_in_the_training_table_alone(tmp_path, capsys, table):
    train = table[:150].assign(Is_Valid=[str(row % 5 == 0) for row in range(150)])
    (tmp_path / "train.csv").write_text(spell(train[["Is_Valid", *table]]), encoding="utf-8")
    (tmp_path / "test.csv").write_text(spell(table[150:]), encoding="utf-8")
    found = read_own_rows(tmp_path, None, DataOptions(), 42)
    assert (len(found.train), len(found.test), found.split) == (150, 50, "own test")
    assert list(found.train.table) == ["Stunden", "Umsatz", "Ort", "neu"]
    said = capsys.readouterr().out
    assert said.count("The column Is_Valid is not used for the split and is no input: files divide the data.\n") == 1
    assert read_own_rows(tmp_path, "is_valid", DataOptions(), 42).split == "held-out fifth"


def test_a_time_changes_nothing_where_the_test_is_given(tmp_path, capsys, table):
    table["Jahr"] = [str(1900 + row % 90) for row in range(COUNT)]
    for name, part in {"train": table[:165], "test": table[160:]}.items():
        (tmp_path / f"{name}.csv").write_text(spell(part), encoding="utf-8")
    plain, timed = (read_own_rows(tmp_path, "gekündigt", DataOptions(time=time), 42) for time in (None, "Jahr"))
    assert "--time Jahr has no effect, since the data has a test of its own." in capsys.readouterr().out
    for part in ("train", "test"):
        pd.testing.assert_frame_equal(getattr(plain, part).table, getattr(timed, part).table)


def test_a_given_test_without_targets_is_no_test(tmp_path, capsys, table):
    table["Jahr"] = [str(1900 + row % 90) for row in range(COUNT)]
    (tmp_path / "train.csv").write_text(spell(table[:160]), encoding="utf-8")
    (tmp_path / "test.csv").write_text(spell(table[160:].assign(gekündigt="")), encoding="utf-8")
    found = read_own_rows(tmp_path, "gekündigt", DataOptions(), 42)
    assert (len(found.train), len(found.test), found.split) == (128, 32, "held-out fifth")
    assert "test.csv is not used, since none of its rows has a target (gekündigt)." in capsys.readouterr().out
    (tmp_path / "test.csv").write_text(spell(table[160:].drop(columns="gekündigt")), encoding="utf-8")
    assert read_own_rows(tmp_path, "gekündigt", DataOptions(), 42).test.table.equals(found.test.table)
    assert "test.csv is not used, since none of its rows has a target (gekündigt)." in capsys.readouterr().out
    (tmp_path / "test.csv").write_text(spell(table[160:].rename(columns={"gekündigt": "weg"})), encoding="utf-8")
    with pytest.raises(DataError, match=r"test\.csv lacks the column 'gekündigt' of train\.csv"):
        read_own_rows(tmp_path, "gekündigt", DataOptions(), 42)
    (tmp_path / "test.csv").write_text(spell(table[160:].assign(gekündigt="")), encoding="utf-8")
    assert read_own_rows(tmp_path, "gekündigt", DataOptions(time="Jahr"), 42).split == "last fifth by Jahr"
    part = ["valid" if row % 4 == 0 else "train" for row in range(160)]
    (tmp_path / "train.csv").write_text(spell(table[:160].assign(split=part)), encoding="utf-8")
    found = read_own_rows(tmp_path, "gekündigt", DataOptions(), 42)
    assert found.test.table["Umsatz"].tolist() == table["Umsatz"][:160:4].astype(float).tolist()
    assert (len(found.train), "split" in found.train.table) == (120, False)
    with pytest.raises(DataError, match="--groups cannot name split, a column for the split; leave it out, or rename"):
        read_own_rows(tmp_path, "gekündigt", DataOptions(groups="Ort,Split"), 42)


def test_a_test_of_which_no_target_can_be_read(tmp_path, table):
    table["Jahr"] = [str(1900 + row % 90) for row in range(COUNT)]
    (tmp_path / "train.csv").write_text(spell(table[:195]), encoding="utf-8")
    (tmp_path / "test.csv").write_text(spell(table[195:].assign(Umsatz="x")), encoding="utf-8")
    own = DataOptions(time="Jahr", skip_bad=True)
    with pytest.raises(DataError, match=r"\(Umsatz\); leave the test out, and --time Jahr divides the other rows"):
        read_own_rows(tmp_path, "Umsatz", own, 42)


def test_a_column_may_name_a_test_without_targets(tmp_path, capsys, table):
    table["split"] = ["train" if row < 160 else "test" for row in range(COUNT)]
    table.loc[160:, "gekündigt"] = ""
    found = read(table, tmp_path, "gekündigt")
    assert (len(found.train), len(found.test), found.split) == (128, 32, "held-out fifth")
    assert "No row of the given test has a target (gekündigt), so a part" in capsys.readouterr().out


def test_rows_to_validate_on_are_not_in_the_test_either(tmp_path, capsys, table):
    for name, part in {"train": table[:120], "valid": table[110:170], "test": table[160:]}.items():
        (tmp_path / f"{name}.csv").write_text(spell(part), encoding="utf-8")
    found = read_own_rows(tmp_path, None, DataOptions(), 42)
    assert (len(found.train), len(found.test)) == (120 + 60 - 10, 40)
    train, test = (set(part.table.itertuples(index=False, name=None)) for part in (found.train, found.test))
    assert not train & test


def test_a_group_is_the_same_with_the_zeros_of_pandas(tmp_path, capsys, table):
    table["Filiale"] = [str(row // 20) for row in range(COUNT)]
    (tmp_path / "train.csv").write_text(spell(table[:170]), encoding="utf-8")
    (tmp_path / "test.csv").write_text(
        spell(table[170:].assign(Filiale=lambda part: part["Filiale"] + ".0")), encoding="utf-8"
    )
    found = read_own_rows(tmp_path, "gekündigt", DataOptions(group="Filiale"), 42)
    assert (len(found.train), len(found.test)) == (160, 30)
    assert "10 training rows left out: they, or their groups, are also in the given" in capsys.readouterr().out


def test_a_table_to_validate_on_is_the_test_if_there_is_no_other(tmp_path, capsys, table):
    (tmp_path / "train.csv").write_text(spell(table[:170]), encoding="utf-8")
    (tmp_path / "val.csv").write_text(spell(table[170:]), encoding="utf-8")
    found = read_own_rows(tmp_path, None, DataOptions(), 42)
    assert (len(found.train), found.split) == (170, "own test")
    assert found.test.table["Stunden"].tolist() == table["Stunden"][170:].astype(float).tolist()
    assert "val.csv is the test, since there is no other.\n" in capsys.readouterr().out
    (tmp_path / "test.csv").write_text(spell(table[:50].assign(gekündigt="")), encoding="utf-8")  # as on Kaggle
    found = read_own_rows(tmp_path, "gekündigt", DataOptions(time="Stunden"), 42)
    assert found.test.table["Umsatz"].tolist() == table["Umsatz"][170:].astype(float).tolist()
    assert "val.csv is the test, since there is no other.\n" in capsys.readouterr().out


def test_copies_without_a_group_are_in_the_part_of_the_row_with_one(tmp_path, table):
    table["Filiale"] = [str(row // 5) for row in range(COUNT)]
    both = pd.concat([table, table[:150].assign(Filiale="")], ignore_index=True)
    found = read(both, tmp_path, "gekündigt", group="Filiale")
    train, test = (set(part.table.itertuples(index=False, name=None)) for part in (found.train, found.test))
    assert len(found.train) + len(found.test) == COUNT + 150
    assert test
    assert not train & test


def test_a_group_may_be_a_text_among_numbers(tmp_path, table):
    table["Filiale"] = [str(row // 2) if row >= 6 else "A17" for row in range(COUNT)]
    found = read(table, tmp_path, "gekündigt", group="Filiale")
    in_test = {f"{row.Stunden:g}/{row.Umsatz}" for row in found.test.table.itertuples()}
    own = set(table["Stunden"][:6] + "/" + table["Umsatz"][:6])
    assert len(own & in_test) in (0, 6)


def test_rows_without_a_group_are_in_none_and_a_mac_spells_no_other_group(tmp_path, table):
    table["Filiale"] = ["" if row % 2 else f"Köln {row // 20}" for row in range(COUNT)]
    spelled = table["Filiale"].where(table.index % 4 > 0, table["Filiale"].str.normalize("NFD"))
    found = read(table.assign(Filiale=spelled), tmp_path, "gekündigt", group="Filiale")
    is_in_test = (table["Stunden"] + "/" + table["Umsatz"]).isin(
        {f"{row.Stunden:g}/{row.Umsatz}" for row in found.test.table.itertuples()}
    )
    assert is_in_test.sum() == len(found.test) == 40
    assert 10 <= is_in_test[table["Filiale"] == ""].sum() <= 30
    by_group = is_in_test.groupby(table["Filiale"]).nunique()
    assert by_group.drop("").tolist() == [1] * 10


def test_a_parquet_with_two_columns_of_a_name_is_refused(tmp_path, table):
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    table.assign(**{"Ort ": table["Ort"]}).to_parquet(tmp_path / "mine.parquet")
    with pytest.raises(DataError, match="names the column 'Ort' twice"):
        read("mine.parquet", tmp_path)


def test_tables_with_more_columns_than_a_page_reads_are_refused(tmp_path, table):
    numbers = np.random.default_rng(5).integers(0, 99, (COUNT, 201)).astype(str)
    many = pd.DataFrame(numbers, columns=[f"c{number}" for number in range(201)])
    with pytest.raises(DataError, match=r"mine\.csv: The CSV has 202 columns; keep at most 200\."):
        read(many.assign(y=table["gekündigt"]), tmp_path)
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    many.assign(y=table["gekündigt"]).to_parquet(tmp_path / "mine.parquet")
    message = "has 201 columns to predict the target y from; keep at most 200, such as c0, c1, c2"
    with pytest.raises(DataError, match=message):
        read("mine.parquet", tmp_path)
    many.assign(c0="same", y=table["gekündigt"]).to_parquet(tmp_path / "mine.parquet")
    assert len(read("mine.parquet", tmp_path).train.table.columns) == 200


def test_groups_are_values_or_bands(tmp_path, table):
    table["Tag"] = [f"2026-{row % 12 + 1:02}-{row % 28 + 1:02}" for row in range(COUNT)]
    found = read(table, tmp_path, "gekündigt", groups="Ort, stunden,Tag")
    assert found.groups["Ort"] == tuple(found.test.table["Ort"])
    low, middle, high = found.train.table["Stunden"].quantile([0.25, 0.5, 0.75], "nearest")
    names = [f"under {low:g}", f"{low:g} to {middle:g}", f"{middle:g} to {high:g}", f"{high:g} and over"]
    expected = [
        names[int(np.searchsorted([low, middle, high], value, "right"))] for value in found.test.table["Stunden"]
    ]
    assert found.groups["Stunden"] == tuple(expected)
    assert set(found.groups) == {"Ort", "Stunden", "Tag"}
    table["Werk"] = [str(2_400_001 + row % 2) for row in range(COUNT)]
    assert set(read(table, tmp_path, "gekündigt", groups="Werk").groups["Werk"]) == {"2400001", "2400002"}
    assert all(
        re.fullmatch(r"(under )?2026-\d\d-\d\d( to 2026-\d\d-\d\d| and over)?", name) for name in found.groups["Tag"]
    )


def test_there_may_be_twenty_groups(tmp_path, table):
    many = pd.concat([table] * 2, ignore_index=True)
    many["Ort"] = [f"o{row % 20}" for row in range(len(many))]
    assert set(read(many, tmp_path, "gekündigt", groups="Ort").groups["Ort"]) <= set(many["Ort"])
    many["Ort"] = [f"o{row % 21}" for row in range(len(many))]
    with pytest.raises(DataError, match=r"The column Ort has 21 values; --groups takes .* at most 20"):
        read(many, tmp_path, "gekündigt", groups="Ort")


def test_of_400_000_rows_a_sample_is_read_in_bounded_memory(tmp_path, monkeypatch, capsys):
    resource = pytest.importorskip("resource", reason="Windows does not tell the memory used")
    count = 400_000
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 5000, count), rng.integers(0, 2, count)
    with (tmp_path / "mine.csv").open("w", encoding="utf-8") as file:
        file.write("id,x,y\n")
        file.writelines(f"{row},{a},{'no' if b else 'yes'}\n" for row, (a, b) in enumerate(zip(x, y, strict=True)))
    monkeypatch.setattr("training.own_data.rows.MAX_READ", 20_000)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = read("mine.csv", tmp_path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # KiB
    assert len(found.train) + len(found.test) == 20_000
    assert join_parts(found)["x"].mean() == pytest.approx(2500, rel=0.02)
    assert found.notes[0] == "Of the 400,000 rows of mine.csv, a random sample of 20,000 is read."
    assert "id (it counts the rows)" in found.notes[1]

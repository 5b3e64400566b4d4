"""A form for any table: names of arguments, and labels of numbers."""

import inspect
import keyword

import gradio as gr

from shared.tables import read_csv
from shared.tabular_values import NumberColumn
from shared.ui.forms import add_field, expand_row, format_value, get_label, make_template, name_arguments


def test_arguments_have_names_of_their_own_whatever_the_columns_are_called():
    columns = ("hours-per-week", "class", "2nd floor", "a b", "a-b", "column", "größe", "%", "_x", "", "m²", "½")
    names = name_arguments(columns)
    assert names[0] == "hours_per_week"
    assert names[6] == "größe"
    assert len(set(names)) == len(columns)
    for name in names:
        assert name.isidentifier() and not keyword.iskeyword(name) and name != "column"  # noqa: PT018 - of each name


def test_labels_keep_the_capitals_of_columns(salary):
    config = salary.config.model_copy(update={"descriptions": {"age": "Age in years"}})
    labels = [get_label(config, column) for column in ("age", "PLZ", "hours-per-week", "größe_der_Küche")]
    assert labels == ["Age in years", "PLZ", "Hours per week", "Größe der Küche"]


def test_an_endpoint_takes_an_argument_for_each_column(salary):
    columns = ("class", "a b", "a-b", "column")
    config = salary.config.model_copy(
        update={"columns": columns, "numbers": {}, "descriptions": {"class": "Its class"}}
    )

    @expand_row(config)
    def what_if(row, column):
        """Say what is varied.

        Args:
            column: what to vary.
        """
        return row, column

    assert list(inspect.signature(what_if).parameters) == ["class_", "a_b", "a_b_", "column_", "column"]
    assert what_if("x", 1, 2, 3, "class") == ({"class": "x", "a b": 1, "a-b": 2, "column": 3}, "class")
    assert "    class_: Its class\n" in inspect.getdoc(what_if)


def test_the_range_of_a_number_is_written_as_it_is(salary):
    ranges = {"share": (0.0, 0.4), "pay": (-1.5, 12_345_678.0), "loss": (0.0, 4356.0), "year": (1900.0, 2020.0)}
    config = salary.config.model_copy(
        update={
            "categories": {},
            "numbers": {
                name: NumberColumn(minimum=low, maximum=high, median=high) for name, (low, high) in ranges.items()
            },
            "typical": {name: high for name, (_, high) in ranges.items()},
            "amounts": {},
            "descriptions": {},
        }
    )
    with gr.Blocks():
        labels = [add_field(config, name).label for name in ranges]
    assert labels == ["Share (0 to 0.4)", "Pay (-1.5 to 12,345,678)", "Loss (0 to 4,356)", "Year (1900 to 2020)"]


def test_a_template_has_the_columns_of_the_model_and_rows_that_it_answers(salary, tmp_path):
    path = tmp_path / "template.csv"
    path.write_text(make_template(salary.config), encoding="utf-8", newline="")
    rows = list(read_csv(path, salary.columns))
    answers = salary.predict_each([salary.from_row(row.cells) for row in rows])
    assert list(rows[0].cells) == list(salary.config.columns)
    assert answers[0].probabilities == salary.predict(salary.config.typical).probabilities
    assert [answer.label in salary.config.labels for answer in answers] == [True] * 3


def test_a_template_has_values_that_look_like_formulas(salary, tmp_path):
    fields = {
        "columns": ("@rhesus",), "numbers": {}, "categories": {"@rhesus": ("?", "+", "-")}, "typical": {"@rhesus": "+"},
    }  # fmt: skip
    path = tmp_path / "template.csv"
    path.write_text(make_template(salary.config.model_copy(update=fields)), encoding="utf-8", newline="")
    assert [row.cells for row in read_csv(path, ["@rhesus"])] == [{"@rhesus": cell} for cell in "+-+"]


def test_a_large_number_has_all_of_its_digits(salary):
    assert [format_value(value, salary.config) for value in (1234567, 1999999.0, 0.5)] == [
        "1,234,567",
        "1,999,999",
        "0.5",
    ]


def test_a_template_has_dates_and_decimal_signs_as_the_data_has_them(salary, tmp_path):
    day = NumberColumn(minimum=0, maximum=365, median=5, date_format="%d.%m.%Y")
    numbers = {"day": day, "price": NumberColumn(minimum=0, maximum=1484705.5, median=1.5, decimal=",")}
    typical = {"day": day.show(5), "price": 1.5}
    fields = {"columns": ("day", "price"), "categories": {}, "numbers": numbers, "typical": typical}
    lines = make_template(salary.config.model_copy(update=fields)).splitlines()
    assert lines == ["day,price", '06.01.1970,"1,5"', '01.01.1971,"1484705,5"', "06.01.1970,"]

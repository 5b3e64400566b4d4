"""Make a form with a field for each column of a table, and endpoints with an argument for each column."""

import csv
import functools
import inspect
import io
import keyword
import re
import unicodedata
from collections.abc import Callable, Sequence
from typing import Any, cast

import gradio as gr

from ..tables.writing import escape_formulas
from ..tabular import TabularConfig
from ..text import raise_first
from .errors import show_errors

AMOUNTS = "The answer can jump between the {} amounts in the data, such as {:,.10g}."


def expand_row(config: TabularConfig) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return a decorator for an endpoint whose first argument is a row, {column: value}.

    The decorated function takes one argument per column instead, in the order of the columns, and then the others.
    API users and MCP clients see this signature. The column descriptions are added to the docstring.
    """
    names = name_arguments(config.columns)

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def endpoint(*values: Any) -> Any:
            count = len(config.columns)
            return function(dict(zip(config.columns, values[:count], strict=True)), *values[count:])

        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        _, *more = inspect.signature(function).parameters.values()
        columns = [
            inspect.Parameter(name, kind, annotation=float | None if is_plain_number(config, column) else str | None)
            for name, column in zip(names, config.columns, strict=True)
        ]
        described = "".join(
            f"\n    {name}: {get_label(config, c)}" for name, c in zip(names, config.columns, strict=True)
        )
        text, _, arguments = (inspect.getdoc(function) or "").partition("\nArgs:")
        wrapped: Any = show_errors(endpoint)
        wrapped.__signature__ = inspect.Signature([*columns, *more])
        wrapped.__annotations__ = {item.name: item.annotation for item in (*columns, *more)}
        wrapped.__doc__ = f"{text}\n\nArgs:{described}{arguments}"
        return cast(Callable[..., Any], wrapped)

    return decorate


def name_arguments(columns: Sequence[str]) -> list[str]:
    """Return a different Python name for each column, such as hours_per_week for "hours-per-week"."""
    names: list[str] = []
    for column in columns:
        name = re.sub(r"\W+", "_", unicodedata.normalize("NFKC", column))  # as Python does: m² is m2
        name = name if name.isidentifier() and not name.startswith("_") else f"column_{name.strip('_')}"
        while keyword.iskeyword(name) or name in names or name == "column":  # what_if has an argument "column"
            name += "_"
        names.append(name)
    return names


def get_label(config: TabularConfig, column: str) -> str:
    """Return the display name of a column."""
    return config.descriptions.get(column) or raise_first(re.sub("[-_]+", " ", column))


def name_group(config: TabularConfig, group: str) -> str:
    """Return the display name of a group, such as "Highest education: High school" for "education: HS-grad"."""
    column, _, value = group.partition(": ")
    return f"{get_label(config, column).partition(',')[0]}: {config.value_names.get(value, value)}"


def is_plain_number(config: TabularConfig, column: str) -> bool:
    """Return True for a column of numbers that are not dates."""
    return column in config.numbers and not config.numbers[column].date_format


def add_form(config: TabularConfig) -> list[gr.components.Component]:
    """Add a field for each column, two per row; return the fields in the order of the columns."""
    fields: dict[str, gr.components.Component] = {}
    read = [column for column in config.columns if column not in config.ignored]
    for start in range(0, len(read), 2):
        with gr.Row():
            fields |= {column: add_field(config, column) for column in read[start : start + 2]}
    if config.ignored:
        with gr.Accordion("Fields the model ignores", open=False), gr.Row():
            fields |= {column: add_field(config, column) for column in config.ignored}
    return [fields[column] for column in config.columns]


def add_field(config: TabularConfig, column: str) -> gr.components.Component:
    """Add a drop-down for a category, or a field for a number or a date; the model checks its range."""
    label, typical = get_label(config, column), config.typical[column]
    if column in config.categories:
        choices = [(format_value(value, config), value) for value in config.categories[column]]
        any_value = column in config.open_categories
        return gr.Dropdown(choices, value=typical, label=label, min_width=220, allow_custom_value=any_value)
    span, amounts = config.numbers[column], config.amounts.get(column, ())
    if span.date_format:
        ends = f"{span.show(span.minimum)} to {span.show(span.maximum)}"
        return gr.Textbox(str(typical), label=f"{label} ({ends})", min_width=220)
    ends = format_range(span.minimum, span.maximum)
    return gr.Number(
        typical, label=f"{label} ({ends})", min_width=220, minimum=span.minimum,
        maximum=span.maximum, info=AMOUNTS.format(len(amounts), amounts[len(amounts) // 2]) if amounts else None,
    )  # fmt: skip


def format_range(low: float, high: float) -> str:
    """Format a range; numbers that are all from 1,000 to 9,999 may be years, which have no thousands separators."""
    separator = "" if 1_000 <= low <= high < 10_000 else ","
    return f"{low:{separator}.10g} to {high:{separator}.10g}"


def format_value(value: Any, config: TabularConfig) -> str:
    """Format a value for the page; a category by its display name."""
    if value in (None, "?", ""):
        return "unknown"
    if isinstance(value, int | float):
        return f"{value:,.15g}" if value % 1 == 0 else f"{value:,.6g}"
    return config.value_names.get(value, str(value))


def make_template(config: TabularConfig) -> str:
    """Return a CSV to fill in: the columns, a typical row, one of other values, and one of which little is known."""
    numbers = config.numbers
    others: dict[str, Any] = {column: values[-1] for column, values in config.categories.items()}
    others |= {name: span.show(span.maximum) if span.date_format else span.maximum for name, span in numbers.items()}
    little = {column: config.typical[column] if index == 0 else "" for index, column in enumerate(config.columns)}
    rows = [
        [_spell(config, column, row[column]) for column in config.columns] for row in (config.typical, others, little)
    ]
    text = io.StringIO()
    csv.writer(text).writerows(escape_formulas(cells) for cells in (config.columns, *rows))
    return text.getvalue()


def _spell(config: TabularConfig, column: str, value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:.15g}".replace(".", config.numbers[column].decimal or ".")


def list_form_events(fields: list[gr.components.Component]) -> list[Callable[..., Any]]:
    """Return the events that fire when a visitor has changed a field."""
    typed = [field for field in fields if isinstance(field, gr.Number | gr.Textbox)]
    entered = [event for field in typed for event in (field.submit, field.blur)]
    return entered + [field.change for field in fields if field not in typed]

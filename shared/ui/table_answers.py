"""Show what a model says of a row of a table: labels with their probabilities, or a number with its interval."""

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

import gradio as gr
import pandas as pd

from ..markdown import escape_markdown
from ..tabular_classifier import TabularClassifier
from ..tabular_regressor import TabularRegressor
from .explanations import add_up, draw_signed_bars, format_points
from .forms import format_value, get_label
from .headline import ANNOUNCED

LABELS_SHOWN = 8
EFFECTS_SHOWN = 16  # bars of an explanation; the last one has the sum of all smaller effects
Model = TabularClassifier | TabularRegressor


def add_answer(model: Model) -> gr.components.Component:
    """Add the component for the answer: a label with bars, or text for a number."""
    if isinstance(model, TabularRegressor):
        return gr.Markdown(elem_classes=["answer", ANNOUNCED], container=True)
    many = {"num_top_classes": LABELS_SHOWN} if len(model.config.labels) > LABELS_SHOWN else {}
    return gr.Label(label="How sure it is", elem_classes=["answer", ANNOUNCED], **many)


def show_answer(model: Model, answer: Any) -> dict[str, float] | str:
    """Return an answer for its component."""
    if not isinstance(model, TabularRegressor):
        return {model.config.get_label_name(label): p for label, p in answer.probabilities.items()}
    digits = choose_digits(answer.high - answer.low)
    value, low, high = (f"{number:,.{digits}f}" for number in (answer.value, answer.low, answer.high))
    name = escape_markdown(get_label(model.config, model.config.target))
    unit = f" {escape_markdown(model.config.unit)}" if model.config.unit else ""
    return f"## {value}{unit}\n{name}. For nine of ten rows like this one, it is between {low} and {high}{unit}."


def draw_explanation(model: Model, row: Mapping[str, Any], why: Any) -> str:
    """Return HTML with a bar for the effect of each value of a row on the answer; rounded, they add up."""
    format_effect: Callable[[float], str] = format_points
    if isinstance(model, TabularRegressor):
        largest = max((abs(value) for value in why.contributions.values()), default=0.0)
        total, digits = why.value, choose_digits(largest)
        what, of, lead = get_label(model.config, model.config.target), f"{{:,.{digits}f}}", "What makes the difference:"
        format_effect = f"{{:+,.{digits}f}}".format
    else:
        total, digits, of = why.probability, 3, "{:.1%}"
        what = model.config.get_label_name(why.label or model.config.labels[1])
        lead = "What makes the difference (percentage points):"
    parts = add_up(why.contributions, why.base, total, digits)
    largest_first = sorted(parts, key=lambda name: -abs(why.contributions[name]))
    kept = largest_first if len(parts) <= EFFECTS_SHOWN else largest_first[: EFFECTS_SHOWN - 1]
    bars = {f"{get_label(model.config, name)}: {format_value(row[name], model.config)}": parts[name] for name in kept}
    if rest := largest_first[len(kept) :]:
        bars[f"{len(rest)} other values"] = sum(parts[name] for name in rest)
    average, here = (of.format(round(value, digits)) for value in (why.base, total))
    return draw_signed_bars(f"{what}: on average {average}, here {here}. {lead}", bars, format_effect)


def add_curve(model: Model) -> tuple[gr.Dropdown, gr.LinePlot]:
    """Add the choice of a number to vary, which is the first one at first, and the plot for make_curve."""
    labels = [(get_label(model.config, name), name) for name in model.curved]
    first = labels[0] if labels else (None, None)
    column = gr.Dropdown(labels, value=first[1], label="Change")
    options: dict[str, Any] = {"y": "probability", "y_lim": [0, 1]}
    if isinstance(model, TabularRegressor):
        options = {"y": "prediction", "color": "line", "y_title": get_label(model.config, model.config.target)}
    elif len(model.config.labels) == 2:
        options["y_title"] = model.config.get_label_name(model.config.labels[1])  # on a phone, more would be cut
    # Without label, which would hide the name of the axis.
    plot = gr.LinePlot(x="value", x_title=first[0], height=260, label="What if", show_label=False, **options)
    return column, plot


def name_axis(model: Model) -> str:
    """Return JavaScript that names the axis of the plot after the column in the JSON of make_curve."""
    labels = json.dumps({name: get_label(model.config, name) for name in model.curved})
    named = f"found && {{ x_title: {labels}[found.column] }}"
    return f"found => ({{ __type__: 'update', ...({named}) }})"


def make_curve(model: Model, row: Mapping[str, Any], column: str) -> tuple[dict[str, Any], pd.DataFrame]:
    """Return the answers as one number of a row varies, as JSON and for the plot."""
    values, *found = zip(*model.what_if(row, column), strict=True)
    span = model.config.numbers[column]
    answers: dict[str, Any] = {"column": column, "values": values}
    if span.date_format:
        answers["values"], values = [span.show(days) for days in values], pd.to_datetime(values, unit="D")
    if isinstance(model, TabularRegressor):
        answers |= dict(zip(("predictions", "low", "high"), found, strict=True))
        lines = zip(("prediction", "low", "high"), found, strict=True)
        return answers, pd.concat(
            pd.DataFrame({"value": values, "prediction": numbers, "line": line}) for line, numbers in lines
        )
    if len(model.config.labels) > 2:
        answers["label"] = model.predict(row).label
    return answers | {"probabilities": found[0]}, pd.DataFrame({"value": values, "probability": found[0]})


def choose_digits(size: float) -> int:
    """Return the number of decimals with which a number of this size has three digits."""
    return max(0, 2 - math.floor(math.log10(size))) if size > 0 and math.isfinite(size) else 2

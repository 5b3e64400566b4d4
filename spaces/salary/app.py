"""Salary above or below 50k: a form, the calibrated answer, and what it rests on.

Run it: python spaces/salary/app.py, or with hot reload: gradio spaces/salary/app.py
"""

import gc
from pathlib import Path
from typing import Any

gc.set_threshold(50_000)  # what is imported now stays, so it need not be searched for garbage

import gradio as gr
import pandas as pd

from shared.space import load_space_model
from shared.tables import read_csv
from shared.ui.page import (
    Page,
    Upload,
    about_model,
    add_up,
    answer_rows,
    answer_uploads,
    clear_at_once,
    points,
    show_errors,
    signed_bars,
)

model = load_space_model(Path(__file__).parent / "model")
contract = model.config
LOW, HIGH = contract.labels

INTRODUCTION = f"""# Would this person have earned {HIGH[2:]} a year?
Describe somebody as the census of 1994 would have, and a small neural network estimates how likely an
income of more than $50,000 was. A look at a data set of thirty years ago: no advice, and no judgement on anyone."""

AMOUNTS = (
    "The model learned each of the {} amounts that people reported, such as ${:,.0f}, and can jump from one to the "
    "next. Any other amount is read as lying between the two nearest."
)


def person(arguments: dict[str, Any]) -> dict[str, Any]:
    """The row of the data set that a function's arguments describe."""
    return {column: arguments[column.replace("-", "_")] for column in contract.columns}


Amount, Category = float | None, str | None  # None is an unknown value


# The signatures are what API users and MCP clients see: the columns of the data set, in its order.
# fmt: off
@show_errors
def predict(
    age: Amount, workclass: Category, fnlwgt: Amount, education: Category, education_num: Amount,
    marital_status: Category, occupation: Category, relationship: Category, race: Category, sex: Category,
    capital_gain: Amount, capital_loss: Amount, hours_per_week: Amount, native_country: Category,
) -> tuple[dict[str, Any], dict[str, float]]:
    """Estimate how likely somebody earned 50k or more in 1994. "?" or null is an unknown value.

    Args:
        age: in years.
        workclass: kind of employer.
        fnlwgt: the census' sampling weight; not used by the model.
        education: highest level reached.
        education_num: the same as a number from 1 to 16; not used by the model.
        marital_status: marital status.
        occupation: kind of work.
        relationship: role in the household.
        race: as the census of 1994 put it.
        sex: as the census of 1994 put it.
        capital_gain: dollars in the year; learned for each reported amount, so it can jump from one to the next.
        capital_loss: dollars in the year; the same holds.
        hours_per_week: hours of work in a usual week.
        native_country: country of birth.
    """
    prediction = model.predict(person(locals()))
    return {"label": prediction.label, "probabilities": prediction.probabilities}, prediction.probabilities


@show_errors
def explain(
    age: Amount, workclass: Category, fnlwgt: Amount, education: Category, education_num: Amount,
    marital_status: Category, occupation: Category, relationship: Category, race: Category, sex: Category,
    capital_gain: Amount, capital_loss: Amount, hours_per_week: Amount, native_country: Category,
) -> tuple[dict[str, Any], str]:
    """Say how much each part of a person moved the probability of 50k or more, against others of the data set.

    The Shapley values add up: base + the sum of contributions = probability. The arguments are
    those of predict.
    """
    row = person(locals())
    why = model.explain(row)
    parts = add_up(why.contributions, why.base, why.probability, 3)
    largest_first = sorted(parts.items(), key=lambda item: -abs(why.contributions[item[0]]))
    bars = signed_bars(
        f"A sample of people from the census averages {round(why.base, 3):.1%}; this person is at "
        f"{round(why.probability, 3):.1%}. What makes the difference, in percentage points, rounded:",
        {f"{name.replace('-', ' ')}: {said(row[name])}": value for name, value in largest_first},
        points,
    )
    return {"probability": why.probability, "base": why.base, "contributions": why.contributions}, bars


@show_errors
def what_if(
    age: Amount, workclass: Category, fnlwgt: Amount, education: Category, education_num: Amount,
    marital_status: Category, occupation: Category, relationship: Category, race: Category, sex: Category,
    capital_gain: Amount, capital_loss: Amount, hours_per_week: Amount, native_country: Category, column: str,
) -> tuple[dict[str, Any], pd.DataFrame]:
    """Vary one number of a person, all else as it is, and follow the probability of 50k or more.

    The other arguments are those of predict.

    Args:
        column: the number to vary: age, capital-gain, capital-loss or hours-per-week.
    """
    curve = model.what_if(person(locals()), column)
    values, probabilities = zip(*curve, strict=True)
    drawn = pd.DataFrame({"value": values, "chance of 50k or more": probabilities})
    return {"column": column, "values": values, "probabilities": probabilities}, drawn
# fmt: on


@show_errors
def batch(file: str, progress: gr.Progress = gr.Progress()) -> tuple[dict[str, int], pd.DataFrame, str]:  # noqa: B008
    """Answer a CSV of up to 100,000 people with the columns of the data set; other columns are kept.

    Args:
        file: the CSV. A row that cannot be answered gets a sentence in the column "error".
    """
    return answer_rows(
        read_csv(file, contract.columns),
        model.predict_each,
        lambda answer: {"prediction": answer.label, f"probability {HIGH}": round(answer.probabilities[HIGH], 4)},
        progress,
    )


def said(value: Any) -> str:
    """A value in words."""
    return "unknown" if value in (None, "?", "") else f"{value:,g}" if isinstance(value, int | float) else str(value)


def category(column: str, label: str) -> gr.Dropdown:
    """A drop-down of the values the model knows."""
    choices = [(said(value), value) for value in contract.categories[column]]
    return gr.Dropdown(choices, value=contract.typical[column], label=label, min_width=220)


def number(column: str, label: str) -> gr.Number:
    """A number; its range is checked by the model, whose sentence says what is accepted."""
    span = contract.numbers[column]
    label = f"{label} ({span.minimum:g} to {span.maximum:,.0f})"
    seen = contract.amounts.get(column, ())
    info = AMOUNTS.format(len(seen), seen[len(seen) // 2]) if seen else None
    return gr.Number(
        contract.typical[column], label=label, info=info, min_width=220, minimum=span.minimum, maximum=span.maximum
    )


with Page(model, title="Salary") as demo:
    gr.Markdown(INTRODUCTION)
    answer = gr.Label(label="Income in dollars of 1994", elem_classes="answer")
    with gr.Row():
        with gr.Column():
            with gr.Row():
                age = number("age", "Age")
                hours = number("hours-per-week", "Hours a week")
            with gr.Row():
                education = category("education", "Education")
                occupation = category("occupation", "Occupation")
            with gr.Row():
                marital_status = category("marital-status", "Marital status")
                relationship = category("relationship", "Role in the household")
            with gr.Row():
                workclass = category("workclass", "Employer")
                native_country = category("native-country", "Born in")
            with gr.Row():
                race = category("race", "Race, as the census put it")
                sex = category("sex", "Sex, as the census put it")
            with gr.Row():
                capital_gain = number("capital-gain", "Capital gain, $")
                capital_loss = number("capital-loss", "Capital loss, $")
            with gr.Accordion("Columns that change nothing here", open=False):
                with gr.Row():
                    fnlwgt = number("fnlwgt", "Sampling weight")
                    education_num = number("education-num", "Education as a number")
                gr.Markdown("They are part of the data set; the model reads the education chosen above instead.")
        with gr.Column(), gr.Tabs():
            with gr.Tab("Why?"):
                bars = gr.HTML(label="Why")
            with gr.Tab("What if?"):
                column = gr.Dropdown(
                    [name for name in contract.numbers if name not in contract.ignored],
                    value="age",
                    label="Vary",
                )
                curve = gr.LinePlot(  # its label would push the name of the axis out of sight
                    x="value", y="chance of 50k or more", x_title="age", y_lim=[0, 1], height=260, label="What if",
                    show_label=False,
                )  # fmt: skip
            with gr.Tab("Many people"):
                gr.Markdown(f"A CSV with the columns {', '.join(f'`{name}`' for name in contract.columns)}.")
                file = Upload(label="CSV", file_types=[".csv", ".txt", ".tsv"])
                summary = gr.JSON(label="Rows answered")
                first_rows = gr.Dataframe(label="The first 20", interactive=False)
                result = gr.File(label="All predictions, as CSV")
            with gr.Tab("As JSON"):
                answer_json = gr.JSON(label="predict", open=True)
                why_json = gr.JSON(label="explain", open=True)
                curve_json = gr.JSON(label="what_if", open=False)
    about_model(model)

    # fmt: off
    form = [age, workclass, fnlwgt, education, education_num, marital_status, occupation, relationship, race,
            sex, capital_gain, capital_loss, hours, native_country]
    # fmt: on
    # The model checks every value and says what it accepts. Gradio's own checks would take a thread for each of the 14.
    unchecked = {"preprocess": False, "show_progress": "hidden"}
    numbers = [age, fnlwgt, education_num, capital_gain, capital_loss, hours]
    entered = [event for control in numbers for event in (control.submit, control.blur)]
    chosen = [control.change for control in form if control not in numbers]
    predicted = gr.on(
        [demo.load, *entered, *chosen],
        predict,
        form,
        [answer_json, answer],
        api_name="predict",
        trigger_mode="always_last",
        **unchecked,
    )
    # Only after an answer, so that what is wrong is said once.
    clear_at_once(predicted.success, [why_json, bars, curve_json, curve], [None] * 4)
    last = {"trigger_mode": "always_last", **unchecked}
    predicted.success(explain, form, [why_json, bars], api_name="explain", **last)
    for event, names in (
        (predicted.success, {"api_name": "what_if"}),
        (column.change, {"api_visibility": "private"}),
    ):
        drawn = event(what_if, [*form, column], [curve_json, curve], **names, **last)
        name_axis = "found => ({ __type__: 'update', x_title: found.column })"
        drawn.success(None, curve_json, curve, js=name_axis, api_visibility="private", show_progress="hidden")
    predicted.failure(  # what was shown is of another person
        lambda: (None,) * 6,
        None,
        [answer_json, answer, why_json, bars, curve_json, curve],
        api_visibility="private",
        show_progress="hidden",
    )
    answer_uploads(file, batch, [summary, first_rows, result])

if __name__ == "__main__":
    demo.launch()

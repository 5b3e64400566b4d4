"""Rows of a table: fill in a form, see the probability of each label, or a number, and an explanation.

Run it: python spaces/salary/app.py, or with hot reload: gradio spaces/salary/app.py
"""

from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr
import pandas as pd

from shared.markdown import escape_markdown
from shared.space import load_space_model
from shared.tables import read_csv
from shared.ui import Page, add_batch_tab, add_end, add_json, clear, introduce, show_errors
from shared.ui.batch import answer_rows
from shared.ui.feedback import add_feedback
from shared.ui.first_answer import show_first_answer
from shared.ui.forms import add_form, expand_row, list_form_events, make_template, name_group
from shared.ui.newest import ask, explain_newest
from shared.ui.quality import add_quality_tab
from shared.ui.share import add_link
from shared.ui.table_answers import add_answer, add_curve, draw_explanation, make_curve, name_axis, show_answer

model = load_space_model(Path(__file__).parent / "model")
config = model.config
Row = dict[str, Any]


@expand_row(config)
def predict(row: Row) -> tuple[dict[str, Any], dict[str, float] | str]:
    """Predict the probability of each label, or a number with a 90 % interval. Use "?" or null for an unknown value."""
    answer = model.predict(row)
    return answer.as_dict(), show_answer(model, answer)


@expand_row(config)
def explain(row: Row) -> tuple[dict[str, Any], str]:
    """Explain how much each value changed the answer, compared with a sample of the data.

    What is explained is the probability of the second of two labels, or of the predicted one of more; or the predicted
    number. The Shapley values add up: base + the sum of contributions = probability or value.
    """
    why = model.explain(row)
    return why.as_dict(), draw_explanation(model, row, why)


@expand_row(config)
def what_if(row: Row, column: str) -> tuple[dict[str, Any], pd.DataFrame]:
    """Compute the answer that is explained as one number varies and all other values stay the same.

    Args:
        column: the name of the number to vary.
    """
    return make_curve(model, row, column)


@show_errors
def batch(file: str, progress: gr.Progress = gr.Progress()) -> tuple[dict[str, int], pd.DataFrame, str]:  # noqa: B008
    """Predict for a CSV of up to 100,000 rows with the columns of the data set; other columns are kept.

    Args:
        file: the CSV. An invalid row gets a message in the column "error".
    """
    return answer_rows(read_csv(file, model.columns), model, progress)


with Page(model, title=config.about.title) as demo:
    introduce(model, escape_markdown(" ".join(config.about.limits[:1])))
    answer = add_answer(model)
    with gr.Row():
        with gr.Column():
            form = add_form(config)
            add_feedback(config, answer, dict(zip(config.columns, form, strict=True)))
            filled = add_link(dict(zip(config.columns, form, strict=True)), answer)
        with gr.Column(), gr.Tabs():
            with gr.Tab("Why?"):
                bars = gr.HTML(label="Why")
            with gr.Tab("What if?", visible=bool(model.curved)):
                column, curve = add_curve(model)
            add_quality_tab(model, partial(name_group, config))
            columns = ", ".join(f"`{name}`" for name in config.columns)
            hint, kinds = f"A CSV with the columns {columns}.", [".csv", ".txt", ".tsv"]
            many = add_batch_tab("Many rows", hint, template=make_template(config), file_types=kinds)
            answer_json, why_json, curve_json = add_json("predict", "explain", "what_if")
    add_end(model)

    # The model checks all values with clear errors. Gradio's own checks would take a thread for each field.
    live = {"preprocess": False, "show_progress": "hidden"}
    changed = [*list_form_events(form), filled]
    why = [why_json, bars, curve_json, curve]
    predicted = ask(changed, predict, form, [answer_json, answer], why, api_name="predict", **live)
    clear(predicted.success, why)  # only after success, so that an error is shown once
    explain_newest(predicted.success, explain, form, [why_json, bars], api_name="explain", **live)
    varied = [(predicted.success, {"api_name": "what_if"}), (column.change, {"api_visibility": "private"})]
    for event, names in varied if model.curved else ():
        drawn = explain_newest(event, what_if, [*form, column], [curve_json, curve], about=form, **names, **live)
        drawn.success(None, curve_json, curve, js=name_axis(model), api_visibility="private", show_progress="hidden")
    many.answer_with(batch)
    row = [field.value for field in form]
    show_first_answer([answer_json, answer, why_json, bars], lambda: [*predict(*row), *explain(*row)])
    if model.curved:
        show_first_answer([curve_json, curve], lambda: what_if(*row, column.value))

if __name__ == "__main__":
    demo.launch()

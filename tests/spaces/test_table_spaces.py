"""What the pages of salary and rating say of their models, beside the figures it comes from."""

import gradio as gr
import pytest

from tests.conftest import load_app


def test_the_salary_page_warns_of_amounts_learned_one_by_one(salary):
    fields = [block for block in load_app("salary").demo.blocks.values() if isinstance(block, gr.Number)]
    warned = {str(field.label).split(",")[0]: str(field.info) for field in fields if field.info}
    assert set(warned) == {"Capital gain", "Capital loss"}
    for label, name in (("Capital gain", "capital-gain"), ("Capital loss", "capital-loss")):
        assert f"each of the {len(salary.checkpoint.amounts[name])} amounts" in warned[label]


def test_the_rating_page_shows_how_far_off_newcomers_are(rating):
    app = load_app("rating")
    group = rating.metrics["newcomers"]["groups"][-1]
    shown = app.newcomer_curve()
    ours = shown[shown["predicted from"] == "this model"]
    assert ours["movies rated"].to_list() == [0, 1, 2, 3, 5, 10, 20, 50]
    assert ours["off by (stars)"].to_list() == pytest.approx([point["root"] for point in group["curve"]], abs=1e-3)
    assert f"Measured on {group['users']} people" in app.newcomers_measured()
    plots = [block for block in app.demo.blocks.values() if isinstance(block, gr.LinePlot)]
    assert [plot.x for plot in plots] == ["movies rated"]

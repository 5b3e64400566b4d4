"""What the pages of salary and rating say of their models, beside the figures it comes from."""

import gradio as gr

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
    shown = app.newcomer_table()
    assert shown["movies rated"].to_list() == [0, 1, 2, 3, 5, 10, 20, 50]
    assert shown["off by, in stars"].to_list() == [f"{point['root']:.2f}" for point in group["curve"]]
    assert f"Measured on {group['users']} people" in app.newcomers_measured()
    tables = [block.value for block in app.demo.blocks.values() if isinstance(block, gr.Dataframe)]
    assert list(shown) in [table["headers"] for table in tables if table]


def test_a_new_rating_comes_first_and_replaces_an_older_one_of_the_movie():
    rate = load_app("rating").rate
    assert list(rate({"260": 5, "1": 3}, "Pretty Woman (1990)", 2).items()) == [("597", 2), ("260", 5), ("1", 3)]
    assert list(rate({"260": 5, "1": 3}, 1, 4).items()) == [("1", 4), ("260", 5)]
    assert rate(None, "1", 4.5) == rate({}, 1.0, 4.5) == {"1": 4.5}

"""The tab that shows how good a model is: what was measured, and nothing else."""

import re
from types import SimpleNamespace

import pytest

from shared.metrics import Calibration, CalibrationBin, Figure, HardCase
from shared.ui.forms import name_group
from shared.ui.quality import INTERVALS, Share, draw_calibration, draw_cases, draw_quality, draw_shares, draw_sure


def draw(model):
    return draw_quality(model.config, model.metrics, lambda group: name_group(model.config, group))


def test_errors_by_label_become_a_table_of_right_and_wrong(cat_dog):
    errors = {figure.name: figure for figure in reversed(cat_dog.metrics.figures)}
    cats = errors["error_cat"]
    wrong = round(cats.value * cats.count)
    row = f'<th scope="row">a cat</th><td>{cats.count - wrong:,}</td><td>{wrong:,}</td>'
    assert row in draw(cat_dog)
    assert "upside down" in draw(cat_dog)


def make_error(name, value, interval=None, data="pets", **fields):
    label = f"error, {name.replace('_', ' ')}"
    return Figure(
        name=f"error_{name}", value=value, interval=interval, data=data, split="test", count=200, label=label, **fields
    )


def draw_figures(model, *figures):
    """Return the sections of a page about these figures, by their titles: labels, values, and interval bars."""
    shown = draw_quality(model.config, model.metrics.model_copy(update={"figures": figures, "calibration": None}), str)
    sections = [part.partition("</h3>") for part in shown.split("<h3>")[1:]]
    return {
        title: re.findall(r'bars-label">([^<]+)<.*?bars-value">(.+?)</div>', content) for title, _, content in sections
    }


def test_errors_are_drawn_as_right_answers_with_the_interval_turned_round(cat_dog):
    found = draw_figures(
        cat_dog,
        make_error("cat", 0.1, (0.05, 0.2)),
        make_error("dog", 0.3),
        make_error("upside_down", 0.25, (0.21, 0.39)),
        make_error("in_the_dark", 0.4),
    )
    assert found["How often it is right, by the right answer"] == [
        ("a cat", "90% <small>(80–95)</small>"), ("a dog", "70%"),
    ]  # fmt: skip
    assert found["On harder pictures"] == [("in the dark", "60%"), ("upside down", "75% <small>(61–79)</small>")]


def test_the_first_figure_of_a_name_counts_and_those_of_other_data_do_not(cat_dog):
    found = draw_figures(
        cat_dog,
        make_error("cat", 0.1),
        make_error("dog", 0.3),
        make_error("cat", 0.5),
        make_error("cat", 0.6, data="street cats"),
        make_error("upside_down", 0.7, data="street cats"),
    )
    assert found["How often it is right, by the right answer"] == [("a cat", "90%"), ("a dog", "70%")]
    assert "On harder pictures" not in found


def test_recalls_by_label_are_drawn_like_errors(salary):
    high = next(one for one in salary.metrics.figures if one.name == "recall_>=50k")
    right = round(high.value * high.count)
    shown = draw(salary)
    assert f"More than $50,000</th><td>{high.count - right:,}</td><td>{right:,}</td>" in shown
    low, upper = (f"{100 * end:.0f}" for end in high.interval)
    assert shown.count("How often it is right, by the right answer") == 1
    assert f"{high.value:.0%} <small>({low}–{upper})</small>" in shown


def test_classes_have_their_names_and_intervals(segmentation):
    shown = draw(segmentation)
    figure = next(one for one in segmentation.metrics.figures if one.name == "iou_SignSymbol")
    low, high = (f"{100 * end:.0f}" for end in figure.interval)
    assert f"{figure.value:.0%} <small>({low}–{high})</small>" in shown
    assert '<div class="bars-label">Sign</div>' in shown
    assert "100% would be perfect" in shown
    assert "SignSymbol" not in shown


def test_groups_show_what_is_expected_and_what_is_true(salary):
    group = next(one for one in salary.metrics.groups if one.group == "race: Amer-Indian-Eskimo")
    shown = draw(salary)
    assert f"Race: American Indian or Eskimo ({group.count:,})" in shown
    assert f"{group.mean_probability.value:.0%} <small>(really {group.base_rate.value:.0%})</small>" in shown
    assert f"the mark the true share. {INTERVALS}" in shown
    assert "<h3>More than $50,000, by group</h3>" in shown


def test_not_sure_is_compared_with_sure():
    values = {"accuracy": 0.9, "clear": 0.8, "accuracy_clear": 0.95}
    fields = {"interval": None, "data": "x", "split": "test", "count": 100}
    shown = draw_sure({name: Figure(name=name, value=value, **fields) for name, value in values.items()})
    assert re.findall(r'bars-value">(\d+)%', shown) == ["95", "70"]  # 0.8 * 0.95 + 0.2 * 0.7 == 0.9
    assert draw_sure({}) == ""
    values["clear"] = 1.0  # there is no answer of which it is not sure
    assert draw_sure({name: Figure(name=name, value=value, **fields) for name, value in values.items()}) == ""


def test_what_it_says_is_compared_with_what_is_right():
    bins = [(0.55, 0.5, (0.4, 0.6), 100), (0.89, 0.92, (0.9, 0.94), 400), (0.9, 1.0, (0.3, 1.0), 2)]
    names = ("confidence", "accuracy", "interval", "count")
    found = [CalibrationBin(**dict(zip(names, values, strict=True))) for values in bins]
    shown = draw_calibration(Calibration(data="x", split="test", unit="texts", bins=tuple(found)))
    assert "When it says 89%, it is right 92% of the time." in shown  # not from two answers
    assert re.findall(r'bars-label">([^<]+)<', shown)[-1] == "it says 55% (100)"
    assert "92% <small>(90–94)</small>" in shown
    assert 'bars-mark" style="left:89.0%"' in shown
    assert draw_calibration(None) == ""
    few = draw_calibration(Calibration(data="x", split="test", unit="texts", bins=tuple(found[2:])))
    assert "When it says" not in few
    assert "the mark what it says" in few


@pytest.mark.parametrize(("count", "is_said"), [(49, False), (50, True)])
def test_a_sentence_on_a_percentage_needs_fifty_answers(count, is_said):
    one = CalibrationBin(confidence=0.9, accuracy=0.8, interval=(0.7, 0.9), count=count)
    shown = draw_calibration(Calibration(data="x", split="test", unit="texts", bins=(one,)))
    assert ("When it says 90%, it is right 80% of the time." in shown) is is_said


def test_an_interval_ends_where_shares_do():
    shown = draw_shares("Right", [Share("all", 1.0, (0.9, 1.1)), Share("none", 0.0, (-0.1, 0.2))])
    assert 'bars-interval" style="left:90.0%; width:10.0%"' in shown
    assert 'bars-interval" style="left:0.0%; width:20.0%"' in shown
    assert re.findall(r"<small>(.*?)</small>", shown) == ["(90–100)", "(0–20)"]


def test_only_cases_that_are_wrong_and_clear_are_shown(sentiment):
    shown = draw(sentiment)
    wrong = [case.text for case in sentiment.metrics.cases if case.clear and not case.right]
    assert "There is nothing here that anyone could dislike." in wrong
    assert (
        "“There is nothing here that anyone could dislike.” is really Positive; it says Negative (negation)." in shown
    )
    assert "I did not like this film at all." not in shown


def test_the_first_eight_cases_that_are_wrong_and_clear_are_shown(sentiment):
    def make_case(text, right=False, clear=True):
        return HardCase(kind="irony", text=text, expected="neg", probability=0.1, right=right, clear=clear)

    wrong = [make_case(f"Wrong {number}.") for number in range(9)]
    cases = (make_case("Right.", right=True), make_case("Unsure.", clear=False), *wrong)
    shown = draw_cases(sentiment.config, sentiment.metrics.model_copy(update={"cases": cases}))
    assert re.findall("“(.*?)”", shown) == [f"Wrong {number}." for number in range(8)]


def test_labels_are_escaped():
    share = SimpleNamespace(label="<b>", value=0.5, interval=None, mark=None)
    assert "&lt;b&gt;" in draw_shares("<i>", [share])
    assert "<b>" not in draw_shares("<i>", [share])
    assert draw_shares("nothing", []) == ""


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("segmentation", "names 92% of the pixels right"),
        ("rating", "typically off by 0.7 stars"),
        ("salary", "right for 87.6%"),
    ],
)
def test_the_headline_needs_no_textbook(name, words, request):
    assert request.getfixturevalue(name).metrics.summary.startswith(words)

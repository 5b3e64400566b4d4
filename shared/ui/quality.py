"""The tab that shows how good a model is and when it is wrong: what was measured, as bars with their intervals."""

import html
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import gradio as gr

from ..config import GalleryConfig
from ..markdown import escape_markdown
from ..metrics import Calibration, Figure, Group, Interval, Metrics
from ..predictor import Predictor
from .explanations import format_percent
from .tabs import add_card

HARD_CASES = "hard cases"  # the data set of test texts that were written for this project
CASES_SHOWN = 8
ENOUGH = 50  # answers of similar confidence for a sentence on them
INTERVALS = "The thin line is the 95 % interval."


def add_quality_tab(
    model: Predictor[Any, Any, Any], name_group: Callable[[str], str] = str, more: Callable[[], object] = str
) -> None:
    """Add a tab that shows how good a model is and when it is wrong, with its limits, and the model card beneath.

    Args:
        model: the model.
        name_group: returns the display name of a group of people, such as "age: under 25".
        more: adds other components above the limits.
    """
    with gr.Tab("How good is it?"):
        if model.metrics:
            gr.Markdown(f"### Measured: {escape_markdown(model.metrics.summary)}")
            gr.HTML(draw_quality(model.config, model.metrics, name_group), label="Measured")
        more()
        limits = "\n".join(f"- {escape_markdown(limit)}" for limit in model.config.about.limits)
        gr.Markdown(f"### When is it wrong?\n{limits}")
        add_card(model)


@dataclass(frozen=True)
class Share:
    """A measured share (0 … 1), its interval, and a second share to compare it with, drawn as a mark.

    `mark_name` is what the mark is called beside the bar; without it, the interval is there.
    """

    label: str
    value: float
    interval: Interval | None
    mark: float | None = None
    mark_name: str = ""


def draw_quality(config: GalleryConfig, metrics: Metrics, name_group: Callable[[str], str]) -> str:
    """Return what was measured as HTML: sections of bars, and examples of wrong answers.

    Args:
        config: the gallery.json of the model.
        metrics: its metrics.json.
        name_group: returns the display name of a group of people, such as "age: under 25".
    """
    first = metrics.figures[0].data if metrics.figures else ""
    own = [figure for figure in metrics.figures if figure.data == first]
    known = {figure.name: figure for figure in reversed(own)}  # the first of each name
    overlaps = {f"iou_{label}": config.get_label_name(label) for label in config.labels}
    rates = {figure.name for figure in own if figure.name.startswith("error_")}
    rates -= {f"error_{label}" for label in config.labels}
    rights = find_rights(config, known)
    sections = [
        draw_confusion(config, rights),
        draw_shares(
            "How often it is right, by the right answer",
            [Share(config.get_label_name(label), one.value, one.interval) for label, one in rights.items()],
        ),
        draw_shares(
            "How well it outlines each class (100% would be perfect: intersection over union)", _pick(known, overlaps)
        ),
        draw_shares("By the length of the text", _pick(known, _name_lengths(own))),
        draw_calibration(metrics.calibration),
        draw_sure(known),
        draw_shares("On harder pictures", _invert(_pick(known, {name: _strip(known[name]) for name in sorted(rates)}))),
        draw_shares("On texts written to be hard", _list(metrics.figures, lambda one: one.data == HARD_CASES)),
        draw_shares(
            "How often it rejects what it was not trained on", _list(metrics.figures, is_noticed, by_data=True)
        ),
        draw_groups(config, metrics.groups, name_group),
        draw_cases(config, metrics),
    ]
    return "".join(sections)


def is_noticed(figure: Figure) -> bool:
    """Return True for the share of inputs that were rightly rejected."""
    return figure.name == "noticed"


def _strip(figure: Figure) -> str:
    """Return the label of a figure without the name of what is measured: "upside down" of "error, upside down"."""
    label = figure.label or figure.name
    return label.partition(", ")[2] or label.partition(": ")[2] or label


def _name_lengths(figures: Iterable[Figure]) -> dict[str, str]:
    return {figure.name: _strip(figure) for figure in figures if figure.name.startswith("accuracy_from_")}


def _pick(known: Mapping[str, Figure], names: Mapping[str, str]) -> list[Share]:
    """Return the figures with these names, under other names."""
    found = [(shown, known[name]) for name, shown in names.items() if name in known]
    return [Share(shown, figure.value, figure.interval) for shown, figure in found]


def _list(figures: Iterable[Figure], wanted: Callable[[Figure], bool], by_data: bool = False) -> list[Share]:
    return [
        Share(f"{figure.data if by_data else _strip(figure)} ({figure.count:,})", figure.value, figure.interval)
        for figure in figures
        if wanted(figure)
    ]


def _invert(shares: Iterable[Share]) -> list[Share]:
    """Return shares of right answers for shares of wrong ones."""
    return [
        Share(one.label, 1 - one.value, one.interval and (1 - one.interval[1], 1 - one.interval[0])) for one in shares
    ]


def draw_shares(title: str, shares: Iterable[Share], note: str = INTERVALS) -> str:
    """Return HTML with a bar for each share and a line for its interval; "" if there are none."""
    rows = "".join(map(_draw_share, shares))
    if not rows:
        return ""
    return f'<h3>{html.escape(title)}</h3><p>{html.escape(note)}</p><div class="bars rates">{rows}</div>'


def _draw_share(share: Share) -> str:
    value, drawn = format_percent(share.value), f'<div class="bars-bar" style="width:{100 * share.value:.1f}%"></div>'
    if share.interval:
        low, high = (100 * min(1, max(0, end)) for end in share.interval)
        drawn += f'<div class="bars-interval" style="left:{low:.1f}%; width:{high - low:.1f}%"></div>'
        value += f" <small>({low:.0f}–{high:.0f})</small>"
    if share.mark is not None:
        drawn += f'<div class="bars-mark" style="left:{100 * share.mark:.1f}%"></div>'
        if share.mark_name:
            named = f"{share.mark_name} {format_percent(share.mark)}"
            value = f"{format_percent(share.value)} <small>({html.escape(named)})</small>"
    return (
        f'<div class="bars-label">{html.escape(share.label)}</div><div class="bars-whole">{drawn}</div>'
        f'<div class="bars-value">{value}</div>'
    )


def find_rights(config: GalleryConfig, known: Mapping[str, Figure]) -> dict[str, Figure]:
    """Map labels to the share of right answers among inputs with that label: the recall, or 1 minus the error."""
    rights = {}
    for label in config.labels:
        if found := known.get(f"recall_{label}"):
            rights[label] = found
        elif found := known.get(f"error_{label}"):
            interval = found.interval and (1 - found.interval[1], 1 - found.interval[0])
            rights[label] = found.model_copy(update={"value": 1 - found.value, "interval": interval})
    return rights


def draw_confusion(config: GalleryConfig, rights: Mapping[str, Figure]) -> str:
    """Return a table of right and wrong answers as HTML, for a model with two labels.

    Args:
        config: the gallery.json of the model.
        rights: the share of right answers by label; see find_rights.
    """
    found = list(rights.values())
    if not len(config.labels) == len(found) == 2:
        return ""
    names = [html.escape(config.get_label_name(label)) for label in config.labels]
    rows = ""
    for index, figure in enumerate(found):
        right = round(figure.value * figure.count)
        cells = [right, figure.count - right] if index == 0 else [figure.count - right, right]
        rows += f'<tr><th scope="row">{names[index]}</th>{"".join(f"<td>{cell:,}</td>" for cell in cells)}</tr>'
    heads = "".join(f'<th scope="col">called {name}</th>' for name in names)
    title = f"{html.escape(found[0].data)}, {html.escape(found[0].split)}: what it really is, and what it was called"
    return f"<h3>Right and wrong</h3><table><caption>{title}</caption><tr><td></td>{heads}</tr>{rows}</table>"


def draw_sure(known: Mapping[str, Figure]) -> str:
    """Return HTML that says how often a model is right where it is sure, and where it says that it is not."""
    right, sure, right_if_sure = (known.get(name) for name in ("accuracy", "clear", "accuracy_clear"))
    if not (right and sure and right_if_sure) or sure.value == 1:
        return ""
    right_if_unsure = (right.value - sure.value * right_if_sure.value) / (1 - sure.value)
    unsure = f"not sure ({format_percent(1 - sure.value)} of the texts): it would be right"
    shares = [
        Share(
            f"sure ({format_percent(sure.value)} of the texts): it is right",
            right_if_sure.value,
            right_if_sure.interval,
        ),
        Share(unsure, right_if_unsure, None),
    ]
    return draw_shares("Does it know when it does not know?", shares)


def draw_calibration(calibration: Calibration | None) -> str:
    """Return HTML that compares how often a model is right with the probability that it gives; "" if unknown."""
    if not calibration or not calibration.bins:
        return ""
    shares = [
        Share(f"it says {format_percent(one.confidence)} ({one.count:,})", one.accuracy, one.interval, one.confidence)
        for one in reversed(calibration.bins)
    ]
    note = (
        "The bar is how often it is right, the mark what it says; the closer, the better. The number of "
        f"{calibration.unit} is in brackets. {INTERVALS}"
    )
    if enough := [one for one in calibration.bins if one.count >= ENOUGH]:
        typical = min(enough, key=lambda one: abs(one.confidence - 0.9))
        said, right = format_percent(typical.confidence), format_percent(typical.accuracy)
        note = f"When it says {said}, it is right {right} of the time. {note}"
    return draw_shares("Do its percentages mean what they say?", shares, note)


def draw_groups(config: GalleryConfig, groups: Iterable[Group], name_group: Callable[[str], str]) -> str:
    """Return HTML that compares, for groups of people, what a model expects with what is true."""
    shares = [
        Share(f"{name_group(one.group)} ({one.count:,})", one.mean_probability.value, one.mean_probability.interval,
              one.base_rate.value, "really")
        for one in groups
        if one.mean_probability.value is not None
    ]  # fmt: skip
    name = config.get_label_name(config.labels[-1]) if config.labels else ""
    note = f"The bar is the share that the model expects, the mark the true share. {INTERVALS}"
    return draw_shares(f"{name}, by group", shares, note)


def draw_cases(config: GalleryConfig, metrics: Metrics) -> str:
    """Return HTML with texts that a model with two labels gets wrong although it is sure."""
    wrong = [case for case in metrics.cases if case.clear and not case.right][:CASES_SHOWN]
    names = [config.get_label_name(label) for label in config.labels]
    answers = dict(zip(config.labels, reversed(names), strict=True))
    rows = [
        f"<li>“{html.escape(case.text)}” is really {html.escape(config.get_label_name(case.expected))}; "
        f"it says {html.escape(answers[case.expected])} ({html.escape(case.kind)}).</li>"
        for case in wrong
    ]
    return f"<h3>Where it is sure and wrong</h3><ul>{''.join(rows)}</ul>" if rows else ""

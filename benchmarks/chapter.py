"""Print the tables of docs/book.md, from the stored models' metrics.json and the results of benchmarks/ablation.py.

python -m benchmarks.chapter
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from shared.metrics import Figure, Metrics

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks/results/ablation.json"
ONE = "one of these networks"
PETS, ANIMALS = "Oxford Pets", "animals cut out on white (Tux Paint's stamps)"
UNSEEN = "official test, the drive of which no frame was trained on"
# Of each model: the name of a figure, and its data and split where several have that name.
DOMAIN = {
    "cat_dog": [
        ("error", PETS, ""), ("error_cage", PETS, ""), ("error_chain_link", PETS, ""), ("error_turned", PETS, ""),
        ("noticed", ANIMALS, ""), ("certain_of_two", PETS, ""),
    ],
    "sentiment": [("accuracy", "", ""), ("accuracy_negation", "", ""), ("accuracy_sarcasm", "", "")],
}  # fmt: skip
SPLITS = {"segmentation": [("validation", "", ""), ("mean_iou", "", "official test"), ("mean_iou", "", UNSEEN)]}
LABELS = {"segmentation": [("iou_Road", "", ""), ("iou_Car", "", ""), ("iou_Pole", "", ""), ("iou_Fence", "", "")]}


@dataclass(frozen=True)
class Ablation:
    """Scores of the variants of a recipe, one for each seed; differences are from the variant ONE."""

    model: str
    score: str
    data: str
    trained_on: int
    measured_on: int
    scores: Mapping[str, list[float]]

    def format(self) -> str:
        """Return the table in Markdown: means over the seeds, with least and most."""
        lines = [f"| {self.model} | {self.score} | difference from one network |", "|---|---|---|"]
        for what, scores in self.scores.items():
            gaps = [score - one for score, one in zip(scores, self.scores[ONE], strict=True)]
            gap = "" if what == ONE else format_spread(gaps, "+.4f")
            lines.append(f"| {what} | {format_spread(scores, '.4f')} | {gap} |")
        return "\n".join(lines)


def format_spread(values: Sequence[float], digits: str) -> str:
    """Return the mean of values, with the least and the most."""
    return f"{mean(values):{digits}} ({min(values):{digits}} to {max(values):{digits}})"


def read_ablations(path: Path = RESULTS) -> list[Ablation]:
    """Return the tables of a results file."""
    return [Ablation(**table) for table in json.loads(path.read_text(encoding="utf-8"))["tables"]]


def read_metrics(name: str) -> Metrics:
    """Return the metrics of a stored model."""
    return Metrics.read(ROOT / f"spaces/{name}/model")


def find_figure(name: str, figure: str, data: str = "", split: str = "") -> Figure:
    """Return the first figure of a stored model with this name, on this data and split if they are given."""
    return next(
        item
        for item in read_metrics(name).figures
        if item.name == figure and data in ("", item.data) and split in ("", item.split)
    )


def format_figures(chosen: Mapping[str, Sequence[tuple[str, str, str]]]) -> str:
    """Return a table of chosen figures in Markdown."""
    lines = ["| model | figure | value | 95 % interval | measured on |", "|---|---|---|---|---|"]
    for name, keys in chosen.items():
        for figure in (find_figure(name, *key) for key in keys):
            interval = "{:.4f} to {:.4f}".format(*figure.interval) if figure.interval else ""
            where = f"{figure.data}, {figure.split} ({figure.count:,})"
            lines.append(f"| {name} | {figure.label} | {figure.value:.4f} | {interval} | {where} |")
    return "\n".join(lines)


def format_groups() -> str:
    """Return a table in Markdown of the shares of people with an income above $50,000: true, and as predicted."""
    lines = [
        "| people | count | earn more than $50,000 | the model says so | of those who do, found |",
        "|---|---|---|---|---|",
    ]
    for group in read_metrics("salary").groups or ():
        rates = (group.base_rate, group.selection_rate, group.true_positive_rate)
        shares = " | ".join("" if rate.value is None else f"{rate.value:.1%}" for rate in rates)
        lines.append(f"| {group.group} | {group.count:,} | {shares} |")
    return "\n".join(lines)


def format_all() -> list[str]:
    """Return all tables, in the order of the page."""
    figures = [format_figures(chosen) for chosen in (LABELS, SPLITS, DOMAIN)]
    return [*figures, format_groups(), *(table.format() for table in read_ablations())]


if __name__ == "__main__":
    print("\n\n".join(format_all()))

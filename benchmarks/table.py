"""What is measured, how it compares with its peer, and whether that is what was aimed at."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal


@dataclass(frozen=True)
class Target:
    """What a ratio should be: at least, or at most, a number."""

    sense: Literal[">=", "<="]
    ratio: float

    def is_met(self, ratio: float) -> bool:
        """Whether a ratio is what it should be."""
        return ratio >= self.ratio if self.sense == ">=" else ratio <= self.ratio

    def __str__(self) -> str:
        return f"{self.sense} {self.ratio:g}"


@dataclass(frozen=True)
class Row:
    """One comparison: `ours` and `peers` have a figure for each round, measured in turn, in `unit`.

    The ratio is ours to the peer's, or, where `is_speedup`, the peer's to ours: how many times faster it is. `reached`
    has the score of ours and of the peer where the row compares trainings. `notes` are further figures for the JSON.
    """

    part: str
    what: str
    peer: str
    unit: str
    ours: list[float]
    peers: list[float]
    is_speedup: bool = False
    target: Target | None = None
    reached: tuple[float, float] | None = None
    notes: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> "Row":
        """The row that as_json wrote."""
        given = {item.name: found[item.name] for item in fields(cls) if item.name in found}
        if given.get("target"):
            sense, ratio = given["target"].split()
            given["target"] = Target(sense, float(ratio))
        if given.get("reached"):
            given["reached"] = tuple(given["reached"])
        return cls(**given)

    @property
    def ratios(self) -> list[float]:
        """The ratio in each round, from the least to the greatest."""
        pairs = zip(self.ours, self.peers, strict=True)
        return sorted(peer / our if self.is_speedup else our / peer for our, peer in pairs)

    @property
    def ratio(self) -> float:
        """The median ratio."""
        return statistics.median(self.ratios)

    @property
    def verdict(self) -> str:
        """ "met", "missed", or "" where there is no target."""
        return "" if self.target is None else "met" if self.target.is_met(self.ratio) else "missed"

    def as_json(self) -> dict[str, Any]:
        """The figures of every round, and what follows from them."""
        found = {"ratio": self.ratio, "least": self.ratios[0], "most": self.ratios[-1]}
        return {**asdict(self), **found, "target": self.target and str(self.target), "verdict": self.verdict}


LEGEND = """latency and time: how many times faster ours is. All else: ours divided by the peer's, of which more is
better for answers or images a second and accuracy, and less for seconds, memory and errors. reached: the scores of
ours and of the peer; two times are only compared where both reach the score that is named."""
# Of targets that were missed when they were last looked into: part, what and peer of a row, and what stands in the way.
REASONS = {
    ("latency", "cat_dog, phone photo", "fastai"): "decoding the JPEG takes most of the time",
    ("latency", "cat_dog, small photo", "fastai"): "the network alone takes most of the time",
    ("bulk", "segmentation, 6 street frames in files", "bare loop"): (
        "the bare loop stops at logits of half the size; ours goes on to a class and a probability for each pixel"
    ),
    ("start", "gallery", "echo"): "it opens five models, and Gradio builds its web server once more for every page",
    ("start", "gallery", "lesson"): (
        "Gradio alone takes half as long as the lesson app, and builds its web server once more for every page"
    ),
    ("memory", "peak, one Space", "lesson"): "Gradio alone takes a fifth of the lesson app's memory",
    ("memory", "peak, gallery", "lesson"): "Gradio alone takes a fifth of the lesson app's memory",
    ("http", "cat_dog, small photo, 8 clients", "echo"): (
        "the network's time for each photo comes on top of all that the echo app does"
    ),
    ("http", "cat_dog, phone photo, 8 clients", "echo"): (
        "reading a JPEG of 12 megapixels and the network's time come on top of all that the echo app does"
    ),
}
HEADER = ("part", "what", "ours", "peer's", "", "ratio", "least to most", "reached", "target", "")


def format_table(rows: Iterable[Row]) -> str:
    """The rows as text: medians of both sides, the median ratio with its spread, the target and whether it is met."""
    lines = [HEADER]
    for row in rows:
        ours, peers = (f"{format_number(statistics.median(side))} {row.unit}" for side in (row.ours, row.peers))
        spread = f"{format_number(row.ratios[0])} to {format_number(row.ratios[-1])}"
        scores = " / ".join(format_number(score) for score in row.reached or ())
        verdict = (str(row.target or ""), row.verdict)
        lines.append((row.part, row.what, ours, peers, row.peer, format_number(row.ratio), spread, scores, *verdict))
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADER))]
    to_the_right = {2, 3, 5}
    return "\n".join(
        "  ".join(
            cell.rjust(width) if column in to_the_right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def explain_missed(rows: Iterable[Row]) -> str:
    """A line for each target that was missed, with the reason, or that none is known."""
    missed = [row for row in rows if row.verdict == "missed"]
    return "\n".join(
        f"missed: {row.part}, {row.what}, beside {row.peer}: "
        + REASONS.get((row.part, row.what, row.peer), "nobody has looked into it yet")
        for row in missed
    )


def format_trainings(rows: Sequence[Row]) -> str:
    """The trainings as a list in Markdown: times with what each side reached, or scores alone, or speeds alone."""
    lines = []
    for row in rows:
        name, _, goal = row.what.partition(", ")
        ours, peers = (format_number(statistics.median(side)) for side in (row.ours, row.peers))
        if row.part == "time" and row.reached:
            score = goal.rpartition(" ")[0]
            reached, peer_reached = (f"{value:.4f}" for value in row.reached)
            stock = f"{peer_reached} after {peers} s ({row.peer})"
            lines.append(f"- {name}: {score} {stock}; ours {reached} after {ours} s")
        elif row.part == "score":
            final, peer_final = (f"{statistics.median(side):.4f}" for side in (row.ours, row.peers))
            lines.append(f"- {name}: {goal} {peer_final} at the end ({row.peer}); ours {final}")
        elif row.part == "rate" and not any(other.part in ("time", "score") and name in other.what for other in rows):
            lines.append(f"- {name}: {ours} {row.unit}; {peers} ({row.peer}); scores were not compared")
    return "\n".join(lines)


def format_report(rows: Sequence[Row]) -> str:
    """The table, how to read it, and why targets were missed."""
    return "\n\n".join(filter(None, (format_table(rows), LEGEND, explain_missed(rows), format_trainings(rows))))


def format_number(number: float) -> str:
    """Three significant digits, and no exponent."""
    return f"{number:.0f}" if abs(number) >= 100 else f"{number:#.3g}"

"""Rows and tables of measurements, compared with a peer and with a target."""

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal


@dataclass(frozen=True)
class Target:
    """The target of a ratio: at least, or at most, a number."""

    sense: Literal[">=", "<="]
    ratio: float

    def is_met(self, ratio: float) -> bool:
        """Return True if a ratio meets the target."""
        return ratio >= self.ratio if self.sense == ">=" else ratio <= self.ratio

    def __str__(self) -> str:
        return f"{self.sense} {self.ratio:g}"


@dataclass(frozen=True)
class Row:
    """One comparison: `ours` and `peers` have a figure in `unit` for each round, measured in turn.

    The ratio is ours to the peer's or, with `is_speedup`, the peer's to ours: how many times faster ours is. `reached`
    has the scores of ours and of the peer if the row compares trainings. `notes` are further figures for the JSON.
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
        """Return the row from the output of as_json."""
        given = {item.name: found[item.name] for item in fields(cls) if item.name in found}
        if given.get("target"):
            sense, ratio = given["target"].split()
            given["target"] = Target(sense, float(ratio))
        if given.get("reached"):
            given["reached"] = tuple(given["reached"])
        return cls(**given)

    @property
    def ratios(self) -> list[float]:
        """The ratios of the rounds, in ascending order."""
        pairs = zip(self.ours, self.peers, strict=True)
        return sorted(peer / our if self.is_speedup else our / peer for our, peer in pairs)

    @property
    def ratio(self) -> float:
        """The median ratio."""
        return statistics.median(self.ratios)

    @property
    def verdict(self) -> str:
        """ "met", "missed", or "" without a target."""
        return "" if self.target is None else "met" if self.target.is_met(self.ratio) else "missed"

    def as_json(self) -> dict[str, Any]:
        """Return the figures of every round, with the ratio and the verdict."""
        found = {"ratio": self.ratio, "least": self.ratios[0], "most": self.ratios[-1]}
        return {**asdict(self), **found, "target": self.target and str(self.target), "verdict": self.verdict}


LEGEND = """latency and time: how many times faster ours is. Other parts: ours divided by the peer's; more is better for
answers or images a second and accuracy, less for seconds, memory and errors. reached: the scores of ours and of the
peer; times are only compared if both reach the given score."""
# Reasons for missed targets, by part, what and peer of a row.
REASONS = {
    ("latency", "cat_dog, phone photo", "fastai"): "decoding the JPEG takes most of the time",
    ("latency", "cat_dog, small photo", "fastai"): "the network alone takes most of the time",
    ("bulk", "cat_dog, 32 small photos in files", "bare loop"): (
        "the photos are read, decoded and resized; the bare loop has them as arrays"
    ),
    ("bulk", "segmentation, 6 street frames in files", "bare loop"): (
        "the bare loop stops at logits of half the size; ours goes on to a class and a probability for each pixel"
    ),
    ("start", "one Space", "lesson"): "Gradio alone takes half as long as the lesson app",
    ("start", "gallery", "echo"): "it opens five models and builds six pages",
    ("start", "gallery", "lesson"): (
        "Gradio alone takes half as long as the lesson app, which opens one model and builds one page"
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
    """Return the rows as text: medians, the median ratio with its range, the target and the verdict."""
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
    """Return a line for each missed target with the reason, if known."""
    missed = [row for row in rows if row.verdict == "missed"]
    return "\n".join(
        f"missed: {row.part}, {row.what}, beside {row.peer}: "
        + REASONS.get((row.part, row.what, row.peer), "nobody has looked into it yet")
        for row in missed
    )


def format_trainings(rows: Sequence[Row]) -> str:
    """Return the trainings as a Markdown list: times with scores, or only scores, or only speeds."""
    lines = []
    for row in rows:
        name, _, score = row.what.partition(", ")
        ours, peers = (format_spread(side, format_number) for side in (row.ours, row.peers))
        if row.part == "time" and row.reached:
            reached, peer_reached = (f"{value:.4f}" for value in row.reached)
            lines.append(
                f"- {name}: {score} {peer_reached} after {peers} s ({row.peer}); ours {reached} after {ours} s"
            )
        elif row.part == "score":
            final, peer_final = (format_spread(side, "{:.4f}".format) for side in (row.ours, row.peers))
            lines.append(f"- {name}: {score} {peer_final} at the end ({row.peer}); ours {final}")
        elif row.part == "rate" and not any(other.part in ("time", "score") and name in other.what for other in rows):
            lines.append(f"- {name}: {ours} {row.unit}; {peers} ({row.peer}); scores were not compared")
    return "\n".join(lines)


def format_spread(figures: Sequence[float], format_one: Callable[[float], str]) -> str:
    """Return the median, with the least and the most in brackets if there are several figures."""
    median = format_one(statistics.median(figures))
    return f"{median} [{format_one(min(figures))}, {format_one(max(figures))}]" if len(figures) > 1 else median


def format_report(rows: Sequence[Row]) -> str:
    """Return the table, its legend, the reasons for missed targets, and the list of trainings."""
    return "\n\n".join(filter(None, (format_table(rows), LEGEND, explain_missed(rows), format_trainings(rows))))


def format_number(number: float) -> str:
    """Return a number with three significant digits and no exponent."""
    return f"{number:.0f}" if abs(number) >= 100 else f"{number:#.3g}"

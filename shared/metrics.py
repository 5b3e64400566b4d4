"""metrics.json: measured figures of a model, and how it was trained. It is written by scripts, except `provenance`."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import ValidationError

from .config import METRICS, StrictModel
from .errors import CheckpointError

Interval = tuple[float, float]  # of 95 % confidence: lower and upper bound


class Figure(StrictModel):
    """A measured figure.

    It was measured on `count` inputs of the `split` of the data set `data`; `label` is its name on the card.
    `interval_over_users` is a bootstrap interval that resamples whole users; `root` is the square root of the value.
    `measured` is the date (ISO 8601) if it differs from that of the other figures.
    """

    name: str
    value: float
    interval: Interval | None
    data: str
    split: str
    count: int
    label: str | None = None
    measured: str | None = None
    interval_over_users: Interval | None = None
    root: float | None = None


class Peer(StrictModel):
    """The result of another model on the same rows; `difference` is ours minus the peer's, paired.

    `name` is the name of the corresponding figure.
    """

    peer: str
    name: str
    value: float
    label: str | None = None
    difference: float | None = None
    difference_interval: Interval | None = None
    difference_interval_over_users: Interval | None = None
    accuracy_per_seed: tuple[float, ...] = ()
    one_network_minus_peer_per_seed: tuple[float, ...] = ()  # not written any more, but older folders have it


class Rate(StrictModel):
    """A rate with its interval; None if there are no people to count."""

    value: float | None
    interval: Interval | None


class Group(StrictModel):
    """Rates of a binary classifier for a group of people; `base_rate` is the share with the second label."""

    group: str
    count: int
    selection_rate: Rate
    true_positive_rate: Rate
    false_positive_rate: Rate
    mean_probability: Rate
    base_rate: Rate


class HardCase(StrictModel):
    """A test text written for this project, its label, and the model's probability for that label."""

    kind: str
    text: str
    expected: str
    probability: float
    right: bool
    clear: bool


class CalibrationBin(StrictModel):
    """Answers of similar confidence: the mean `confidence`, the share that is right, and its interval."""

    confidence: float
    accuracy: float
    interval: Interval
    count: int


class Calibration(StrictModel):
    """How often answers are right, by the probability that the model gives them.

    They are answers for the `split` of the data set `data`; `unit` is what is counted, such as pixels.
    """

    data: str
    split: str
    unit: str
    bins: tuple[CalibrationBin, ...]


class Point(StrictModel):
    """Mean squared errors (stars²) for new users with `given` ratings; every user has the same weight."""

    given: int
    served_by: str
    value: float
    interval: Interval
    root: float
    taste_value: float
    taste_interval: Interval
    popularity_value: float
    popularity_interval: Interval
    difference_value: float
    difference_interval: Interval


class NewcomerGroup(StrictModel):
    """Users with more than `most` ratings, and their errors by the number of ratings given to the model."""

    users: int
    ratings: int
    most: int
    curve: tuple[Point, ...]


class Parity(StrictModel):
    """The difference between the stored model and the torch model on real inputs.

    `largest_difference` is the maximum over all numbers of `output` and may not exceed `tolerance`. The other fields
    are about visible results: 99.9 % of the `compared` rows (`of` says what a row is) differ by at most
    `typical_difference`, and the fraction `relabelled` gets a different label.
    """

    rows: int
    output: str
    largest_difference: float
    tolerance: float | tuple[float, ...]
    by_output: Mapping[str, float] | None = None
    weights: str | None = None
    measured: str | None = None
    inputs: str | None = None
    of: str | None = None
    compared: int | None = None
    typical_difference: float | None = None
    typical_allowed: float | None = None
    relabelled: float | None = None
    relabelled_allowed: float | None = None


class Input(StrictModel):
    """A file or folder given by an option of the command; see training.record.hash_input for its hashes."""

    option: str
    name: str
    files: int
    sha256: str
    source: str | None
    data_sha256: str | None = None


class Measured(StrictModel):
    """When and where the figures were measured; `command` is set only if it differs from the training command."""

    date: str
    device: str | None = None
    versions: Mapping[str, str] = {}
    command: str | None = None
    commit: str | None = None
    inputs: tuple[Input, ...] = ()


class Trained(StrictModel):
    """How the model was trained, or how it was converted if it was trained elsewhere (`is_converted`).

    `device` is None in records from before devices were recorded.
    """

    command: str | None
    seed: int
    seconds: float
    commit: str | None = None
    device: str | None = None
    versions: Mapping[str, str] = {}
    inputs: tuple[Input, ...] = ()
    notes: tuple[str, ...] = ()
    is_converted: bool = False


class Newcomers(StrictModel):
    """The errors of a recommender for users held out of training who give a few ratings.

    Users with fewer than `popularity_below` ratings get predictions from popularity, the others from their taste.
    """

    data: str
    protocol: str
    popularity_below: int
    groups: tuple[NewcomerGroup, ...]
    measured: Measured | None = None


class Metrics(StrictModel):
    """The content of metrics.json.

    `headline` is the line on the gallery's card. `provenance` describes how the model was made if no script recorded
    it (then `trained` is None or incomplete).
    """

    headline: str
    figures: tuple[Figure, ...]
    measured: Measured
    trained: Trained | None = None
    provenance: str | None = None
    peers: tuple[Peer, ...] = ()
    groups: tuple[Group, ...] = ()
    cases: tuple[HardCase, ...] = ()
    newcomers: Newcomers | None = None
    calibration: Calibration | None = None
    notes: tuple[str, ...] = ()
    parity: Parity | None = None
    parity_float: Parity | None = None
    parity_of_all_outputs: Parity | None = None  # not written any more, but older folders have it

    @property
    def summary(self) -> str:
        """The headline in words that need no textbook."""
        for figure in self.figures:
            if figure.name == "pixel_accuracy":
                return f"names {figure.value:.0%} of the pixels right"
            if figure.name == "mse" and figure.root:  # of stars; ratings in another unit have no such figure
                return f"typically off by {figure.root:.1f} stars"
        return self.headline

    @classmethod
    def read(cls, folder: str | Path) -> Self:
        """Read the metrics.json of a checkpoint folder.

        Raises:
            CheckpointError: the file is missing, or a field is invalid; the message names it.
        """
        path = Path(folder) / METRICS
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if isinstance(content, dict) and "model" in content:
                content = upgrade(content, Path(folder))
            return cls.model_validate_json(json.dumps(content))
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            field = ".".join(str(part) for part in first["loc"]) or "the whole file"
            raise CheckpointError(f"{path}: field {field!r}: {first['msg']}; export the model again.") from error
        except (OSError, ValueError, RecursionError) as error:
            raise CheckpointError(f"{path} cannot be read ({error}); export the model again.") from error

    def as_json(self) -> dict[str, Any]:
        """Return the content of metrics.json, without the fields that are not set."""
        return self.model_dump(mode="json", exclude_unset=True)


def upgrade(content: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Convert the content of a metrics.json of the first edition.

    There `model` named the script. In the oldest files, one date, one device and one list of versions described both
    training and measuring; they are read as those of the measuring. Sections in an even older form are left out.
    """
    dropped = ("model", "seed", "seconds", "options", "device", "versions")
    result = {name: value for name, value in content.items() if name not in dropped}
    if isinstance(content.get("measured"), str):
        result["measured"] = {
            "date": content["measured"], "device": content.get("device"), "versions": content.get("versions", {}),
        }  # fmt: skip
        command = " ".join([f"python -m training.{content['model']}", *filter(None, [content.get("options")])])
        result["trained"] = {"command": command, "seed": content.get("seed"), "seconds": content.get("seconds")}
    elif isinstance(content.get("trained"), dict):
        result["trained"] = {name: value for name, value in content["trained"].items() if name != "is_partial"}
    provenance = folder / "PROVENANCE.md"  # written by hand, where no script recorded it
    if provenance.is_file():
        result["provenance"] = provenance.read_text(encoding="utf-8").strip()
    try:
        Metrics.model_validate_json(json.dumps(result))
    except ValidationError as error:
        wrong = {item["loc"][0] for item in error.errors()} - {"headline", "figures", "measured"}
        result = {name: value for name, value in result.items() if name not in wrong}
    return result

"""metrics.json: what was measured of a model, and how it was trained. Scripts alone write it."""

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

    `count` inputs of the part `split` of the data set `data` were answered; `label` names the figure on the card.
    `interval_over_users` draws whole users, whose ratings are alike, and `root` is the value's square root.
    `measured` is the date (ISO 8601) where that was earlier than the rest.
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
    """What another model reached on the same rows; `difference` is ours minus it, paired.

    `name` is that of the figure it is compared with.
    """

    peer: str
    name: str
    value: float
    label: str | None = None
    difference: float | None = None
    difference_interval: Interval | None = None
    difference_interval_over_users: Interval | None = None
    accuracy_per_seed: tuple[float, ...] = ()
    one_network_minus_peer_per_seed: tuple[float, ...] = ()


class Rate(StrictModel):
    """A share with its interval; None where there is nobody."""

    value: float | None
    interval: Interval | None


class Group(StrictModel):
    """How a binary classifier treats a group of people; `base_rate` is the share with the second label."""

    group: str
    count: int
    selection_rate: Rate
    true_positive_rate: Rate
    false_positive_rate: Rate
    mean_probability: Rate
    base_rate: Rate


class HardCase(StrictModel):
    """A text written for this project, its label, and the probability that the model gives to that label."""

    kind: str
    text: str
    expected: str
    probability: float
    right: bool
    clear: bool


class Point(StrictModel):
    """Mean squared errors (stars²) for newcomers who have given `given` ratings; every user counts the same."""

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
    """Users with more than `most` ratings, and their errors by how many of these were given."""

    users: int
    ratings: int
    most: int
    curve: tuple[Point, ...]


class Parity(StrictModel):
    """How far the stored model is from torch on real inputs.

    `largest_difference` is that of any one number of `output`, and may not exceed `tolerance`. The rest is about what
    people see: 99.9 % of the `compared` rows (`of` says what a row is) differ by at most `typical_difference`, and the
    share `relabelled` gets another label.
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
    """A file or folder that an option of the command named; see training.learner.content for its hash."""

    option: str
    name: str
    files: int
    sha256: str
    source: str | None


class Measured(StrictModel):
    """When and where the figures were measured; the command only where it was not the training's."""

    date: str
    device: str | None = None
    versions: Mapping[str, str] = {}
    command: str | None = None
    commit: str | None = None
    inputs: tuple[Input, ...] = ()


class Trained(StrictModel):
    """How the model was trained; `device` is None where the record is from before devices were recorded."""

    command: str | None
    seed: int
    seconds: float
    commit: str | None = None
    device: str | None = None
    versions: Mapping[str, str] = {}
    inputs: tuple[Input, ...] = ()
    notes: tuple[str, ...] = ()


class Newcomers(StrictModel):
    """How far off a recommender is for users who are kept out of training and give a few ratings.

    Those with fewer than `popularity_below` ratings are served by popularity, the others by taste.
    """

    data: str
    protocol: str
    popularity_below: int
    groups: tuple[NewcomerGroup, ...]
    measured: Measured | None = None


class Metrics(StrictModel):
    """The content of metrics.json.

    `headline` is the gallery's one line about the model. `provenance` says how the model was made where no script
    recorded it (`trained` is then None or says less).
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
    notes: tuple[str, ...] = ()
    parity: Parity | None = None
    parity_float: Parity | None = None
    parity_of_all_outputs: Parity | None = None

    @classmethod
    def read(cls, folder: str | Path) -> Self:
        """Read the metrics.json of a checkpoint folder.

        Raises:
            CheckpointError: it is missing, or a field is wrong; the text names the field.
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
    """Return the content of a metrics.json of the first edition as it is now.

    Then `model` named the script, and in the oldest files one time, one device and one list of versions stood for
    training and measuring; they are those of the measuring. Sections that are not as they were later are left out.
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
    provenance = folder / "PROVENANCE.md"  # where people wrote what no script had recorded
    if provenance.is_file():
        result["provenance"] = provenance.read_text(encoding="utf-8").strip()
    try:
        Metrics.model_validate_json(json.dumps(result))
    except ValidationError as error:
        wrong = {item["loc"][0] for item in error.errors()} - {"headline", "figures", "measured"}
        result = {name: value for name, value in result.items() if name not in wrong}
    return result

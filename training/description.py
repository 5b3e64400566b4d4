"""The description of a model: read from the file in a demo's Space, or written for a user's own data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from shared.config import About
from shared.errors import quote
from shared.text import raise_first
from training.card import AUTHOR
from training.data import DataError
from training.sentences import list_names, suggest

TERMS_OF_DATA = "the terms of its training data"
UNDER_TERMS = "under the terms of that data."
LABELS_SHOWN = 6  # in a summary
NAMES = ("columns", "label_names", "value_names")  # what they name, and a text for each
SPACES = Path(__file__).resolve().parent.parent / "spaces"


@dataclass(frozen=True)
class Description:
    """Title, limits and the like (`about`), the text of LICENSE.md (`notice`), and notes for the card.

    `is_own` marks the description of a user's own data, which they may have edited in gallery.json; `data` is the name
    of that data, and `labels` are its labels, if known. `columns` describes the columns of a table, `label_names` and
    `value_names` have the names of labels and of a table's values on a page, and `examples` are texts to try.
    """

    about: About
    notice: str
    notes: tuple[str, ...] = ()
    is_own: bool = False
    data: str = ""
    labels: tuple[str, ...] = ()
    columns: Mapping[str, str] = field(default_factory=dict)
    label_names: Mapping[str, str] = field(default_factory=dict)
    value_names: Mapping[str, str] = field(default_factory=dict)
    examples: tuple[str, ...] = ()

    def reword(self, words: Mapping[str, Any]) -> "Description":
        """Return the description with other words: any fields of about.yaml.

        Raises:
            DataError: a field is invalid, or `label_names` has a label that the data does not have.
        """
        if not words:
            return self
        unknown = [name for name in words.get("label_names", ()) if self.labels and name not in self.labels]
        if unknown:
            raise DataError(
                f"The field label_names has {quote(unknown[0])}, which is not a label of the data."
                f"{suggest(unknown[0], self.labels, 'label')} The labels are {list_names(self.labels)}."
            )
        about = {**self.about.model_dump(mode="json"), **{n: v for n, v in words.items() if n in About.model_fields}}
        others: dict[str, Any] = {name: words[name] for name in NAMES if name in words}
        others |= {name: tuple(words[name]) for name in ("examples", "notes") if name in words}
        try:
            reworded = replace(self, about=About.model_validate(about), **others)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            name = ".".join(str(part) for part in first["loc"])
            raise DataError(f"The field {name} of the model's description is invalid: {first['msg']}.") from error
        notice = str(words.get("notice") or self.notice)
        if "notice" not in words and "licence" in words:
            notice = notice.replace(UNDER_TERMS, f"under this licence: {reworded.about.licence_name}.", 1)
        return replace(reworded, notice=notice)


def read_description(space: str, used: Sequence[str] = ()) -> Description:
    """Read spaces/<space>/about.yaml: the fields of About, `notice`, `notes`, and `measured_on`.

    Args:
        space: the folder's name.
        used: keys of `measured_on`, which has a data set and notes for each option that names more data to measure on.
    """
    content = yaml.safe_load((SPACES / space / "about.yaml").read_text(encoding="utf-8"))
    notice, notes, more = content.pop("notice"), content.pop("notes", []), content.pop("measured_on", {})
    shown = {name: content.pop(name, {}) for name in NAMES}
    examples = tuple(content.pop("examples", ()))
    content["datasets"] += [more[name]["dataset"] for name in used]
    notes += [note for name in used for note in more[name].get("notes", ())]
    return Description(About.model_validate(content), notice, tuple(notes), examples=examples, **shown)


def describe(
    name: str,
    summary: str,
    limits: Sequence[str],
    base_model: str | None = None,
    notice: str = "",
    labels: Sequence[str] = (),
) -> Description:
    """Describe a model of a user's own data, under the terms of that data.

    Args:
        name: the file or folder with the data; it becomes the title.
        summary: one sentence on what the model answers.
        limits: sentences.
        base_model: the Hub name of the pretrained network.
        notice: a sentence on the terms of that network.
        labels: the labels of the data, if `label_names` may name them.
    """
    about = About(
        title=make_title(name),
        summary=summary,
        intended_use=AUTHOR,
        limits=tuple(limits),
        licence="other",
        licence_name=TERMS_OF_DATA,
        datasets=(),
        base_model=base_model,
    )
    text = f"# Notice\n\nThis model was trained on its author's data, and is {UNDER_TERMS}\n{notice}"
    return Description(about, f"{text.rstrip()}\n", is_own=True, data=name, labels=tuple(labels))


def ask_label(labels: Sequence[str], subject: str = "it") -> str:
    """Return a question for the label of something; it names the labels if they are few."""
    if len(labels) > LABELS_SHOWN:
        return f"which of {len(labels):,} labels is {subject}?"
    return f"is {subject} {', '.join(labels[:-1])} or {labels[-1]}?"


def make_title(name: str) -> str:
    """Return the title of a model whose data has this name."""
    return raise_first(name.replace("_", " ").replace("-", " "))

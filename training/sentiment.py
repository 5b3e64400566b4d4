"""Train a sentiment model of film reviews on IMDB: the text model of the book.

    python -m training.sentiment --smoke                            seconds, on generated reviews
    python -m training.sentiment --teachers --masked-epochs 12      downloads IMDB; meant for a GPU
    python -m training.sentiment --quick                            for a CPU: shorter texts, one epoch
    python -m training.sentiment --recipe book                      the book's own cell, beside the book's figure

--data names a folder with train.csv and test.csv (or .csv.xz, with columns text and label), or with train and test in
IMDB's layout; unsup.csv, or a folder unsup, may add texts without labels. Texts of your own:
python -m training.recipes.text_classification --data FILE.csv
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from fastai.callback.core import Callback
from fastai.learner import Learner

from shared.metrics import Figure, HardCase
from training import book, command, evaluate
from training.data import find_data
from training.description import ask_label, describe, read_description
from training.learner import retry_with_smaller_batches
from training.out_of_distribution import measure_group
from training.own_data.tables import name_data
from training.recipe import Answered, Splits, answer
from training.recipes.text_classification import (
    LIMITS,
    TERMS,
    TextClassification,
)
from training.texts.hard_cases import NOT_PROSE, REVIEWS
from training.texts.reading import VALID_SHARE, Texts, divide, read_folder, read_unlabelled
from training.texts.settings import HUB_INIT, TextClassificationSettings

BOOK_ACCURACY = 0.9314  # AWD-LSTM, 1 + 4 epochs
IMDB_SIZE = 25_000  # reviews in its test set


@dataclass(frozen=True)
class SentimentSettings(TextClassificationSettings):
    """Add epochs and batch size of the book's cell; the book says to halve the batch if memory runs out."""

    book_epochs: int = 4
    book_batch: int = 64

    @classmethod
    def smoke(cls) -> "SentimentSettings":
        """Return settings for a training run of seconds."""
        given = vars(TextClassificationSettings.smoke())
        return cls(**given | {"book_epochs": 1, "book_batch": 64})


class Sentiment(TextClassification):
    """The text classification recipe on IMDB."""

    module = "training.sentiment"
    settings = SentimentSettings

    def load(self, data: str | None, settings: SentimentSettings) -> Splits[Texts]:
        """Read IMDB, or other texts in its layout or in a table."""
        path = find_data(None, "IMDB", "") if data is None else Path(data)
        if not path.is_dir():
            return self.load_own(str(path), settings)
        splits = read_imdb(path, settings)
        is_imdb = splits.labels == ("neg", "pos") and len(splits.tests[0]) == IMDB_SIZE
        if not is_imdb:
            return splits
        tests = (replace(splits.tests[0], data="IMDB"),)
        check = splits.check and replace(splits.check, data="IMDB")
        return replace(splits, tests=tests, check=check, description=read_description("sentiment"))

    def measure(self, found: Answered[Texts, SentimentSettings]) -> dict[str, Any]:
        """Add hard cases, and texts that are not English prose, to the figures on IMDB."""
        measured = super().measure(found)
        if found.splits.description.is_own:
            return measured
        measured["cases"] = cases = answer_hard_cases(found.model)
        for kind in REVIEWS:
            right = np.array([case.right for case in cases if case.kind == kind])
            name = f"accuracy_{kind.replace(' ', '_')}"
            measured["figures"].append(
                evaluate.measure_share(name, right, "hard cases", kind, label=f"accuracy: {kind}")
            )
        for group, others in NOT_PROSE.items():
            measured["figures"] += measure_not_prose(found, group, others)
        return measured

    def run_book(self, data: str | None, settings: SentimentSettings) -> Learner:
        """Run the book's cell, with the test as its validation set."""
        splits = self.load(data, settings)
        table = make_book_table(splits)

        def train(batch: int, callbacks: list[Callback], _is_again: bool) -> Learner:
            return book.train_sentiment(book.load_sentiment(table, batch), settings.book_epochs, callbacks)

        learn = retry_with_smaller_batches(train, settings.book_batch)
        what = f"accuracy on the {splits.tests[0].split}, without the copies and HTML that the book's texts have"
        evaluate.print_book(what, learn, BOOK_ACCURACY)
        return learn


def make_book_table(splits: Splits[Texts]) -> pd.DataFrame:
    """Return a table for the book's cell: text, label and is_valid, which is true for the test."""
    test, parts = splits.tests[0], [(splits.train, False), (splits.valid, False)]
    parts.append((Texts(list(test.inputs), test.targets), True))
    labels = np.array(splits.labels)
    return pd.concat(
        pd.DataFrame({"text": part.texts, "label": labels[part.y], "is_valid": is_valid}) for part, is_valid in parts
    )


def answer_hard_cases(model: Any) -> list[HardCase]:
    """Return the stored model's answer to each hard case."""
    cases = [(kind, text, label) for kind, reviews in REVIEWS.items() for text, label in reviews]
    answers = model.predict_batch([text for _, text, _ in cases])
    return [
        HardCase(
            kind=kind, text=text, expected=label, probability=round(given.probabilities[label], 4),
            right=given.label == label, clear=given.is_clear,
        )
        for (kind, text, label), given in zip(cases, answers, strict=True)
    ]  # fmt: skip


def read_imdb(folder: Path, settings: SentimentSettings) -> Splits[Texts]:
    """Read train, test and unsup of a folder; a random part of train is for validation."""
    train, test, labels = read_folder(folder)
    train, valid = divide(train, VALID_SHARE, settings.seed)
    unlabelled = read_unlabelled(folder, {*train.texts, *valid.texts, *test.texts})
    name = name_data(folder)
    description = describe(name, f"A text: {ask_label(labels)}", LIMITS, HUB_INIT, TERMS)
    tests, check = (test.as_test(name, "official test"),), valid.as_test(name, "validation")
    return Splits(replace(train, unlabelled=tuple(unlabelled)), valid, tests, description, labels, check)


def measure_not_prose(found: Answered[Texts, SentimentSettings], group: str, texts: Sequence[str]) -> list[Figure]:
    """Return the AUROC between reviews and texts that are not English prose, and the share of those rejected."""
    return measure_group(found.answers[0], list(answer(found.model, texts)), group)


main = partial(command.run, Sentiment())

if __name__ == "__main__":
    raise SystemExit(command.main(Sentiment()))

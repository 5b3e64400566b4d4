"""Read texts and their labels from files, split them, and crop them."""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from shared.errors import BadInput
from shared.limits import LIMITS
from shared.tables.encoding import find_encoding, open_text
from shared.tokens import clean_text
from training.data import DataError, TestSet, read_table

VALID_SHARE, TEST_SHARE = 0.08, 0.2
MIN_SAMPLES = 20  # texts per label
CROP_SENTENCES, CROP_WORDS = 3, 4
SENTENCE_END = r"""(?:(?<=[.!?])|(?<=[.!?]["')]))(?<!\bMr\.)(?<!\bDr\.)(?<!\bMrs\.)"""
SENTENCE_BREAK = re.compile(SENTENCE_END + r"[^\S\n]+(?=\S)|\s*\n\s*")


@dataclass(frozen=True)
class Texts:
    """Cleaned texts, the indices of their labels, (texts,), and more texts without labels."""

    texts: list[str]
    y: NDArray[np.int64]
    unlabelled: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, rows: Sequence[int] | NDArray[np.intp]) -> "Texts":
        """Return the texts with these indices."""
        return Texts([self.texts[row] for row in rows], self.y[rows])

    def as_test(self, data: str, split: str) -> TestSet:
        """Return the texts as a test set."""
        return TestSet(data, split, self.texts, self.y)


def read_folder(folder: Path) -> tuple[Texts, Texts, tuple[str, ...]]:
    """Read train and test of a folder; return them, without training copies of test texts, and the labels.

    Raises:
        DataError: a part is missing or cannot be read, or the test has a label that the training texts do not have.
    """
    parts = [read_part(folder, part) for part in ("train", "test")]
    labels = tuple(sorted(set(parts[0]["label"])))
    if not set(parts[1]["label"]) <= set(labels):
        raise DataError(f"{folder}: the test has labels that the training texts do not have.")
    train, test = (index_labels(part, labels) for part in parts)
    return drop_copies(train, test.texts), test, labels


def read_part(folder: Path, part: str) -> pd.DataFrame:
    """Read one part of a folder: a CSV, or a subfolder of text files for each label.

    Raises:
        DataError: the folder has neither, or a file cannot be read as text.
    """
    for path in (folder / f"{part}.csv", folder / f"{part}.csv.xz"):
        if path.is_file():
            return read_texts(path)
    files = [path for path in sorted((folder / part).glob("*/*.txt")) if path.parent.name != "unsup"]
    if not files:
        raise DataError(
            f"There is neither {part}.csv nor {part}/*/*.txt in {folder}; --data must name a folder with one."
        )
    return pd.DataFrame({"text": read_files(files), "label": [path.parent.name for path in files]})


def read_unlabelled(folder: Path, others: Collection[str]) -> list[str]:
    """Read a folder's texts without labels, in either layout; drop those in `others`.

    Raises:
        DataError: a file cannot be read as text.
    """
    for path in (folder / "unsup.csv", folder / "unsup.csv.xz"):
        if path.is_file():
            texts = read_table(path, ["text"], dtype=str, keep_default_na=False)["text"].tolist()
            break
    else:
        texts = read_files(sorted(folder.glob("**/unsup/*.txt")))
    return drop_copies(index_labels(pd.DataFrame({"text": texts, "label": ""}), [""]), others).texts


def read_files(paths: Sequence[Path]) -> list[str]:
    """Return the texts in files.

    Raises:
        DataError: one cannot be read as text.
    """
    texts = []
    for path in paths:
        try:
            texts.append(read_text(path))
        except BadInput as error:
            raise DataError(f"{path}: {error}") from error
    return texts


def read_text(path: Path) -> str:
    """Return the text in a file of any encoding that the pages accept, up to one character more than they accept.

    Raises:
        BadInput: it cannot be read as text.
    """
    with open_text(path, find_encoding(path), newline=None) as file:
        return file.read(LIMITS.text_characters + 1)


def read_texts(path: Path) -> pd.DataFrame:
    """Read a CSV with the columns text and label, both as strings.

    Raises:
        DataError: it cannot be read, lacks a column, or has a row without a label.
    """
    table = read_table(path, ["text", "label"], dtype=str, keep_default_na=False)
    if (table["label"] == "").any():
        raise DataError(f"{path}, row {int((table['label'] == '').idxmax()) + 2}, has no label.")
    return table


def index_labels(table: pd.DataFrame, labels: Sequence[str]) -> Texts:
    """Return a table's cleaned texts and the indices of their labels; drop empty texts."""
    codes = {label: index for index, label in enumerate(labels)}
    texts, y = [], []
    for text, label in zip(table["text"], table["label"].astype(str), strict=True):
        try:
            texts.append(clean_text(text))
        except BadInput:
            continue
        y.append(codes[label])
    return Texts(texts, np.array(y, np.int64))


def drop_copies(texts: Texts, others: Collection[str]) -> Texts:
    """Drop all but the first of equal texts, and texts in `others`."""
    seen, rows = set(others), []
    for row, text in enumerate(texts.texts):
        if text not in seen:
            rows.append(row)
            seen.add(text)
    return texts.take(rows)


def split_sentences(text: str) -> list[tuple[int, int]]:
    """Return the start and end of each sentence: it ends with ., ! or ?, or at the end of a line."""
    starts, ends = [0], []
    for found in SENTENCE_BREAK.finditer(text):
        ends.append(found.start())
        starts.append(found.end())
    spans = zip(starts, [*ends, len(text)], strict=True)
    return [(start, end) for start, end in spans if start < end]


def draw_crops(texts: Sequence[str], seed: int) -> tuple[list[str], NDArray[np.int64]]:
    """Return a crop of each longer text, one to CROP_SENTENCES sentences in a row, and the index of its text.

    There is none of a text of one sentence, nor one of the whole text, nor of less than CROP_WORDS words.
    """
    rng, crops, rows = np.random.default_rng(seed), [], []
    for row, text in enumerate(texts):
        spans = split_sentences(text)
        if len(spans) < 2:
            continue
        count = min(int(rng.integers(1, CROP_SENTENCES + 1)), len(spans) - 1)
        first = int(rng.integers(len(spans) - count + 1))
        crop = text[spans[first][0] : spans[first + count - 1][1]]
        if len(crop.split()) >= CROP_WORDS:
            crops.append(crop)
            rows.append(row)
    return crops, np.array(rows, np.int64)


def divide(texts: Texts, share: float, seed: int) -> tuple[Texts, Texts]:
    """Split at random; the second part has this share."""
    order = np.random.default_rng(seed).permutation(len(texts))
    cut = max(1, round(share * len(texts)))
    return texts.take(order[cut:]), texts.take(order[:cut])

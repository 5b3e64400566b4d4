"""Baselines for tables: other models on the same test rows, each trained with several seeds."""

from collections.abc import Sequence
from contextlib import redirect_stdout
from io import StringIO
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from training import book
from training.data import TestSet
from training.learner import set_seed
from training.tables.rows import Rows, is_number

MAX_CATEGORIES = 255  # of a column that HistGradientBoosting reads as categories
EARLY = 10_000  # rows; with more, HistGradientBoosting holds some out, to stop early
Hits = NDArray[np.bool_]  # where a model is right: (seeds, test rows), or (test rows,)


def predict_with_boosted_trees(train: Rows, test: TestSet, seeds: int) -> NDArray[Any]:
    """Train HistGradientBoosting on all columns with scikit-learn's defaults.

    It takes at most MAX_CATEGORIES categories: of columns with more, it reads their alphabetical positions as numbers.
    Up to EARLY rows, it does not stop early, and so does not depend on the seed.

    Returns:
        The predicted indices of labels, or numbers, (seeds, test rows).
    """
    columns = train.table.columns[[not is_number(train.table[name]) for name in train.table]]
    kinds = {name: pd.CategoricalDtype(sorted(set(train.table[name]))) for name in columns}
    many = [name for name in columns if len(kinds[name].categories) > MAX_CATEGORIES]

    def encode(table: pd.DataFrame) -> pd.DataFrame:
        table = table.astype(kinds)
        return table.assign(**{name: table[name].cat.codes.astype(np.float64) for name in many})

    rows, inputs = encode(pd.DataFrame(test.inputs)), encode(train.table)
    kind = HistGradientBoostingClassifier if train.y.dtype.kind == "i" else HistGradientBoostingRegressor
    predicted = []
    for seed in range(seeds if len(train) > EARLY else 1):
        trees = kind(categorical_features="from_dtype", random_state=seed)
        predicted.append(trees.fit(inputs, train.y).predict(rows))
    return np.stack(predicted)


def score_book_cell(
    people: pd.DataFrame, test: TestSet, columns: Sequence[str], seeds: Sequence[int], epochs: int
) -> Hits:
    """Train the book's cell on some columns, without one person in a hundred; return where it is right.

    Args:
        people: the training people, with the column "salary".
        test: the test set.
        columns: columns that the cell reads.
        seeds: one for each training run.
        epochs: epochs of each training run; the book's are 3.
    """
    numbers = [name for name in columns if is_number(people[name])]
    categories = [name for name in columns if name not in numbers]
    # fastai rejects missing values in a column that had none in training.
    medians = {name: people[name].median() for name in numbers if not people[name].isna().any()}
    rows = pd.DataFrame(test.inputs).fillna(medians)
    hits = []
    for seed in seeds:
        set_seed(seed)
        with redirect_stdout(StringIO()):
            learn = book.train_salary(book.load_salary(people, categories, numbers, valid_pct=0.01, seed=seed), epochs)
            probabilities, _ = learn.get_preds(dl=learn.dls.test_dl(rows))
        hits.append(probabilities.argmax(dim=1).numpy() == test.targets)
    return np.stack(hits)


def name_peer(peer: str, seeds: int) -> str:
    """Return the name of a peer that was trained with a number of seeds."""
    return f"{peer}, {'one seed' if seeds == 1 else f'mean of {seeds} seeds'}"

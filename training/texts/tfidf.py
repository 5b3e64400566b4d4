"""TF-IDF with logistic regression: a peer of the text network, and one of its teachers."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline

from shared.metrics import Peer
from training import evaluate
from training.recipe import Splits
from training.texts.reading import Texts


def fit_tfidf(texts: Sequence[str], y: NDArray[np.int64]) -> Pipeline | None:
    """Fit logistic regression on TF-IDF of words and pairs of words.

    Return None if no word occurs twice, as in languages without spaces.
    """
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True)
    try:
        return make_pipeline(vectorizer, LogisticRegression(C=10, max_iter=1000)).fit(texts, y)
    except ValueError:
        return None


def predict_with_tfidf(splits: Splits[Texts], parts: Sequence[Sequence[str]]) -> list[list[NDArray[np.float64]]]:
    """Return the log probabilities for each part, (texts, labels), in a list of one; empty if TF-IDF cannot be fitted.

    It is fitted on the training texts.
    """
    fitted = fit_tfidf(splits.train.texts, splits.train.y)
    if fitted is None or len(fitted.classes_) < len(splits.labels):
        return []
    return [[fitted.predict_log_proba(part) for part in parts]]


def compare_with_tfidf(splits: Splits[Texts], right: NDArray[np.bool_]) -> list[Peer]:
    """Compare with TF-IDF and logistic regression; `right` is where our model is right, (texts,)."""
    train, test = splits.train, splits.tests[0]
    fitted = fit_tfidf([*train.texts, *splits.valid.texts], np.concatenate([train.y, splits.valid.y]))
    if fitted is None:
        return []
    theirs = fitted.predict(test.inputs) == test.targets
    return [evaluate.compare_with_peer("TF-IDF of words and pairs of words, logistic regression", theirs, right)]

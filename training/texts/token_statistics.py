"""Token statistics of the training texts, on which the in-distribution score is based."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import nnls
from tokenizers import Tokenizer

REJECTED_SHARE = 0.005  # share of passages of the training texts below the bound
PASSAGES = (1, 2, 3, 4, 6, 8, 12, 16, 32, 64, 128, 256)  # lengths in tokens
MIN_PASSAGES = 20
DRAWN = 2000  # passages of each length, at least


def compute_token_frequencies(
    tokenizer: Tokenizer, ids: Sequence[NDArray[np.int64]]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the log frequency of each token, smoothed by 0.5, and if it has letters and so counts: (tokens,)."""
    size = tokenizer.get_vocab_size()
    counts = np.bincount(np.concatenate(ids), minlength=size) + 0.5
    names = [tokenizer.id_to_token(index) or "" for index in range(size)]
    unknown = tokenizer.token_to_id("[UNK]")
    counts[unknown] = 0.5  # a rare character in the training texts, but elsewhere perhaps every word
    counted = [
        index == unknown or (name[:1] != "[" and any(map(str.isalpha, name))) for index, name in enumerate(names)
    ]
    return torch.tensor(np.log(counts / counts.sum()), dtype=torch.float32), torch.tensor(counted)


def fit_score_range(
    log_frequency: torch.Tensor, counted: torch.Tensor, ids: Sequence[NDArray[np.int64]], seed: int
) -> tuple[float, tuple[float, float]]:
    """Return the mean in-distribution score of the texts, and the spread (a, b).

    All but REJECTED_SHARE of their passages of n tokens, and of the whole texts, have a score of at least
    mean - sqrt(a + b / n). These scores are by frequencies in the other texts, so that the bound also holds for new
    texts, some of whose words a small data set does not have.
    """
    rng = np.random.default_rng(seed)
    flat, lengths = np.concatenate(ids), np.array([len(row) - 2 for row in ids])
    is_counted = counted.numpy()[flat]
    mean = float((log_frequency.double().numpy()[flat] * is_counted).sum() / is_counted.sum())
    worths = np.r_[0, np.cumsum(compute_held_out(log_frequency, flat, lengths + 2) * is_counted)]
    counts = np.r_[0, np.cumsum(is_counted)]
    firsts = np.cumsum(lengths + 2) - lengths - 1

    def score(starts: NDArray[np.int64], sizes: NDArray[np.int64] | int) -> NDArray[np.float64]:
        found = counts[starts + sizes] - counts[starts]
        scores = (worths[starts + sizes] - worths[starts]) / np.maximum(found, 1)
        return np.where(found > 0, scores, mean)

    sizes, depths = [], []
    for size in PASSAGES:
        long = np.flatnonzero(lengths >= size)
        if len(long) < MIN_PASSAGES:
            continue
        long = np.tile(long, -(-DRAWN // len(long)))
        scores = score(firsts[long] + rng.integers(lengths[long] - size + 1), size)
        sizes.append(size)
        depths.append(max(mean - np.quantile(scores, REJECTED_SHARE, method="lower"), 1e-3))
    if not sizes:  # too few texts to fit: every text counts as in distribution
        return mean, ((mean - float(log_frequency.min())) ** 2, 0.0)
    squares = np.square(depths)
    a, b = nnls(np.stack([1 / squares, 1 / squares / sizes], 1), np.ones(len(sizes)))[0]
    wider = max(1.0, float(np.max(squares / (a + b / np.array(sizes)))))  # the bound holds for each size
    below = np.maximum(mean - score(firsts, lengths), 0) ** 2 / (a + b / np.maximum(lengths, 1))
    wider = max(wider, float(np.quantile(below, 1 - REJECTED_SHARE, method="higher")))  # and for whole texts
    return mean, (float(a * wider), float(b * wider))


def compute_held_out(
    log_frequency: torch.Tensor, flat: NDArray[np.int64], lengths: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the log frequency of each token of the joined texts in all texts but its own.

    Args:
        log_frequency: that in all texts, smoothed by 0.5, (tokens,).
        flat: token indices of the joined texts.
        lengths: the number of tokens of each text.
    """
    texts = np.repeat(np.arange(len(lengths)), lengths)
    _, inverse, counts = np.unique(texts * len(log_frequency) + flat, return_inverse=True, return_counts=True)
    total = len(flat) + 0.5 * len(log_frequency)
    elsewhere = np.exp(log_frequency.double().numpy()[flat]) * total - counts[inverse]
    return np.log(np.maximum(elsewhere, 0.5) / (total - lengths[texts]))

"""Token statistics of the training texts, on which the in-distribution score is based."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import nnls
from tokenizers import Tokenizer

REJECTED_SHARE = 0.005  # share of passages of the training texts below the bound
PASSAGES = (1, 2, 4, 8, 16, 32, 64, 128, 256)  # lengths in tokens
MIN_PASSAGES = 20


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

    All but REJECTED_SHARE of their passages of n tokens have a score of at least mean - sqrt(a + b / n).
    """
    rng = np.random.default_rng(seed)
    flat = np.concatenate(ids)
    is_counted = counted.numpy()[flat]
    worths = np.r_[0, np.cumsum(log_frequency.double().numpy()[flat] * is_counted)]
    counts = np.r_[0, np.cumsum(is_counted)]
    lengths = np.array([len(row) - 2 for row in ids])
    firsts = np.cumsum(lengths + 2) - lengths - 1
    mean, sizes, depths = worths[-1] / counts[-1], [], []
    for size in PASSAGES:
        long = lengths >= size
        starts = firsts[long] + rng.integers(np.maximum(lengths[long] - size, 0) + 1)
        found = counts[starts + size] - counts[starts]
        scores = (worths[starts + size] - worths[starts])[found > 0] / found[found > 0]
        if len(scores) >= MIN_PASSAGES:
            sizes.append(size)
            depths.append(max(mean - np.quantile(scores, REJECTED_SHARE), 1e-3))
    if not sizes:  # too few texts to fit: every text counts as in distribution
        return float(mean), (float(mean - log_frequency.min()) ** 2, 0.0)
    squares = np.square(depths)
    a, b = nnls(np.stack([1 / squares, 1 / squares / sizes], 1), np.ones(len(sizes)))[0]
    wider = max(1.0, float(np.max(squares / (a + b / np.array(sizes)))))  # the bound holds for each size
    return float(mean), (float(a * wider), float(b * wider))

"""Texts as token indices: a tokenizer with fewer tokens, and batches of texts of like length."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from fastai.torch_core import default_device
from numpy.typing import NDArray
from tokenizers import Tokenizer

from shared.tokens import read_tokens
from training.learner import RowLoader

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
SPECIAL = len(SPECIAL_TOKENS)  # the first indices of a pruned tokenizer are theirs
Rows = Sequence[NDArray[np.int64]]


def prune(tokenizer: Tokenizer, counts: NDArray[np.int64], most: int) -> tuple[Tokenizer, NDArray[np.int64]]:
    """Keep the special tokens, single letters and digits, and the tokens that are most frequent.

    A word that is left out is still read, as the pieces of it that are kept.

    Args:
        tokenizer: a WordPiece tokenizer.
        counts: how often each of its tokens occurs.
        most: tokens to keep.

    Returns:
        The smaller tokenizer, and for each of its tokens the index in the larger one.
    """
    described = json.loads(tokenizer.to_str())
    vocabulary = {index: token for token, index in described["model"]["vocab"].items()}
    special = [token for token in SPECIAL_TOKENS if token in vocabulary.values()]
    letters = [token for token in vocabulary.values() if len(token.removeprefix("##")) == 1 and token.isascii()]
    needed = {*special, *letters}
    frequent = [vocabulary[index] for index in np.argsort(-counts, kind="stable").tolist() if counts[index]]
    kept = [*special, *letters, *(token for token in frequent if token not in needed)][:most]
    codes = {token: index for index, token in enumerate(kept)}
    before = described["model"]["vocab"]
    described["model"]["vocab"] = codes
    for token in described["added_tokens"]:
        token["id"] = codes[token["content"]]
    processor = described["post_processor"] or {}
    for name, token in processor.get("special_tokens", {}).items():  # TemplateProcessing
        token["ids"] = [codes[name]]
    for end in ("cls", "sep"):  # BertProcessing
        if end in processor:
            processor[end] = [processor[end][0], codes[processor[end][0]]]
    described["truncation"] = described["padding"] = None
    return Tokenizer.from_str(json.dumps(described)), np.array([before[token] for token in kept])


def token_ids(tokenizer: Tokenizer, texts: Sequence[str], most: int, head: int) -> list[NDArray[np.int64]]:
    """Return token indices of some texts as the network takes them: what is read, between [CLS] and [SEP]."""
    first, last = tokenizer.token_to_id("[CLS]"), tokenizer.token_to_id("[SEP]")
    return [np.r_[first, tokens.ids, last] for tokens in read_tokens(tokenizer, texts, most - 2, head)]


class TokenLoader(RowLoader):
    """Batches of texts of like length, padded to the longest: token indices (n, length), and what belongs to each."""

    def __init__(self, ids: Rows, y: NDArray[Any], bs: int, **kwargs: Any) -> None:
        self.ids, self.lengths = ids, np.array([len(row) for row in ids])
        super().__init__(torch.from_numpy(y), bs=bs, device=default_device(), **kwargs)

    def get_idxs(self) -> list[int]:
        """Sorted by length; in training within pools of fifty batches, the batches in random order."""
        if not self.shuffle:
            return np.argsort(-self.lengths, kind="stable").tolist()
        rng = np.random.default_rng(self.rng.randrange(2**32))
        order = rng.permutation(len(self.ids))
        pools = [order[start : start + 50 * self.bs] for start in range(0, len(order), 50 * self.bs)]
        order = np.concatenate([pool[np.argsort(-self.lengths[pool], kind="stable")] for pool in pools])
        whole = len(order) // self.bs * self.bs
        batched = order[:whole].reshape(-1, self.bs)
        return [*batched[rng.permutation(len(batched))].flatten().tolist(), *order[whole:].tolist()]

    def create_batch(self, indices: list[int]) -> tuple[torch.Tensor, ...]:
        """The texts with these indices."""
        return (pad([self.ids[index] for index in indices]), *super().create_batch(indices))


def pad(rows: Sequence[NDArray[np.int64]]) -> torch.Tensor:
    """Return token indices, (n, longest), 0 behind the shorter rows."""
    result = torch.zeros(len(rows), max(len(row) for row in rows), dtype=torch.long)
    for place, row in enumerate(rows):
        result[place, : len(row)] = torch.from_numpy(row)
    return result


def batches(lengths: Sequence[int], most: int) -> Iterator[list[int]]:
    """Yield indices in batches of like length, of at most `most` tokens each when padded, or of one text."""
    batch: list[int] = []
    for index in sorted(range(len(lengths)), key=lengths.__getitem__):
        if batch and lengths[index] * (len(batch) + 1) > most:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch

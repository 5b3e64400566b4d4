"""Texts as token indices: a smaller vocabulary, and batches of texts of similar length."""

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
SPECIAL = len(SPECIAL_TOKENS)  # their number; they have the first indices of a pruned tokenizer
Rows = Sequence[NDArray[np.int64]]


def prune(tokenizer: Tokenizer, counts: NDArray[np.int64], most: int) -> tuple[Tokenizer, NDArray[np.int64]]:
    """Keep the special tokens, single letters and digits, and the most frequent tokens.

    A word that is dropped is still read, as smaller pieces.

    Args:
        tokenizer: a WordPiece tokenizer.
        counts: counts of its tokens, (tokens,).
        most: number of tokens to keep.

    Returns:
        The smaller tokenizer, and the index of each of its tokens in the larger one.
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


def encode_texts(tokenizer: Tokenizer, texts: Sequence[str], most: int, head: int) -> list[NDArray[np.int64]]:
    """Return token indices of texts for the network: the tokens that are read, between [CLS] and [SEP]."""
    first, last = tokenizer.token_to_id("[CLS]"), tokenizer.token_to_id("[SEP]")
    return [np.r_[first, tokens.ids, last] for tokens in read_tokens(tokenizer, texts, most - 2, head)]


class TokenLoader(RowLoader):
    """Batches of texts of similar length, padded to the longest: token indices (n, length), and targets."""

    def __init__(self, ids: Rows, y: NDArray[Any], bs: int, **kwargs: Any) -> None:
        self.ids, self.lengths = ids, np.array([len(row) for row in ids])
        super().__init__(torch.from_numpy(y), bs=bs, device=default_device(), **kwargs)

    def get_idxs(self) -> list[int]:
        """Return indices sorted by length; when shuffling, within pools of fifty batches, in random order."""
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
        """Return the texts with these indices."""
        return (pad([self.ids[index] for index in indices]), *super().create_batch(indices))


def pad(rows: Sequence[NDArray[np.int64]]) -> torch.Tensor:
    """Return token indices, (n, longest), padded with 0."""
    result = torch.zeros(len(rows), max(len(row) for row in rows), dtype=torch.long)
    for place, row in enumerate(rows):
        result[place, : len(row)] = torch.from_numpy(row)
    return result


def make_batches(lengths: Sequence[int], most: int) -> Iterator[list[int]]:
    """Yield batches of indices of similar length, each of at most `most` padded tokens or of one text."""
    batch: list[int] = []
    for index in sorted(range(len(lengths)), key=lengths.__getitem__):
        if batch and lengths[index] * (len(batch) + 1) > most:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch

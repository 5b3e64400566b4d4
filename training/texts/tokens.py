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
from training.learner import RowLoader, send_rows

UNUSED = "[unused"  # the beginning of placeholders in BERT's vocabulary
SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
MULTIPLE = 32  # of the lengths of batches on a GPU, so that there are few, and aligned for its attention kernels
SPECIAL = len(SPECIAL_TOKENS)  # their number; they have the first indices of a pruned tokenizer
Rows = Sequence[NDArray[np.int64]]


def prune(tokenizer: Tokenizer, counts: NDArray[np.int64], most: int) -> tuple[Tokenizer, NDArray[np.int64]]:
    """Keep the special tokens, single letters and digits, and the most frequent tokens, also those of new texts.

    Of tokens that do not occur, the first are kept, which are the most frequent of the tokenizer's own texts. A word
    that is dropped is still read, as smaller pieces.

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
    frequent = [vocabulary[index] for index in np.argsort(-counts, kind="stable").tolist()]
    rest = (token for token in frequent if token not in needed and not token.startswith(UNUSED))
    kept = [*special, *letters, *rest][:most]
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
    pruned = Tokenizer.from_str(json.dumps(described))
    pruned.encode_special_tokens = tokenizer.encode_special_tokens  # which is not in its JSON
    return pruned, np.array([before[token] for token in kept])


def encode_texts(tokenizer: Tokenizer, texts: Sequence[str], most: int, head: int) -> list[NDArray[np.int64]]:
    """Return token indices of texts for the network: the tokens that are read, between [CLS] and [SEP]."""
    first, last = tokenizer.token_to_id("[CLS]"), tokenizer.token_to_id("[SEP]")
    return [np.r_[first, tokens.ids, last] for tokens in read_tokens(tokenizer, texts, most - 2, head)]


class FlatRows:
    """Rows of token indices in one flat tensor on a device, from which a batch is made without a loop over its rows.

    Args:
        ids: the rows.
        device: where they are kept.
    """

    def __init__(self, ids: Rows, device: torch.device) -> None:
        self.lengths = np.array([len(row) for row in ids])
        self.device, self.multiple = device, MULTIPLE if device.type == "cuda" else 1
        self.flat = torch.from_numpy(np.concatenate(ids).astype(np.int32)).to(device)
        self.counts = torch.from_numpy(self.lengths).to(device)
        self.firsts = self.counts.cumsum(0) - self.counts

    def choose_length(self, indices: Sequence[int], most: int | None = None) -> int:
        """Return the padded length of a batch of these rows, cut to `most` tokens: on a GPU one of few lengths."""
        most = int(self.lengths.max()) if most is None else min(most, int(self.lengths.max()))
        longest = min(int(self.lengths[list(indices)].max()), most)
        return min(-(-longest // self.multiple) * self.multiple, most)

    def take(self, rows: torch.Tensor, length: int, starts: torch.Tensor | None = None) -> torch.Tensor:
        """Return token indices, (n, length), padded with 0.

        Args:
            rows: indices of the rows, (n,), on the device.
            length: tokens of each row that are returned.
            starts: tokens of each row that are left out after the first token, (n,); none by default.
        """
        columns = torch.arange(length, device=self.device)
        places = columns.expand(len(rows), -1) if starts is None else columns + (columns > 0) * starts[:, None]
        is_text = places < self.counts[rows][:, None]
        places = (self.firsts[rows][:, None] + places).clamp(max=len(self.flat) - 1)
        return self.flat[places].long() * is_text


class TokenLoader(RowLoader):
    """Batches of texts of similar length, padded to the longest: token indices (n, length), and targets.

    On a GPU, the length of a batch is a multiple of MULTIPLE, or that of the longest of all texts.
    """

    def __init__(self, ids: Rows, y: NDArray[Any], bs: int, **kwargs: Any) -> None:
        self.rows = FlatRows(ids, default_device())
        self.lengths = self.rows.lengths
        super().__init__(torch.from_numpy(y).to(self.rows.device), bs=bs, device=self.rows.device, **kwargs)

    def get_idxs(self) -> list[int]:
        """Return indices sorted by length; when shuffling, within pools of fifty batches, in random order."""
        if not self.shuffle:
            return np.argsort(-self.lengths, kind="stable").tolist()
        rng = np.random.default_rng(self.rng.randrange(2**32))
        order = rng.permutation(len(self.lengths))
        pools = [order[start : start + 50 * self.bs] for start in range(0, len(order), 50 * self.bs)]
        order = np.concatenate([pool[np.argsort(-self.lengths[pool], kind="stable")] for pool in pools])
        whole = len(order) // self.bs * self.bs
        batched = order[:whole].reshape(-1, self.bs)
        return [*batched[rng.permutation(len(batched))].flatten().tolist(), *order[whole:].tolist()]

    def create_batch(self, indices: list[int]) -> tuple[torch.Tensor, ...]:
        """Return the texts with these indices, and their targets."""
        rows = send_rows(indices, self.rows.device)
        return self.rows.take(rows, self.rows.choose_length(indices)), *(tensor[rows] for tensor in self.tensors)


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

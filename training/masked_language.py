"""Before the labels: guess words hidden in texts of the same kind, so that an encoder learns their language.

Masked-language modelling is of Devlin et al., "BERT", NAACL 2019; going on with it on the task's own texts, of
Gururangan et al., "Don't Stop Pretraining", ACL 2020. Every chosen token is hidden, and no other is changed.
"""

from functools import partial
from typing import Any

import numpy as np
import torch
from fastai.callback.core import Callback
from fastai.data.core import DataLoaders
from fastai.learner import Learner
from fastai.torch_core import default_device
from torch import nn
from torch.nn import functional as F
from transformers import BertConfig, BertModel

from training.learner import NoValidation, Run, adamw, mixed_precision, set_seed, with_smaller_batches
from training.tokens import Rows, TokenLoader, pad

BATCH = 128
PIECE = 512  # tokens: of a longer text another piece each epoch
HIDDEN = 0.2  # share of a piece's tokens
RATES = slice(3e-4, 1e-3)  # of the encoder and of the new layers above it
NOT_HIDDEN = -1


class MaskedLoader(TokenLoader):
    """Batches of pieces of texts, (n, length) with some tokens hidden, and the hidden tokens, (n, length), else -1."""

    def __init__(self, ids: Rows, mask: int, special: int, bs: int, **kwargs: Any) -> None:
        self.mask, self.special = mask, special
        super().__init__(ids, np.zeros(len(ids), np.int64), bs, **kwargs)
        self.lengths = np.minimum(self.lengths, PIECE)

    def create_batch(self, indices: list[int]) -> tuple[torch.Tensor, ...]:
        """The texts with these indices, each with its first token and as many as fit of those from a random one on."""
        rng = np.random.default_rng(self.rng.randrange(2**32))
        pieces = []
        for row in (self.ids[index] for index in indices):
            start = int(rng.integers(max(0, len(row) - PIECE) + 1))
            pieces.append(np.r_[row[0], row[start + 1 : start + PIECE]])
        ids = pad(pieces)
        hidden = torch.from_numpy(rng.random(ids.shape) < HIDDEN) & (ids >= self.special)
        return ids.masked_fill(hidden, self.mask), ids.masked_fill(~hidden, NOT_HIDDEN)


class MaskedNet(nn.Module):
    """Token indices (n, length), 0 for padding, to logits of the hidden ones (hidden, tokens)."""

    def __init__(self, bert: BertModel, mask: int) -> None:
        super().__init__()
        self.bert, self.mask = bert, mask
        size = bert.config.hidden_size
        self.head = nn.Sequential(nn.Linear(size, size), nn.GELU(), nn.LayerNorm(size))
        self.bias = nn.Parameter(torch.zeros(bert.config.vocab_size))

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        hidden = self.bert(input_ids=ids, attention_mask=(ids > 0).long()).last_hidden_state[ids == self.mask]
        return F.linear(self.head(hidden), self.bert.embeddings.word_embeddings.weight, self.bias)


def encoder_and_head(net: MaskedNet) -> list[list[nn.Parameter]]:
    """Parameters of the encoder, and of what is new, for rates that differ."""
    return [list(net.bert.parameters()), [*net.head.parameters(), net.bias]]


def hidden_loss(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of logits (hidden, tokens), given the tokens (n, length), -1 where none is hidden."""
    return F.cross_entropy(logits, target[target != NOT_HIDDEN]) if len(logits) else logits.sum()


def pretrain(
    bert: BertModel,
    ids: Rows,
    mask: int,
    special: int,
    run: Run,
    epochs: int,
    rates: slice | float = RATES,
) -> MaskedNet:
    """Train an encoder to predict hidden tokens; return the network that predicts them.

    Args:
        bert: the encoder; its weights are changed.
        ids: token indices of the texts, each beginning with a special token.
        mask: index of the token that hides others.
        special: indices below it are special tokens, which are never hidden.
        run: the training that it is a part of.
        epochs: passes over the texts.
        rates: of learning, of the encoder and of what is new above it.
    """
    set_seed(run.seed)
    config = BertConfig.from_dict(bert.config.to_dict() | {"hidden_dropout_prob": 0.0})
    without_dropout = BertModel(config, add_pooling_layer=False)
    if not torch.cuda.is_available():
        without_dropout.set_attn_implementation("eager")  # meant to be faster for short pieces; no script measured it
    without_dropout.load_state_dict(bert.state_dict(), strict=False)
    net = MaskedNet(without_dropout, mask).to(default_device())

    def train_with(batch: int, accumulate: list[Callback]) -> None:
        loader = MaskedLoader(ids, mask, special, batch, shuffle=True, drop_last=True)
        learn = Learner(
            DataLoaders(loader, loader, device=loader.device), net, splitter=encoder_and_head, loss_func=hidden_loss,
            opt_func=adamw, cbs=[NoValidation(), *mixed_precision(), *accumulate],
        )  # fmt: skip
        schedule = partial(learn.fit_one_cycle, epochs, rates, pct_start=0.1)
        run.fit(learn, "masked", schedule, again=bool(accumulate))

    with_smaller_batches(train_with, min(BATCH, len(ids) // 2))
    bert.load_state_dict(net.cpu().eval().bert.state_dict(), strict=False)
    return net

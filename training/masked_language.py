"""Masked-language modelling: adapt an encoder to the task's texts before it is trained on labels.

The method is from Devlin et al., "BERT", NAACL 2019; its use on the task's own texts is from Gururangan et al.,
"Don't Stop Pretraining", ACL 2020. Here every chosen token is replaced by [MASK], and no other token is changed.
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

from training.learner import NoValidation, Run, choose_mixed_precision, make_adamw, retry_with_smaller_batches, set_seed
from training.tokens import Rows, TokenLoader, pad

BATCH = 128
PIECE = 512  # tokens; each epoch draws another piece of a longer text
HIDDEN = 0.2  # share of tokens that are hidden
RATES = slice(3e-4, 1e-3)  # learning rates of the encoder and of the new layers
NOT_HIDDEN = -1


class MaskedLoader(TokenLoader):
    """Batches of token indices, (n, length), some hidden, and of the hidden tokens, (n, length), -1 elsewhere."""

    def __init__(self, ids: Rows, mask: int, special: int, bs: int, **kwargs: Any) -> None:
        self.mask, self.special = mask, special
        super().__init__(ids, np.zeros(len(ids), np.int64), bs, **kwargs)
        self.lengths = np.minimum(self.lengths, PIECE)

    def create_batch(self, indices: list[int]) -> tuple[torch.Tensor, ...]:
        """Return pieces of the texts with these indices: the first token, then tokens from a random place on."""
        rng = np.random.default_rng(self.rng.randrange(2**32))
        pieces = []
        for row in (self.ids[index] for index in indices):
            start = int(rng.integers(max(0, len(row) - PIECE) + 1))
            pieces.append(np.r_[row[0], row[start + 1 : start + PIECE]])
        ids = pad(pieces)
        hidden = torch.from_numpy(rng.random(ids.shape) < HIDDEN) & (ids >= self.special)
        return ids.masked_fill(hidden, self.mask), ids.masked_fill(~hidden, NOT_HIDDEN)


class MaskedNet(nn.Module):
    """Map token indices (n, length), 0 for padding, to logits of the hidden tokens (hidden, tokens)."""

    def __init__(self, bert: BertModel, mask: int) -> None:
        super().__init__()
        self.bert, self.mask = bert, mask
        size = bert.config.hidden_size
        self.head = nn.Sequential(nn.Linear(size, size), nn.GELU(), nn.LayerNorm(size))
        self.bias = nn.Parameter(torch.zeros(bert.config.vocab_size))

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        hidden = self.bert(input_ids=ids, attention_mask=(ids > 0).long()).last_hidden_state[ids == self.mask]
        return F.linear(self.head(hidden), self.bert.embeddings.word_embeddings.weight, self.bias)


def group_parameters(net: MaskedNet) -> list[list[nn.Parameter]]:
    """Return the parameters of the encoder and of the new layers, for different learning rates."""
    return [list(net.bert.parameters()), [*net.head.parameters(), net.bias]]


def hidden_loss(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return the cross-entropy of logits (hidden, tokens); targets are (n, length), -1 where nothing is hidden."""
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
        mask: index of the [MASK] token.
        special: number of special tokens, which have the first indices and are never hidden.
        run: the training run.
        epochs: passes over the texts.
        rates: learning rates of the encoder and of the new layers.
    """
    set_seed(run.seed)
    config = BertConfig.from_dict(bert.config.to_dict() | {"hidden_dropout_prob": 0.0})
    without_dropout = BertModel(config, add_pooling_layer=False)
    if not torch.cuda.is_available():
        without_dropout.set_attn_implementation("eager")  # assumed faster for short pieces; not measured
    without_dropout.load_state_dict(bert.state_dict(), strict=False)
    net = MaskedNet(without_dropout, mask).to(default_device())

    def train_with(batch: int, accumulate: list[Callback]) -> None:
        loader = MaskedLoader(ids, mask, special, batch, shuffle=True, drop_last=True)
        learn = Learner(
            DataLoaders(loader, loader, device=loader.device), net, splitter=group_parameters, loss_func=hidden_loss,
            opt_func=make_adamw, cbs=[NoValidation(), *choose_mixed_precision(), *accumulate],
        )  # fmt: skip
        schedule = partial(learn.fit_one_cycle, epochs, rates, pct_start=0.1)
        run.fit(learn, "masked", schedule, again=bool(accumulate))

    retry_with_smaller_batches(train_with, min(BATCH, len(ids) // 2))
    bert.load_state_dict(net.cpu().eval().bert.state_dict(), strict=False)
    return net

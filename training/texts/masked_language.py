"""Masked-language modelling: adapt an encoder to the task's texts before it is trained on labels.

The method is from Devlin et al., "BERT", NAACL 2019; its use on the task's own texts is from Gururangan et al.,
"Don't Stop Pretraining", ACL 2020. Here every chosen token is replaced by [MASK], and no other token is changed.
"""

import math
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

from training.learner import (
    NoValidation,
    Run,
    choose_mixed_precision,
    make_adamw,
    retry_with_smaller_batches,
    send_rows,
    set_seed,
)
from training.networks.text_classification import mask_padding
from training.texts.tokens import Rows, TokenLoader

BATCH = 256
AT_ONCE = 64  # texts on a CPU, where a batch of 256 long ones takes 25 GB
PIECE = 512  # tokens; each epoch draws another piece of a longer text
HIDDEN = 0.2  # share of tokens that are hidden
RATES = slice(4e-4, 1.4e-3)  # learning rates of the encoder and of the new layers
NOT_HIDDEN = -1


class MaskedLoader(TokenLoader):
    """Batches of token indices (n, length), some hidden, and of the places (n, most) and tokens (n, most) of those.

    Of each row, HIDDEN of the tokens that are not special are hidden, and at least one. A row with fewer than the
    batch's `most` has some further places, whose tokens are NOT_HIDDEN.
    """

    def __init__(self, ids: Rows, mask: int, special: int, bs: int, **kwargs: Any) -> None:
        self.mask, self.special = mask, special
        super().__init__(ids, np.zeros(len(ids), np.int64), bs, **kwargs)
        self.lengths = np.minimum(self.lengths, PIECE)

    def create_batch(self, indices: list[int]) -> tuple[torch.Tensor, ...]:
        """Return pieces of the texts with these indices: the first token, then tokens from a random place on."""
        device = self.rows.device
        rows = send_rows(indices, device)
        further = (self.rows.counts[rows] - PIECE).clamp(min=0)
        starts = (torch.rand(len(indices), device=device) * (further + 1)).long().clamp(max=further)
        ids = self.rows.take(rows, self.rows.choose_length(indices, PIECE), starts)
        return hide(ids, self.mask, self.special)


def hide(ids: torch.Tensor, mask: int, special: int) -> tuple[torch.Tensor, ...]:
    """Hide tokens; return the indices with [MASK], (n, length), and the places and hidden tokens, both (n, most).

    The number hidden in a row depends on nothing but its length, and `most` on nothing but that of the batch, so that
    the CPU need not wait for a GPU.
    """
    can_be_hidden = ids >= special
    wanted = (HIDDEN * can_be_hidden.sum(1)).ceil()
    most = max(1, math.ceil(HIDDEN * ids.shape[1]))
    draws = torch.rand(ids.shape, device=ids.device).masked_fill(~can_be_hidden, -1)
    places = draws.topk(most, 1).indices
    is_hidden = torch.arange(most, device=ids.device) < wanted[:, None]
    tokens = ids.gather(1, places)
    return ids.scatter(1, places, tokens.where(~is_hidden, mask)), places, tokens.where(is_hidden, NOT_HIDDEN)


class MaskedNet(nn.Module):
    """Map token indices (n, length), 0 for padding, and places (n, most) to their logits (n, most, tokens)."""

    def __init__(self, bert: BertModel) -> None:
        super().__init__()
        self.bert = bert
        size = bert.config.hidden_size
        self.head = nn.Sequential(nn.Linear(size, size), nn.GELU(), nn.LayerNorm(size))
        self.bias = nn.Parameter(torch.zeros(bert.config.vocab_size))

    def forward(self, ids: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        states = self.bert(input_ids=ids, attention_mask=mask_padding(ids)).last_hidden_state
        hidden = states.gather(1, places[..., None].expand(-1, -1, states.shape[2]))
        return F.linear(self.head(hidden), self.bert.embeddings.word_embeddings.weight, self.bias)


def group_parameters(net: MaskedNet) -> list[list[nn.Parameter]]:
    """Return the parameters of the encoder and of the new layers, for different learning rates."""
    return [list(net.bert.parameters()), [*net.head.parameters(), net.bias]]


def hidden_loss(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return the mean cross-entropy of logits (n, most, tokens) where the targets (n, most) are hidden tokens."""
    total = F.cross_entropy(logits.flatten(0, 1), target.flatten(), ignore_index=NOT_HIDDEN, reduction="sum")
    return total / (target != NOT_HIDDEN).sum().clamp(min=1)


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
        without_dropout.set_attn_implementation("eager")  # on a CPU a sixth faster for texts of 130 tokens
    without_dropout.load_state_dict(bert.state_dict(), strict=False)
    net = MaskedNet(without_dropout).to(default_device())

    def train_with(batch: int, accumulate: list[Callback], is_again: bool) -> None:
        loader = MaskedLoader(ids, mask, special, batch, shuffle=True, drop_last=True)
        learn = Learner(
            DataLoaders(loader, loader, device=loader.device), net, splitter=group_parameters, loss_func=hidden_loss,
            opt_func=make_adamw, cbs=[NoValidation(), *choose_mixed_precision(), *accumulate],
        )  # fmt: skip
        schedule = partial(learn.fit_one_cycle, epochs, rates, pct_start=0.1)
        run.fit(learn, "masked", schedule, again=is_again)

    retry_with_smaller_batches(train_with, min(BATCH, len(ids) // 2), AT_ONCE)
    bert.load_state_dict(net.cpu().eval().bert.state_dict(), strict=False)
    return net

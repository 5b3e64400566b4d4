"""Networks for tables: embeddings of columns, then a small ensemble with shared weights (TabM)."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional as F

from shared.tabular import TabularConfig

HIDE_CATEGORY = 0.002  # share of values hidden in training, so that every column learns "unknown"
HIDE_AMOUNT = 0.03
DROPOUT = 0.05
LARGEST = float(np.finfo(np.float32).max)
LARGEST_LOGIT = 13.8  # a probability of one in a million


class PiecewiseLinear(nn.Module):
    """Piecewise linear encodings of numbers, each followed by a linear layer of its own; all are computed at once.

    See Gorishniy et al., "On Embeddings for Numerical Features", NeurIPS 2022.

    Args:
        edges: the edges of the bins of each column.
        size: outputs for each column.
    """

    def __init__(self, edges: Sequence[NDArray[np.float32]], size: int) -> None:
        super().__init__()
        layers = [nn.Linear(len(column) - 1, size) for column in edges]
        most = max((len(column) for column in edges), default=1) - 1

        def pad(rows: Sequence[torch.Tensor], value: float) -> torch.Tensor:
            rows = [F.pad(row, (0, most - row.shape[-1]), value=value) for row in rows]
            return torch.stack(rows) if rows else torch.zeros(0, most)

        ends = [torch.tensor(column, dtype=torch.float32) for column in edges]
        self.register_buffer("low", pad([column[:-1] for column in ends], LARGEST))  # no number passes a bin of padding
        self.register_buffer("width", pad([column[1:] - column[:-1] for column in ends], 1.0))
        self.weight = nn.Parameter(pad([layer.weight.detach() for layer in layers], 0.0).view(len(edges), size, most))
        self.bias = nn.Parameter(torch.cat([torch.zeros(0), *(layer.bias.detach() for layer in layers)]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        passed = ((x[:, :, None] - self.low) / self.width).clamp(0, 1)
        return torch.einsum("ncb,cob->nco", passed, self.weight).flatten(1) + self.bias


class ExactValue(nn.Module):
    """An embedding for each amount seen in training; an amount between two of them gets their weighted mean.

    In training, some amounts are replaced by one shared embedding, so that the network does not rely on them alone.
    """

    def __init__(self, values: NDArray[np.float64], size: int) -> None:
        super().__init__()
        self.register_buffer("values", torch.tensor(values, dtype=torch.float32))
        self.embedding = nn.Parameter(torch.randn(len(values), size) * 0.3)
        self.other = nn.Parameter(torch.randn(size) * 0.3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        gaps = self.values[1:] - self.values[:-1]
        passed = ((x[:, None] - self.values[:-1]) / gaps).clamp(0, 1)  # how much of each gap lies below x
        weight = F.pad(passed, (1, 0), value=1.0) - F.pad(passed, (0, 1))  # exactly 0 or 1 at an amount that was seen
        if self.training:
            weight = weight * (torch.rand(len(x), 1, device=x.device) >= HIDE_AMOUNT)
        return weight @ self.embedding + (1 - weight.sum(1, keepdim=True)) * self.other


class SharedLinear(nn.Module):
    """A linear layer shared by all members of an ensemble, each with its own scales and bias.

    BatchEnsemble (Wen et al., ICLR 2020), initialised as in TabM (Gorishniy et al., ICLR 2025): only the
    first layer's input scales differ between members at the start.
    """

    def __init__(self, inputs: int, outputs: int, members: int, first: bool) -> None:
        super().__init__()
        bound = inputs**-0.5
        self.weight = nn.Parameter(torch.empty(outputs, inputs).uniform_(-bound, bound))
        scale = torch.randint(0, 2, (members, inputs)).float() * 2 - 1 if first else torch.ones(members, inputs)
        self.input_scale = nn.Parameter(scale)
        self.output_scale = nn.Parameter(torch.ones(members, outputs))
        self.bias = nn.Parameter(torch.empty(members, outputs).uniform_(-bound, bound))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.linear(x * self.input_scale, self.weight) * self.output_scale + self.bias


class TableNet(nn.Module):
    """Embeddings of the columns, then a small ensemble of two-layer networks that share weights (TabM).

    In: categories (n, columns) int64 and numbers (n, columns) float32, from shared.tabular.encode. Out: what each
    member computes, (n, members, outputs), such as logits of the labels; (n, members) with a single output.

    Args:
        config: the columns; those in `ignored` are not read, and those in `amounts` get exact embeddings.
        train: the training rows, which determine the bins of numbers.
        ordered: categories that are read as a number, the mean of another column in the training rows.
        width: size of the hidden layers.
        members: number of members of the ensemble.
        outputs: numbers that each member computes.
    """

    def __init__(
        self,
        config: TabularConfig,
        train: pd.DataFrame,
        ordered: Mapping[str, str],
        width: int = 128,
        members: int = 8,
        outputs: int = 1,
    ) -> None:
        super().__init__()
        categories, numbers = list(config.categories), list(config.numbers)
        used = [name for name in (*categories, *numbers) if name not in config.ignored]
        self.ordered = [categories.index(name) for name in ordered if name in used]
        for position in self.ordered:
            name, number = categories[position], ordered[categories[position]]
            means = train.groupby(name)[number].mean().reindex(config.categories[name]).fillna(train[number].median())
            self.register_buffer(f"ordered_{position}", torch.tensor(means.to_numpy(), dtype=torch.float32))
        self.embedded = [categories.index(name) for name in used if name in categories and name not in ordered]
        self.measured = [numbers.index(name) for name in used if name in numbers]
        self.amounts = [numbers.index(name) for name in config.amounts if name in used]
        self.embeddings = nn.ModuleList(
            nn.Embedding(len(config.categories[categories[position]]), 8) for position in self.embedded
        )
        for embedding in self.embeddings:
            nn.init.normal_(embedding.weight, 0, 0.3)
        read = [ordered[categories[position]] for position in self.ordered]
        read += [numbers[position] for position in self.measured]
        self.numbers = PiecewiseLinear([find_bin_edges(train[name].to_numpy()) for name in read], 16)
        self.exact = nn.ModuleList(
            ExactValue(np.array(config.amounts[numbers[position]]), 8) for position in self.amounts
        )
        inputs = 8 * (len(self.embeddings) + len(self.exact)) + 16 * len(read)
        self.members = members
        self.first = SharedLinear(inputs, width, members, first=True)
        self.second = SharedLinear(width, width, members, first=False)
        self.head = nn.Parameter(torch.empty(members, outputs, width).uniform_(-(width**-0.5), width**-0.5))
        self.head_bias = nn.Parameter(torch.zeros(members, outputs))
        self.dropout = nn.Dropout(DROPOUT)

    def forward(self, categories: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
        if self.training:
            categories = categories * (torch.rand(categories.shape, device=categories.device) >= HIDE_CATEGORY)
        read = [getattr(self, f"ordered_{position}")[categories[:, position]] for position in self.ordered]
        read += [numbers[:, position] for position in self.measured]
        parts = [embed(categories[:, i]) for embed, i in zip(self.embeddings, self.embedded, strict=True)]
        parts += [self.numbers(torch.stack(read, 1))] if read else []
        parts += [embed(numbers[:, position]) for embed, position in zip(self.exact, self.amounts, strict=True)]
        x = torch.cat(parts, 1)[:, None].expand(-1, self.members, -1)
        x = self.dropout(F.relu(self.first(x)))
        x = self.dropout(F.relu(self.second(x)))
        if self.head.shape[1] == 1:
            return (x * self.head[:, 0]).sum(-1) + self.head_bias[:, 0]
        return torch.einsum("nmw,mow->nmo", x, self.head) + self.head_bias


class Average(nn.Module):
    """The average of several networks and their members."""

    def __init__(self, nets: list[TableNet]) -> None:
        super().__init__()
        self.nets = nn.ModuleList(nets)

    def run_members(self, categories: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
        """Return what all members of all networks compute, (n, members) or (n, members, outputs)."""
        return torch.cat([net(categories, numbers) for net in self.nets], 1)


class Ensemble(Average):
    """The calibrated logit, (n,), of the mean probability over several networks and their members."""

    def __init__(self, nets: list[TableNet], temperature: float = 1.0, bias: float = 0.0) -> None:
        super().__init__(nets)
        self.temperature, self.bias = temperature, bias

    def forward(self, categories: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
        logits = self.run_members(categories, numbers)
        # Without computing the probability, which loses precision near 1 in float32.
        logit = torch.logsumexp(-F.softplus(-logits), 1) - torch.logsumexp(-F.softplus(logits), 1)
        return logit.clamp(-LARGEST_LOGIT, LARGEST_LOGIT) / self.temperature + self.bias


class LabelsEnsemble(Average):
    """The calibrated logits of many labels, (n, labels), of the mean probabilities over networks and members."""

    def __init__(self, nets: list[TableNet], temperature: float = 1.0) -> None:
        super().__init__(nets)
        self.temperature = temperature

    def forward(self, categories: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
        members = torch.log_softmax(self.run_members(categories, numbers), 2)
        logits = torch.logsumexp(members, 1) - math.log(members.shape[1])
        return logits.clamp(min=-LARGEST_LOGIT) / self.temperature


class NumberEnsemble(Average):
    """The mean prediction of a number, and half the width of its interval, each (n,).

    Args:
        nets: networks that predict a standardised number, and the logarithm of the expected size of its error.
        mean: of the numbers that were trained on.
        deviation: their standard deviation.
        base: half the width of all intervals, in standard deviations.
        factor: what is added to it for each standard deviation of expected error.
    """

    def __init__(
        self, nets: list[TableNet], mean: float = 0.0, deviation: float = 1.0, base: float = 0.0, factor: float = 1.0
    ) -> None:
        super().__init__(nets)
        self.mean, self.deviation, self.base, self.factor = mean, deviation, base, factor

    def forward(self, categories: torch.Tensor, numbers: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        values, sizes = self.run_members(categories, numbers).unbind(2)
        value, error = values.mean(1), sizes.exp().mean(1)
        return value * self.deviation + self.mean, (self.base + self.factor * error) * self.deviation


def find_bin_edges(values: NDArray[np.float64], bins: int = 24) -> NDArray[np.float32]:
    """Return the edges of quantile bins, at least two, all different in float32, without NaN.

    For a column that is mostly 0, they are 0 and quantiles of the positive amounts.
    """
    values = values[np.isfinite(values)].astype(np.float32)
    amounts = np.unique(values[values > 0])
    if np.mean(values == 0) > 0.5 and len(amounts):
        quantiles = np.quantile(amounts, np.linspace(0, 1, 100))
        return np.unique(np.concatenate([[0.0], quantiles]).astype(np.float32))
    quantiles = np.quantile(values, np.linspace(0, 1, bins + 1)) if len(values) else np.zeros(1)
    edges = np.unique(quantiles.astype(np.float32))
    return edges if len(edges) > 1 else np.append(edges, edges + max(1, np.spacing(np.abs(edges[0]))))


def member_loss(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return the mean binary cross-entropy of the members, each against the target."""
    return F.binary_cross_entropy_with_logits(logits, target[:, None].expand_as(logits))


def labels_loss(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return the mean cross-entropy of the members' logits, (n, members, labels), each against the target, (n,)."""
    return F.cross_entropy(logits.flatten(0, 1), target.repeat_interleave(logits.shape[1]))


def number_loss(outputs: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return the mean squared error of the members, plus the loss of the sizes of error that they expect.

    That is the negative log likelihood of a Laplace distribution, from which the predictions learn nothing.
    """
    value, size = outputs.unbind(2)
    error = target[:, None] - value
    return (error.square() + size + error.detach().abs() * torch.exp(-size)).mean()

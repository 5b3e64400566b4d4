"""The network of a fastai vision Learner, with the outputs that shared/image_classifier.py reads."""

import numpy as np
import torch
from fastai.layers import AdaptiveConcatPool2d, Flatten
from numpy.typing import NDArray
from sklearn.covariance import ledoit_wolf_shrinkage
from torch import nn
from torch.nn import functional as F

RANK = 256  # of the covariance of features
SHARPNESS = 50.0  # a place with 98 % of the maximum has 1 / e of its share
Outputs = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


class VisionNet(nn.Module):
    """The body and head of a vision Learner: logits (n, labels), scores (n,), and maps (n, labels, rows, columns).

    The head pools the features, maximum and mean or mean alone, and goes on with linear layers, BatchNorm and ReLU. For
    one picture this is a linear function of the pooled features, since each ReLU is either on or off. So every logit
    is a sum over places in the picture: a channel's mean comes from all places equally, and its maximum from where it
    is reached or, to a smaller part, nearly reached; otherwise rounding errors would decide between such places. The
    mean of a map is the logit of its label, as for class activation maps.

    Args:
        model: the Learner's model, nn.Sequential of body and head.
        resample: (rows, size), what the Learner's batch transforms do to each axis of a picture; None if nothing.

    Raises:
        ValueError: the model has another structure; the text names the part.
    """

    def __init__(self, model: nn.Module, resample: torch.Tensor | None = None) -> None:
        super().__init__()
        if not (isinstance(model, nn.Sequential) and len(model) == 2):
            raise ValueError(f"{type(model).__name__} instead of a body and a head")
        self.body = model[0]
        pool, *layers = flatten_layers(model[1]) or [nn.Identity()]
        self.is_concatenated = isinstance(pool, AdaptiveConcatPool2d)
        if not (self.is_concatenated or isinstance(pool, nn.AdaptiveAvgPool2d)):
            raise ValueError(f"a head that begins with {type(pool).__name__}")
        size = pool.ap.output_size if self.is_concatenated else pool.output_size
        if any(side != 1 for side in np.atleast_1d(size)):
            raise ValueError(f"a head that pools to more than one place ({size})")
        layers = [layer for layer in layers if not isinstance(layer, nn.Flatten | Flatten | nn.Dropout)]
        for layer in layers:
            if not isinstance(layer, nn.Linear | nn.BatchNorm1d | nn.ReLU):
                raise ValueError(f"{type(layer).__name__} in the head")
            if isinstance(layer, nn.BatchNorm1d) and (layer.weight is None or layer.running_var is None):
                raise ValueError("a BatchNorm1d without weights or running statistics in the head")
        self.layers = nn.ModuleList(layers)
        self.register_buffer("resample", resample)
        self.temperature = 1.0
        self.score: nn.Module = Distance()

    def extract(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return the features of the body, (n, channels, rows, columns)."""
        if self.resample is not None:
            pixels = self.resample @ pixels @ self.resample.T
        return self.body(pixels)

    def pool(self, features: torch.Tensor) -> torch.Tensor:
        """Return the input of the linear layers, (n, channels) or (n, 2 * channels)."""
        mean = features.mean((2, 3))
        return torch.cat([features.amax((2, 3)), mean], 1) if self.is_concatenated else mean

    def forward(self, pixels: torch.Tensor) -> Outputs:
        features = self.extract(pixels)
        pooled = self.pool(features)
        logits, slopes = self.classify(pooled)
        logits = logits / self.temperature
        slopes = slopes / self.temperature
        # An affine function: what the slopes do not explain is the same at every place.
        offset = (logits - (slopes * pooled[:, None]).sum(2))[:, :, None]
        channels, shape = features.shape[1], features.shape[2:]
        maps = slopes[:, :, -channels:] @ features.flatten(2) + offset
        if self.is_concatenated:
            largest = features.amax((2, 3), keepdim=True)
            near = SHARPNESS * ((features - largest) / (largest.abs() + 1e-6)).flatten(2)
            share = near.softmax(2) * largest.flatten(2) * near.shape[2]
            maps = maps + slopes[:, :, :channels] @ share
        return logits, self.score(pooled[:, -channels:]), maps.unflatten(2, shape)

    def classify(self, pooled: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the logits of pooled features, (n, labels), and their derivatives, (n, labels, features)."""
        values, factors = pooled, []
        for layer in self.layers:
            if isinstance(layer, nn.ReLU):
                factors.append((values > 0).to(values.dtype)[:, None])
            elif isinstance(layer, nn.BatchNorm1d):
                factors.append((layer.weight / (layer.running_var + layer.eps).sqrt())[None, None])
            else:
                factors.append(layer.weight)
            if isinstance(layer, nn.Linear):  # with a bias, so that ONNX has one copy of the matrix
                bias = values.new_zeros(layer.out_features) if layer.bias is None else layer.bias
                values = F.linear(values, layer.weight, bias)
            else:
                values = layer(values) if isinstance(layer, nn.BatchNorm1d) else F.relu(values)
        slopes = torch.eye(values.shape[1], dtype=values.dtype)[None]
        for factor in reversed(factors):
            slopes = slopes @ factor if factor.ndim == 2 else slopes * factor
        return values, slopes


class Distance(nn.Module):
    """The in-distribution score: minus the Mahalanobis distance from the mean features of pictures.

    Unlike the logits, it does not need a network that is less sure of pictures that it was not trained on.
    """

    def __init__(self, count: int = 1, rank: int = 1) -> None:
        super().__init__()
        for name, shape in (("mean", (count,)), ("axes", (count, rank)), ("known", (rank,)), ("variance", (1,))):
            setattr(self, name, nn.Parameter(torch.ones(shape), requires_grad=False))

    @classmethod
    def fit(cls, features: NDArray[np.float32]) -> "Distance":
        """Fit mean and covariance to the mean features of pictures, (n, channels).

        The covariance is shrunk as Ledoit and Wolf (2004) do, and its smallest components are taken as equal.
        """
        x = features.astype(np.float64)
        centred = x - x.mean(0)
        shrinkage = float(np.clip(ledoit_wolf_shrinkage(centred, assume_centered=True), 1e-3, 1))
        variance = (centred**2).mean() + 1e-12
        _, sizes, axes = np.linalg.svd(centred, full_matrices=False)
        sizes, axes = sizes[:RANK], axes[:RANK]
        components = (1 - shrinkage) * sizes**2 / len(x)
        rest = (1 - shrinkage) * ((centred**2).sum() / len(x) - (sizes**2).sum() / len(x)) / x.shape[1]
        floor = shrinkage * variance + max(rest, 0)
        found = cls(x.shape[1], len(sizes))
        values = {"mean": x.mean(0), "axes": axes.T, "known": components / (components + floor), "variance": [floor]}
        for name, value in values.items():
            getattr(found, name).copy_(torch.tensor(np.asarray(value)))
        return found

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        away = features - self.mean
        along = away @ self.axes
        squares = (away**2).sum(1) - (along**2 * self.known).sum(1)
        return -(squares.clamp(min=0) / self.variance).sqrt()


def flatten_layers(module: nn.Module) -> list[nn.Module]:
    """Return the layers of nested nn.Sequential, in order."""
    if not isinstance(module, nn.Sequential):
        return [module]
    return [layer for child in module for layer in flatten_layers(child)]

"""The pretrained networks that image classification can begin with.

To add one whose architecture is here, add an entry to BACKBONES. For another architecture, also add an entry to
ARCHITECTURES.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import (
    ConvNextForImageClassification,
    MobileNetV2ForImageClassification,
    PreTrainedModel,
    ResNetForImageClassification,
)

Channels = tuple[float, float, float]

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
DEFAULT = "mobilenet-v2"


def compute_features(body: Any, pixels: torch.Tensor) -> torch.Tensor:
    """Return the features at each place, of a network that only pools them before its classifier."""
    return torch.as_tensor(body(pixels).last_hidden_state)


def compute_normalised_features(body: Any, pixels: torch.Tensor) -> torch.Tensor:
    """Return the features at each place, of a network that normalises them (LayerNorm) after pooling.

    Every place is normalised with the mean and the variance of the pooled features, so that pooling and normalisation
    commute.
    """
    features, norm = compute_features(body, pixels), body.layernorm
    pooled = features.mean((2, 3), keepdim=True)
    centre = pooled.mean(1, keepdim=True)
    variance = (pooled - centre).square().mean(1, keepdim=True)
    scaled = (features - centre) * (variance + norm.eps).rsqrt()
    return scaled * norm.weight.view(1, -1, 1, 1) + norm.bias.view(1, -1, 1, 1)


@dataclass(frozen=True)
class Architecture:
    """An architecture of transformers.

    Attributes:
        name: its name in texts.
        network: the class with a classifier.
        mean: mean of each channel of the pixels that it takes, from 0 to 1.
        std: standard deviation of each channel.
        list_blocks: lists the parts of a network without its classifier, from the first to the last.
        compute_features: maps a network without its classifier, and pixels (n, 3, height, width), to features at each
            place, (n, channels, rows, columns). Their mean over all places is what the classifier takes.
    """

    name: str
    network: type[PreTrainedModel]
    mean: Channels
    std: Channels
    list_blocks: Callable[[Any], list[nn.Module]]
    compute_features: Callable[[Any, torch.Tensor], torch.Tensor] = compute_features


MOBILENET_V2 = Architecture(
    "MobileNetV2",
    MobileNetV2ForImageClassification,
    (0.5, 0.5, 0.5),
    (0.5, 0.5, 0.5),
    lambda body: [body.conv_stem, *body.layer, body.conv_1x1],
)
RESNET = Architecture(
    "ResNet",
    ResNetForImageClassification,
    IMAGENET_MEAN,
    IMAGENET_STD,
    lambda body: [body.embedder, *(layer for stage in body.encoder.stages for layer in stage.layers)],
)
CONVNEXT = Architecture(
    "ConvNeXt",
    ConvNextForImageClassification,
    IMAGENET_MEAN,
    IMAGENET_STD,
    lambda body: [
        body.embeddings,
        *(part for stage in body.encoder.stages for part in (stage.downsampling_layer, *stage.layers)),
        body.layernorm,
    ],
    compute_normalised_features,
)
ARCHITECTURES = (MOBILENET_V2, RESNET, CONVNEXT)


@dataclass(frozen=True)
class Backbone:
    """A network trained on ImageNet: its name in texts, its name on the Hub, and a sentence on its terms.

    `hub` is None for a network in a folder that is not known to be on the Hub.
    """

    name: str
    hub: str | None
    architecture: Architecture
    terms: str


def describe_apache(name: str, hub: str) -> str:
    """Return the sentence on the terms of a network that is under Apache-2.0."""
    return f"It began as {name} trained on ImageNet, {hub} on the Hub, which has the licence Apache-2.0."


BACKBONES = {
    DEFAULT: Backbone(
        "MobileNetV2",
        "google/mobilenet_v2_1.0_224",
        MOBILENET_V2,
        "It began as MobileNetV2 trained on ImageNet, which its authors offer under Apache-2.0; its copy on the Hub,\n"
        'google/mobilenet_v2_1.0_224, has the licence "other".',
    ),
    **{
        option: Backbone(name, hub, architecture, describe_apache(name, hub))
        for option, name, hub, architecture in (
            ("resnet-18", "ResNet-18", "microsoft/resnet-18", RESNET),
            ("resnet-50", "ResNet-50", "microsoft/resnet-50", RESNET),
            ("convnext-tiny", "ConvNeXt-Tiny", "facebook/convnext-tiny-224", CONVNEXT),
        )
    },
}


def get_architecture(network: type[PreTrainedModel]) -> Architecture:
    """Return the entry of a class of transformers."""
    return next(item for item in ARCHITECTURES if item.network is network)


def get_last_layer(network: PreTrainedModel) -> nn.Linear:
    """Return the linear layer from pooled features to logits; a ResNet flattens the features before it."""
    layer = network.classifier
    return layer[-1] if isinstance(layer, nn.Sequential) else layer

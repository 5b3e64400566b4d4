"""The network of image segmentation: DeepLabV3 on MobileNetV2 and a decoder, and its loss."""

import torch
from torch import nn
from torch.nn import functional as F
from transformers import MobileNetV2ForSemanticSegmentation

HALF, QUARTER, EIGHTH = 0, 2, 5  # the last blocks of the backbone at these fractions of the picture's size
IGNORED = 255  # the label of pixels that are ignored


class SkipFusion(nn.Module):
    """Upsample features twofold, concatenate earlier ones, and apply two separable convolutions."""

    def __init__(self, coarse: int, early: int, kept: int, out: int) -> None:
        super().__init__()
        self.reduce = make_convolution(early, kept, 1)
        joined = coarse + kept
        self.fuse = nn.Sequential(
            make_convolution(joined, joined, 3, groups=joined),
            make_convolution(joined, out, 1),
            make_convolution(out, out, 3, groups=out),
            make_convolution(out, out, 1),
        )

    def forward(self, coarse: torch.Tensor, early: torch.Tensor) -> torch.Tensor:
        finer = F.interpolate(coarse, size=early.shape[-2:], mode="bilinear", align_corners=False)
        return self.fuse(torch.cat([finer, self.reduce(early)], 1))


def make_convolution(inputs: int, outputs: int, size: int, groups: int = 1) -> nn.Sequential:
    """Return a convolution with batch normalisation and ReLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, size, padding=size // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


class SegmentationNet(nn.Module):
    """DeepLabV3 of transformers with a decoder that restores the resolution.

    DeepLabV3+ (Chen et al., ECCV 2018) concatenates features at a quarter of the picture's size; this network also
    those at an eighth and a half, which show poles and signs. In: pixels (n, 3, height, width). Out: logits (n,
    classes, height / 2, width / 2).
    """

    def __init__(self, classes: int, pretrained: MobileNetV2ForSemanticSegmentation) -> None:
        super().__init__()
        self.backbone = pretrained.mobilenet_v2
        self.backbone.conv_1x1 = nn.Identity()  # for classification only
        self.backbone.pooler = None
        self.context = pretrained.segmentation_head
        deep, (half, quarter, eighth) = self.context.classifier.convolution.in_channels, self._widths()
        self.context.classifier = nn.Identity()
        self.context.dropout = nn.Dropout2d(0.1)
        self.to_eighth = SkipFusion(deep, eighth, 48, 128)
        self.to_quarter = SkipFusion(128, quarter, 32, 96)
        self.to_half = SkipFusion(96, half, 16, 48)
        self.classify = nn.Conv2d(48, classes, 1)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        features = [self.backbone.conv_stem(pixels)]
        for layer in self.backbone.layer:
            features.append(layer(features[-1]))
        eighth = self.to_eighth(self.context(features[-1]), features[EIGHTH])
        return self.classify(self.to_half(self.to_quarter(eighth, features[QUARTER]), features[HALF]))

    def _widths(self) -> tuple[int, ...]:
        blocks = [self.backbone.conv_stem, *self.backbone.layer]
        return tuple(blocks[index].reduce_1x1.convolution.out_channels for index in (HALF, QUARTER, EIGHTH))


def group_parameters(net: SegmentationNet) -> list[list[nn.Parameter]]:
    """Return the parameters of the backbone and of the rest."""
    rest = [p for name, p in net.named_parameters() if not name.startswith("backbone.")]
    return [list(net.backbone.parameters()), rest]


def segmentation_loss(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return the cross-entropy plus the Lovász loss, without ignored pixels.

    The Lovász loss sorts pixels, so it uses a random quarter of them.

    Args:
        logits: (n, classes, h, w).
        target: class indices (n, height, width), which are subsampled to the size of the logits.
    """
    labels = sample_labels(target.as_subclass(torch.Tensor).long(), logits)
    some = (..., *(slice(first, None, 2) for first in torch.randint(2, (2,)).tolist()))
    entropy = F.cross_entropy(logits, labels, ignore_index=IGNORED)
    return entropy + lovasz_softmax(logits[some].softmax(1), labels[some])


def sample_labels(labels: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Subsample labels to the size of `like`, one from the middle of each pixel, so that thin objects keep their share.

    2 by 2 labels have none in the middle: one of the four is drawn at random, so that nothing is shifted.
    """
    step = labels.shape[-2] // like.shape[-2]
    row, column = (step // 2 - torch.randint(2 - step % 2, (2,))).tolist()
    return labels[:, row::step, column::step]


def lovasz_softmax(probabilities: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return a smooth stand-in for 1 - mean IoU over the classes present (Berman et al., CVPR 2018).

    Args:
        probabilities: (n, classes, h, w).
        labels: class indices (n, h, w); ignored pixels are left out.
    """
    counted = labels != IGNORED
    p, y = probabilities.permute(0, 2, 3, 1)[counted], labels[counted]
    losses = []
    for index in y.unique():
        inside = (y == index).float()
        errors, order = (inside - p[:, index]).abs().sort(descending=True)
        sorted_inside = inside[order]
        missed = sorted_inside.sum() - sorted_inside.cumsum(0)
        union = sorted_inside.sum() + (1 - sorted_inside).cumsum(0)
        jaccard = 1 - missed / union
        losses.append((errors * jaccard.diff(prepend=jaccard.new_zeros(1))).sum())
    return torch.stack(losses).mean() if losses else probabilities.sum() * 0


def pixel_error(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return the share of wrong pixels, without ignored ones."""
    labels = target.as_subclass(torch.Tensor)
    fine = F.interpolate(logits, size=labels.shape[-2:], mode="bilinear", align_corners=False)
    counted = labels != IGNORED
    return (fine.argmax(1)[counted] != labels[counted]).float().mean()

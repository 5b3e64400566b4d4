"""The network of image segmentation: DeepLabV3 on MobileNetV2 and a decoder, and its loss."""

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F
from transformers import MobileNetV2ForSemanticSegmentation

HALF, QUARTER, EIGHTH = 0, 2, 5  # the last blocks of the backbone at these fractions of the picture's size
IGNORED = 255  # the label of pixels that are ignored
MOMENTUM = 0.1  # of BatchNorm's statistics; transformers sets 0.997, so that only the last batch would count


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
        resize = enlarge_by_products if self.training and coarse.is_cuda else enlarge
        return self.fuse(torch.cat([resize(coarse, early.shape[-2:]), self.reduce(early)], 1))


def enlarge(features: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    """Interpolate features bilinearly to a size (height, width)."""
    return F.interpolate(features, size=tuple(size), mode="bilinear", align_corners=False)


def enlarge_by_products(features: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    """Return what `enlarge` does, by matrix products.

    On a GPU the gradient of `enlarge` adds numbers one by one, in bfloat16 if the features are.
    """
    down, across = (
        F.interpolate(torch.eye(before, device=features.device)[None], size=after, mode="linear")[0].T
        for before, after in zip(features.shape[-2:], size, strict=True)
    )
    wide = across.to(features.dtype) @ features.permute(0, 2, 3, 1)  # (n, height, wider, channels)
    high = down.to(features.dtype) @ wide.flatten(2)
    return high.unflatten(2, (size[1], features.shape[1])).permute(0, 3, 1, 2)


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
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = MOMENTUM

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        features = [self.backbone.conv_stem(pixels)]
        for layer in self.backbone.layer[:EIGHTH]:
            features.append(layer(features[-1]))
        deep = self._run_deep(features[EIGHTH])
        context = self._find_context(deep) if self.training else self.context(deep)
        eighth = self.to_eighth(context, features[EIGHTH])
        return self.classify(self.to_half(self.to_quarter(eighth, features[QUARTER]), features[HALF]))

    def _run_deep(self, features: torch.Tensor) -> torch.Tensor:
        """Run the blocks after those at an eighth, which are dilated."""
        blocks = self.backbone.layer[EIGHTH:]
        largest = blocks[-1].conv_3x3.convolution.dilation[0]
        can_split = all(side % largest == 0 for side in features.shape[-2:])
        is_split = can_split and (self.training or features.is_cuda)  # the export is plain
        now = 1
        for block in blocks:
            dilation = block.conv_3x3.convolution.dilation[0]
            if is_split and dilation > now:
                features, now = split_places(features, dilation // now), dilation
            features = run_undilated(block, features) if now > 1 else block(features)
        while now > 1:
            features, now = join_places(features, 2), now // 2
        return features

    def _find_context(self, features: torch.Tensor) -> torch.Tensor:
        """Return what self.context does; it interpolates a single pixel, whose gradient is slow and inexact."""
        pooled = self.context.conv_pool(features.mean((2, 3), keepdim=True)).expand(-1, -1, *features.shape[-2:])
        joined = torch.cat([pooled, self.context.conv_aspp(features)], 1)
        return self.context.dropout(self.context.conv_projection(joined))

    def _widths(self) -> tuple[int, ...]:
        blocks = [self.backbone.conv_stem, *self.backbone.layer]
        return tuple(blocks[index].reduce_1x1.convolution.out_channels for index in (HALF, QUARTER, EIGHTH))


def group_parameters(net: SegmentationNet) -> list[list[nn.Parameter]]:
    """Return the parameters of the backbone and of the rest."""
    rest = [p for name, p in net.named_parameters() if not name.startswith("backbone.")]
    return [list(net.backbone.parameters()), rest]


def split_places(features: torch.Tensor, step: int) -> torch.Tensor:
    """Split (n, channels, height, width) into maps of every step-th row and column, (n * step², channels, ...).

    A convolution of the parts is a convolution of the whole with this dilation, which is slower.
    """
    n, channels, height, width = features.shape
    cells = features.permute(0, 2, 3, 1).reshape(n, height // step, step, width // step, step, channels)
    parts = cells.permute(2, 4, 0, 1, 3, 5).reshape(step * step * n, height // step, width // step, channels)
    return parts.permute(0, 3, 1, 2)


def join_places(parts: torch.Tensor, step: int) -> torch.Tensor:
    """Undo `split_places`."""
    count, channels, height, width = parts.shape
    cells = parts.permute(0, 2, 3, 1).reshape(step, step, count // step**2, height, width, channels)
    whole = cells.permute(2, 3, 0, 4, 1, 5).reshape(-1, height * step, width * step, channels)
    return whole.permute(0, 3, 1, 2)


def run_undilated(block: nn.Module, features: torch.Tensor) -> torch.Tensor:
    """Run a block of the backbone with dilation 1."""
    middle = block.conv_3x3
    hidden = block.expand_1x1(features)
    hidden = F.conv2d(hidden, middle.convolution.weight, padding=1, groups=hidden.shape[1])
    hidden = block.reduce_1x1(middle.activation(middle.normalization(hidden)))
    return features + hidden if block.use_residual else hidden


def segmentation_loss(logits: torch.Tensor, target: torch.Tensor, soft: torch.Tensor | None = None) -> torch.Tensor:
    """Return the cross-entropy plus the Lovász loss, without ignored pixels, and the distillation loss.

    The Lovász loss sorts pixels, so it uses a random quarter of them.

    Args:
        logits: (n, classes, h, w).
        target: class indices (n, height, width), which are subsampled to the size of the logits.
        soft: the teachers' probabilities, (n, classes, h, w), or None; the cross-entropy with them is added.
    """
    logits = logits.float()
    labels = sample_labels(target, logits).long()
    some = (..., *(slice(first, None, 2) for first in torch.randint(2, (2,)).tolist()))
    logs = logits.log_softmax(1)
    entropy = F.nll_loss(logs, labels, ignore_index=IGNORED)
    loss = entropy + lovasz_softmax(logs[some].exp(), labels[some])
    return loss if soft is None else loss - (soft * logs).sum(1).mean()


def soften(
    nets: Sequence[nn.Module], pictures: torch.Tensor, sizes: Sequence[tuple[int, int]], out: tuple[int, int]
) -> torch.Tensor:
    """Return the mean probabilities of several networks, for pictures of several sizes and mirrored.

    Args:
        nets: networks in evaluation mode.
        pictures: normalised pictures (n, 3, height, width).
        sizes: (height, width) to which the pictures are resized.
        out: (height, width) of the probabilities.

    Returns:
        (n, classes, *out) uint8, from 0 to 255.
    """
    total, count = torch.zeros((), device=pictures.device), 0
    for size in sizes:
        resized = enlarge(pictures, size).contiguous(memory_format=torch.channels_last)
        for net in nets:
            for sides in ((), (3,)):
                logits = net(resized.flip(sides)).float().flip(sides)
                total, count = total + enlarge(logits, out).softmax(1), count + 1
    return (total / count * 255).round().to(torch.uint8)


def sample_labels(labels: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Subsample labels to the size of `like`, one from the middle of each pixel, so that thin objects keep their share.

    2 by 2 labels have none in the middle: one of the four is drawn at random, so that nothing is shifted.
    """
    step = labels.shape[-2] // like.shape[-2]
    row, column = (step // 2 - torch.randint(2 - step % 2, (2,))).tolist()
    return labels[:, row::step, column::step]


def lovasz_softmax(probabilities: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return a smooth stand-in for 1 - mean IoU over the classes present (Berman et al., CVPR 2018).

    All classes are computed at once, and the shapes do not depend on the labels, so that a GPU never waits.

    Args:
        probabilities: (n, classes, h, w).
        labels: class indices (n, h, w); ignored pixels are left out.
    """
    classes = torch.arange(probabilities.shape[1], device=labels.device)[:, None]
    y, p = labels.flatten(), probabilities.transpose(0, 1).flatten(1)
    inside = y == classes
    # An ignored pixel is outside every class with an error of 0: it is sorted last and adds nothing.
    errors = ((inside.to(p.dtype) - p).abs() * (y != IGNORED)).contiguous()
    errors, order = errors.sort(dim=1, descending=True)
    found = inside.gather(1, order).cumsum(1).to(p.dtype)
    size = found[:, -1:]
    outside = torch.arange(1, len(y) + 1, device=labels.device) - found
    jaccard = 1 - (size - found) / (size + outside)
    losses = (errors * jaccard.diff(dim=1, prepend=jaccard.new_zeros(len(jaccard), 1))).sum(1)
    present = size[:, 0] > 0
    return (losses * present).sum() / present.sum().clamp(min=1)


def pixel_error(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return the share of wrong pixels, without ignored ones."""
    labels = target.as_subclass(torch.Tensor)
    fine = F.interpolate(logits, size=labels.shape[-2:], mode="bilinear", align_corners=False)
    counted = labels != IGNORED
    return (fine.argmax(1)[counted] != labels[counted]).float().mean()

"""The network of image segmentation: what training computes differently is the same, and its losses."""

import copy

import pytest

torch = pytest.importorskip("torch", reason="torch and fastai are not installed: make test-all")
from torch.nn import functional as F

from training.learner import set_seed
from training.networks.image_segmentation import (
    EIGHTH,
    IGNORED,
    MOMENTUM,
    QUARTER,
    SegmentationNet,
    enlarge,
    enlarge_by_products,
    join_places,
    lovasz_softmax,
    segmentation_loss,
    soften,
    split_places,
)
from training.recipes.image_segmentation import ImageSegmentationSettings, load_backbone

pytestmark = pytest.mark.training


def small_net(classes=3):
    set_seed(0)
    return SegmentationNet(classes, load_backbone(ImageSegmentationSettings.smoke()))


def run_plainly(net, pixels):
    """The network, layer by layer."""
    features = [net.backbone.conv_stem(pixels)]
    for layer in net.backbone.layer:
        features.append(layer(features[-1]))
    eighth = net.to_eighth(net.context(features[-1]), features[EIGHTH])
    return net.classify(net.to_half(net.to_quarter(eighth, features[QUARTER]), features[0]))


@pytest.mark.parametrize("size", [(64, 96), (48, 80)])
def test_training_computes_the_plain_network(size):
    """With split dilated layers where the size allows it, and without where it does not."""
    net = small_net().double().train()
    net.context.dropout.p = 0.0
    plain, pixels = copy.deepcopy(net), torch.randn(2, 3, *size, dtype=torch.double)
    found, expected = net(pixels), run_plainly(plain, pixels)
    assert torch.allclose(found, expected, atol=1e-8)
    weights = torch.randn_like(found)
    (found * weights).sum().backward()
    (expected * weights).sum().backward()
    for mine, theirs in zip(net.parameters(), plain.parameters(), strict=True):
        assert torch.allclose(mine.grad, theirs.grad, atol=1e-6)
    for mine, theirs in zip(net.buffers(), plain.buffers(), strict=True):
        assert torch.allclose(mine, theirs, atol=1e-8)


def test_parts_of_every_second_place_are_joined_again():
    whole = torch.arange(2 * 3 * 8 * 12.0).view(2, 3, 8, 12)
    parts = split_places(whole, 2)
    assert parts.shape == (8, 3, 4, 6)
    assert torch.equal(parts[0], whole[0, :, ::2, ::2])
    assert torch.equal(parts[-1], whole[1, :, 1::2, 1::2])
    assert torch.equal(join_places(parts, 2), whole)


@pytest.mark.parametrize("size", [(24, 32), (23, 31)])
def test_products_enlarge_as_interpolation_does(size):
    features, again = (torch.randn(2, 5, 12, 16, generator=torch.Generator().manual_seed(0)) for _ in range(2))
    found, expected = enlarge_by_products(features.requires_grad_(), size), enlarge(again.requires_grad_(), size)
    assert torch.allclose(found, expected, atol=1e-5)
    weights = torch.randn_like(found)
    (found * weights).sum().backward()
    (expected * weights).sum().backward()
    assert torch.allclose(features.grad, again.grad, atol=1e-4)


def test_batch_statistics_are_averages():
    assert {module.momentum for module in small_net().modules() if hasattr(module, "running_mean")} == {MOMENTUM}


def plain_lovasz(probabilities, labels):
    """The Lovász loss, class by class, without the ignored pixels."""
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
    return torch.stack(losses).mean()


@pytest.mark.parametrize("seed", range(5))
def test_lovasz_of_all_classes_at_once_is_that_of_each(seed):
    torch.manual_seed(seed)
    logits = torch.randn(2, 7, 9, 11)
    labels = torch.randint(0, 7, (2, 9, 11)).clamp(1, 5)  # two classes are absent
    labels[torch.rand(labels.shape) < 0.3] = IGNORED
    one, other = (logits.clone().requires_grad_() for _ in range(2))
    found, expected = lovasz_softmax(one.softmax(1), labels), plain_lovasz(other.softmax(1), labels)
    assert found.item() == pytest.approx(expected.item(), abs=1e-6)
    found.backward()
    expected.backward()
    assert torch.allclose(one.grad, other.grad, atol=1e-7)


def test_the_teachers_answers_add_the_cross_entropy_with_them():
    logits, soft = torch.randn(2, 3, 8, 8), torch.randn(2, 3, 8, 8).softmax(1)
    labels = torch.full((2, 16, 16), IGNORED, dtype=torch.uint8)
    labels[:, :8] = 1
    losses = []
    for more in ((), (soft,)):
        torch.manual_seed(0)
        losses.append(float(segmentation_loss(logits, labels, *more)))
    assert losses[1] - losses[0] == pytest.approx(float(F.cross_entropy(logits, soft)), abs=1e-5)


def test_the_loss_of_bfloat16_is_computed_in_float32():
    logits, labels = torch.randn(2, 3, 8, 8).bfloat16(), torch.randint(0, 3, (2, 16, 16), dtype=torch.uint8)
    assert segmentation_loss(logits, labels).dtype == torch.float32


def test_teachers_answers_are_averaged_over_sizes_and_sides():
    def answer_by_place(pictures):
        """The first class on the left, where a picture is dark; the same for both when it is mirrored."""
        return torch.cat([-pictures[:, :1], pictures[:, :1]], 1) * 1000

    pictures = torch.ones(1, 3, 32, 48)
    pictures[..., :24] = -1
    found = soften([answer_by_place, answer_by_place], pictures, [(32, 48), (48, 64)], (16, 24))
    assert (found.dtype, found.shape) == (torch.uint8, (1, 2, 16, 24))
    assert (found[0, 0, :, :10] == 255).all()
    assert (found[0, 1, :, 14:] == 255).all()

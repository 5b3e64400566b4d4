"""Fit how much less certain a picture classifier is of pictures that show two labels."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch and fastai are not installed: make test-all")
from torch import nn

from training.networks.image_classification import LabelConflict
from training.pictures import conflict
from training.pictures.conflict import PAIRS, draw_pairs, fit_conflict

pytestmark = pytest.mark.training
SIZE = 16
MEAN = STD = (0.5, 0.5, 0.5)


class Colours(nn.Module):
    """Red places are evidence of the first label, and blue ones of the second, which counts three times as much."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([[4.0, 0, 0], [0, 0, 12.0]])[:, :, None, None])
        self.conflict = LabelConflict()

    def forward(self, pixels):
        maps = nn.functional.conv2d(pixels + 1, self.weight)
        divisor = self.conflict(maps)
        return maps.mean((2, 3)) / divisor[:, None], divisor, maps / divisor[:, None, None, None]


@pytest.fixture
def coloured():
    """Return red and blue pictures of random brightness, and their labels."""
    rng = np.random.default_rng(0)
    y = np.arange(120) % 2
    pictures = torch.zeros(120, 3, SIZE, SIZE, dtype=torch.uint8)
    for row, label in enumerate(y):
        pictures[row, 2 * label] = int(rng.integers(150, 256))
    return pictures, y


def test_pairs_show_two_different_labels(coloured):
    pictures, y = coloured
    pairs, labels = draw_pairs(pictures, y, np.random.default_rng(1))
    assert (pairs.shape, labels.shape) == ((PAIRS, 3, SIZE, SIZE), (PAIRS, 2))
    assert (labels[:, 0] != labels[:, 1]).all()
    half = SIZE // 2
    above, below = pairs[0, :, :half], pairs[0, :, half:]
    left, right = pairs[1, :, :, :half], pairs[1, :, :, half:]
    for number, parts in enumerate([(above, below), (left, right)]):
        for part, label in zip(parts, labels[number], strict=True):
            assert float(part[2 * label].float().mean()) >= 150
            assert float(part[2 - 2 * label].float().max()) == 0


def test_it_is_less_certain_of_two_labels_and_as_certain_of_one(coloured):
    pictures, y = coloured
    module = Colours()
    pairs, _ = draw_pairs(pictures, y, np.random.default_rng(2))

    def predict(shown):
        with torch.no_grad():
            logits = module((shown.float() / 255 - 0.5) / 0.5)[0]
        return logits.softmax(1).amax(1)

    alone, together = predict(pictures), predict(pairs)
    assert float((together > 0.95).float().mean()) > 0.5
    fit_conflict(module, pictures, y, MEAN, STD, seed=0)
    assert float((predict(pairs) > 0.95).float().mean()) < 0.05
    assert torch.allclose(predict(pictures), alone, atol=1e-3)


def test_a_classifier_that_is_not_certain_of_pairs_hardly_changes(coloured):
    pictures, y = coloured
    module = Colours()
    with torch.no_grad():
        module.weight.mul_(1e-3)
        before = module(pictures.float() / 255)[0].softmax(1)
        fit_conflict(module, pictures, y, MEAN, STD, seed=0)
        assert torch.allclose(module(pictures.float() / 255)[0].softmax(1), before, atol=1e-4)


def test_nothing_is_fitted_to_few_pictures_or_one_label(coloured):
    pictures, y = coloured
    few = slice(conflict.LEAST - 1)
    for shown, labels in ((pictures[few], y[few]), (torch.cat([pictures[::2]] * 2), np.zeros(120, np.int64))):
        module = Colours()
        fit_conflict(module, shown, labels, MEAN, STD, seed=0)
        assert float(module.conflict.slope) == 0


def test_an_odd_size_is_divided_into_two_unequal_parts():
    pictures = torch.full((2, 3, 9, 9), 7, dtype=torch.uint8)
    pairs, _ = draw_pairs(pictures, np.array([0, 1]), np.random.default_rng(0))
    assert pairs.shape == (conflict.PAIRS, 3, 9, 9)
    assert set(pairs.unique().tolist()) == {7}

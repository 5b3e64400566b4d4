"""Pictures of the test that are nearly those of other parts: how near is near."""

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch and fastai are not installed: make test-all")
from training.own_data.near_copies import find_near_copies

pytestmark = pytest.mark.training


def make_slope(step=10):
    """Return a small picture whose rows get lighter from left to right."""
    return np.broadcast_to(np.arange(17, dtype=np.uint8)[:, None] * step, (16, 17, 3)).copy()


def find(test, others, labels=(0, 0)):
    """Return the near copies among pictures of one label, and others of one."""
    return find_near_copies(
        *([(small, label) for small in part] for part, label in zip((test, others), labels, strict=True))
    )


def flatten(picture, count):
    """Return a copy with so many fewer differences of neighbours, all in the first rows."""
    copy = picture.copy()
    for row, column in [(row, column) for row in range(16) for column in range(1, 17, 2)][:count]:
        copy[row, column] = copy[row, column - 1]
    return copy


@pytest.mark.parametrize(("brighter", "is_near"), [(0, True), (6, True), (7, False)])
def test_a_copy_has_nearly_the_same_levels(brighter, is_near):
    slope = make_slope()
    assert find([slope], [slope + np.uint8(brighter)]) == [(0, 0)] * is_near
    assert find([slope + np.uint8(brighter)], [slope]) == [(0, 0)] * is_near


@pytest.mark.parametrize(("count", "is_near"), [(24, True), (25, False)])
def test_a_copy_has_nearly_the_same_differences_of_neighbours(count, is_near):
    slope = make_slope()
    assert find([slope], [flatten(slope, count)]) == [(0, 0)] * is_near


def test_a_copy_is_found_among_others_with_its_differences():
    slope = make_slope()
    others = [slope + np.uint8(20 + number) for number in range(40)]
    assert find([slope], [*others, slope]) == [(0, 40)]
    noise = list(np.random.default_rng(0).integers(0, 256, (40, 16, 17, 3), dtype=np.uint8))
    assert find([noise[7], slope, noise[9]], noise) == [(0, 7), (2, 9)]


def test_plain_pictures_and_none_have_no_copies():
    plain = np.full((16, 17, 3), 200, np.uint8)
    plain[:, 8:] = 210  # a standard deviation of 5
    assert find([plain], [plain]) == []
    plain[:, 8:] = 220
    assert find([plain], [plain]) == [(0, 0)]
    assert find([], [plain]) == find([plain], []) == []


def test_pictures_of_other_labels_or_other_figures_on_a_plain_ground_are_no_copies():
    slope = make_slope()
    assert find([slope], [slope], labels=(0, 1)) == []
    grounds = [np.full((16, 17, 3), 250, np.uint8) for _ in range(2)]
    grounds[0][3:6, 3:6] = grounds[1][3:6, 4:7] = 0  # the levels differ by 6 at most
    assert np.abs(grounds[0].astype(int) - grounds[1]).mean() < 6
    assert find(grounds[:1], grounds[1:]) == []
    assert find(grounds[:1], grounds[:1]) == [(0, 0)]

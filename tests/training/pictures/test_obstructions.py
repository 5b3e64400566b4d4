"""Pictures made harder in batches: what is changed, how much of a batch, and the targets of two pictures in one."""

import random

import pytest

torch = pytest.importorskip("torch", reason="torch and fastai are not installed: make test-all")
from training.pictures import obstructions

pytestmark = pytest.mark.training
DRAW = (
    obstructions.draw_wires,
    obstructions.draw_bars,
    obstructions.reduce_colours,
    obstructions.reduce_pixels,
    obstructions.turn_grey,
)


@pytest.fixture(autouse=True)
def seed():
    random.seed(0)
    torch.manual_seed(0)


def scenes(count=8, size=96):
    """Return smooth coloured pictures."""
    small = torch.rand(count, 3, 6, 6)
    return torch.nn.functional.interpolate(small, (size, size), mode="bilinear")


@pytest.mark.parametrize("draw", DRAW)
def test_every_function_changes_every_picture_and_stays_between_0_and_1(draw):
    before = scenes()
    kept = before.clone()
    after = draw(before)
    assert torch.equal(before, kept)
    assert after.shape == before.shape
    assert 0 <= float(after.min()) <= float(after.max()) <= 1
    assert all((a - b).abs().mean() > 1e-3 for a, b in zip(after, before, strict=True))


def test_lines_have_the_distance_and_thickness_that_are_asked_for():
    one = torch.ones(1, 1, 1, 1)
    cover = obstructions.cover_with_lines(torch.zeros(1, 3, 200, 200), 0 * one, 0.1 * one, 0.02 * one)
    assert torch.allclose(cover[0, 0, 0], cover[0, 0, 150])  # upright lines
    assert float(cover.mean()) == pytest.approx(0.2, abs=0.02)
    starts = (cover[0, 0, 0].round().diff() > 0).sum()
    assert 9 <= int(starts) <= 11


def test_wires_and_bars_hide_only_a_part():
    for draw in (obstructions.draw_wires, obstructions.draw_bars):
        before = scenes(64)
        hidden = ((draw(before) - before).abs().amax(1) > 0.02).float().mean((1, 2))
        assert 0.08 < float(hidden.mean()) < 0.5


def test_few_colours_are_left_and_lonely_pixels_vanish():
    pictures = torch.full((1, 3, 16, 16), 0.9)
    pictures[:, :, 8, 8] = 0.1
    assert torch.allclose(obstructions.take_most_frequent(pictures, 4, 3), torch.full_like(pictures, 0.75))
    for _ in range(10):
        assert len(obstructions.reduce_colours(scenes(1)).unique()) <= 32


def test_the_majority_of_a_batch_stays_as_it_is():
    changed = []
    for _ in range(20):
        before = scenes(32, 48)
        after = obstructions.obstruct(before.clone())
        changed.append((after != before).flatten(1).any(1).float().mean())
    assert 0.2 < float(torch.stack(changed).mean()) < 0.5


def test_two_pictures_in_one_have_the_mean_of_both_targets():
    pictures = torch.zeros(16, 3, 32, 32)
    pictures[8:] = 1
    targets = torch.eye(2)[(torch.arange(16) >= 8).long()]
    kinds = torch.eye(16)
    mixed, soft, parents = obstructions.mix(pictures.clone(), targets.clone(), kinds, share=0.5)
    both = (soft == 0.5).all(1)
    assert int(both.sum()) == 8
    assert torch.equal((mixed != pictures).flatten(1).any(1), both)
    assert torch.equal((parents > 0).sum(1) == 2, both)
    assert torch.allclose(mixed[both].mean((1, 2, 3)), torch.tensor(0.5), atol=0.12)
    assert torch.equal(soft[~both], targets[~both])
    assert int((both & (targets[:, 0] == 1)).sum()) == 4  # of each label as many


def test_mixing_copes_with_one_picture_or_one_label():
    targets = torch.eye(3)[torch.zeros(4, dtype=torch.long)]
    mixed, soft = obstructions.mix(scenes(4), targets.clone(), share=1)
    assert torch.equal(soft, targets)
    assert mixed.shape == (4, 3, 96, 96)
    assert obstructions.mix(scenes(1), targets[:1], share=1)[1].tolist() == [[1, 0, 0]]


def test_the_mean_share_is_right_for_small_batches():
    counts = [len(obstructions.draw_rows(torch.empty(4, 1), 0.1)) for _ in range(2000)]
    assert sum(counts) / len(counts) == pytest.approx(0.4, abs=0.05)

"""Random warps and light on batches of pictures."""

import math

import pytest

torch = pytest.importorskip("torch", reason="torch and fastai are not installed: make test-all")

from training.pictures.augmentation import change_light, draw_warps, erase, make_grids, sample

pytestmark = pytest.mark.training

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def warp(pictures, size=None, **options):
    warps = draw_warps(len(pictures), CPU, **options)
    return sample(pictures, make_grids(warps, size or tuple(pictures.shape[2:])))


def test_a_warp_without_options_changes_nothing():
    pictures = torch.rand(3, 3, 20, 30)
    assert torch.allclose(warp(pictures, flip=0), pictures, atol=1e-5)
    assert torch.allclose(warp(pictures, flip=1), pictures.flip(3), atol=1e-5)


def test_half_of_the_pictures_are_mirrored():
    mirrored = draw_warps(1000, CPU)[:, 0, 0] < 0
    assert 430 < mirrored.sum() < 570


def test_a_zoom_of_two_shows_a_quarter_inside_the_picture():
    x, y = torch.meshgrid(torch.linspace(-1, 1, 40), torch.linspace(-1, 1, 40), indexing="xy")
    shown = warp(torch.stack([x, y])[None].expand(50, 2, 40, 40), zoom=(2, 2), flip=0)
    spans = shown.amax((2, 3)) - shown.amin((2, 3))
    assert torch.allclose(spans, torch.ones(50, 2), atol=0.06)
    assert shown[:, 0].mean((1, 2)).std() > 0.2  # at different places
    assert draw_warps(50, CPU, zoom=(2, 2))[:, :2, 2].abs().max() <= 0.5


def test_a_rotation_keeps_right_angles_of_a_wide_picture():
    aspect = 2.0
    rows = draw_warps(100, CPU, rotate=90, flip=0, aspect=aspect)[:, :2, :2]
    angles = torch.atan2(rows[:, 1, 0] / aspect, rows[:, 0, 0])
    assert angles.abs().max() <= math.pi / 2 + 1e-4
    assert angles.abs().max() > 1.4
    in_pixels = rows * torch.tensor([[1, aspect], [1 / aspect, 1]])
    assert torch.allclose(in_pixels @ in_pixels.transpose(1, 2), torch.eye(2).expand(100, 2, 2), atol=1e-4)


def test_masks_keep_their_values():
    masks = torch.randint(0, 5, (8, 1, 30, 40)).float()
    warps = draw_warps(8, CPU, zoom=(0.7, 2), rotate=10, perspective=0.1)
    assert set(sample(masks, make_grids(warps, (16, 24)), "nearest").unique().tolist()) <= set(range(5))


def test_light_changes_most_pictures_and_stays_in_range():
    pictures = torch.rand(200, 3, 8, 8)
    lit = change_light(pictures, 0.4, 0.4)
    assert lit.min() >= 0
    assert lit.max() <= 1
    unchanged = (lit - pictures).abs().amax((1, 2, 3)) < 1e-5
    assert unchanged.sum() < 20
    assert torch.allclose(change_light(pictures, 0.0, 0.0), pictures, atol=1e-5)


def test_a_rectangle_of_some_pictures_is_erased():
    pictures = torch.full((400, 3, 32, 32), 2.0)
    erased = erase(pictures) != 2
    shares = erased[:, 0].float().mean((1, 2))
    assert 80 < (shares > 0).sum() < 165
    assert shares.max() <= 0.55**2 + 0.03
    for mask in erased[shares > 0][:20, 0]:
        rows, columns = mask.any(1), mask.any(0)
        assert torch.equal(mask, rows[:, None] & columns)

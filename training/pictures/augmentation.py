"""Augment batches of pictures on the device that they are on: one warp for all geometry, then light and colour.

All random numbers are drawn on that device, so a GPU never waits for the CPU.
"""

import math

import torch
from torch.nn import functional as F


def draw_warps(
    count: int,
    device: torch.device,
    *,
    zoom: tuple[float, float] = (1.0, 1.0),
    rotate: float = 0.0,
    perspective: float = 0.0,
    flip: float = 0.5,
    aspect: float = 1.0,
) -> torch.Tensor:
    """Draw random warps, (count, 3, 3): they map the coordinates of an output to those of its input.

    Coordinates are homogeneous; x and y go from -1 to 1. A warp that zooms in shows a random part, and one that zooms
    out has the picture at a random place.

    Args:
        count: number of warps.
        device: where they are drawn.
        zoom: smallest and largest zoom; 1 shows the whole picture.
        rotate: largest rotation, in degrees.
        perspective: largest weight of x and of y in the perspective division.
        flip: probability that left and right are exchanged.
        aspect: width of the picture divided by its height, so that rotation keeps right angles.
    """

    def uniform(low: float, high: float) -> torch.Tensor:
        return torch.rand(count, device=device) * (high - low) + low

    scale = torch.exp(-uniform(math.log(zoom[0]), math.log(zoom[1])))
    angle = uniform(-math.radians(rotate), math.radians(rotate))
    mirror = 1 - 2 * (torch.rand(count, device=device) < flip).float()
    cosine, sine, room = angle.cos() * scale, angle.sin() * scale, (1 - scale).abs()
    rows = [
        torch.stack([cosine * mirror, -sine / aspect, uniform(-1, 1) * room], 1),
        torch.stack([sine * mirror * aspect, cosine, uniform(-1, 1) * room], 1),
        torch.stack(
            [uniform(-perspective, perspective), uniform(-perspective, perspective), torch.ones_like(scale)], 1
        ),
    ]
    return torch.stack(rows, 1)


def make_grids(warps: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Return the sampling grids (n, height, width, 2) of warps (n, 3, 3) for outputs of a size (height, width)."""
    height, width = size
    y, x = ((torch.arange(length, device=warps.device, dtype=warps.dtype) * 2 + 1) / length - 1 for length in size)
    places = torch.stack(
        [x.expand(height, width), y[:, None].expand(height, width), torch.ones_like(x).expand(height, width)], -1
    )
    mapped = places.flatten(0, 1) @ warps.transpose(1, 2)
    return (mapped[..., :2] / mapped[..., 2:]).unflatten(1, size)


def sample(pictures: torch.Tensor, grids: torch.Tensor, mode: str = "bilinear") -> torch.Tensor:
    """Sample pictures (n, channels, height, width) at grids; beyond its border a picture is mirrored."""
    return F.grid_sample(pictures, grids, mode=mode, padding_mode="reflection", align_corners=False)


def change_light(pictures: torch.Tensor, amount: float, saturation: float, share: float = 0.8) -> torch.Tensor:
    """Change contrast and brightness by up to `amount`, and saturation, of this share of pictures from 0 to 1."""
    shape, device = (len(pictures), 1, 1, 1), pictures.device

    def draw(most: float) -> torch.Tensor:
        is_changed = torch.rand(shape, device=device) < share
        return (torch.rand(shape, device=device) * 2 - 1) * most * is_changed

    centre = pictures.mean((1, 2, 3), keepdim=True)
    lit = (pictures - centre) * torch.exp(draw(amount)) + centre + draw(amount / 2)
    grey = lit.mean(1, keepdim=True)
    return (grey + (lit - grey) * torch.exp(draw(saturation))).clamp(0, 1)


def erase(pictures: torch.Tensor, share: float = 0.3, largest: float = 0.55) -> torch.Tensor:
    """Replace a rectangle of this share of the pictures by noise; its sides are up to `largest` of theirs."""
    count, channels, height, width = pictures.shape
    device = pictures.device
    inside = torch.rand(count, 1, 1, 1, device=device) < share
    for axis, length in ((2, height), (3, width)):
        span = torch.rand(count, 1, 1, 1, device=device) * (largest - 0.15) + 0.15
        start = torch.rand(count, 1, 1, 1, device=device) * (1 - span)
        places = (torch.arange(length, device=device) / length).view([-1 if i == axis else 1 for i in range(4)])
        inside = inside & (places >= start) & (places < start + span)
    noise = torch.rand(count, channels, height, width, device=device, dtype=pictures.dtype)
    return torch.where(inside, noise, pictures)

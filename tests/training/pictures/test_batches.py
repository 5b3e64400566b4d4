"""Batches of pictures: what is augmented, and what is held fixed."""

import pytest

torch = pytest.importorskip("torch", reason="torch and fastai are not installed: make test-all")
from fastai.data.core import DataLoaders
from fastai.learner import Learner

from training.pictures.batches import FrozenBatchNorm, PictureLoader

pytestmark = pytest.mark.training
HALF = (0.5, 0.5, 0.5)


def pictures(count=8, size=32):
    return torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_without_augmentation_a_batch_is_what_the_model_is_served():
    (x, y) = next(iter(PictureLoader(pictures(), torch.arange(8), bs=8, mean=HALF, std=HALF)))
    assert torch.allclose(x, pictures().float() / 127.5 - 1, atol=1e-6)
    assert y.tolist() == list(range(8))


def test_an_augmentation_gets_the_whole_batch_and_may_change_all_of_it():
    def augment(floats, y):
        seen.append((floats.shape, float(floats.min()) >= 0, float(floats.max()) <= 1))
        return torch.zeros(len(floats), 3, 16, 16), y + 1

    seen = []
    loader = PictureLoader(pictures(), torch.arange(8), bs=4, mean=HALF, std=HALF, augment=augment)
    (x, y), (_, more) = loader
    assert seen == [(torch.Size([4, 3, 32, 32]), True, True)] * 2
    assert torch.equal(x, torch.full((4, 3, 16, 16), -1.0))  # normalised afterwards
    assert [*y.tolist(), *more.tolist()] == list(range(1, 9))


def test_frozen_batchnorm_keeps_its_statistics_and_moves_its_weights():
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Flatten(), torch.nn.LazyLinear(2)
    )
    loader = PictureLoader(pictures(), torch.arange(8) % 2, bs=4, mean=HALF, std=HALF)
    net(next(iter(loader))[0])
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.reset_running_stats()
    learn = Learner(DataLoaders(loader, loader), net, loss_func=torch.nn.CrossEntropyLoss(), cbs=FrozenBatchNorm())
    with learn.no_bar(), learn.no_logging():
        learn.fit(2, 1e-2)
    assert net[1].running_mean.tolist() == [0] * 4
    assert net[1].weight.tolist() != [1] * 4

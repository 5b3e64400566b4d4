"""Steps of training: batches that are too large for the memory, and mixed precision."""

import re

import pytest

torch = pytest.importorskip("torch", reason="torch and fastai are not installed: make test-all")
from fastai.callback.core import Callback
from fastai.callback.training import GradientAccumulation
from fastai.data.core import DataLoaders
from fastai.learner import Learner

from tests.training.pictures.test_batches import HALF, pictures
from training import learner
from training.learner import CpuBfloat16, NoValidation, RowLoader, retry_with_smaller_batches
from training.pictures.batches import PictureLoader

pytestmark = pytest.mark.training


def test_out_of_memory_halves_the_batch_and_keeps_the_step():
    seen = []

    def train(size, callbacks, is_again):
        seen.append((size, [callback.n_acc for callback in callbacks], is_again))
        if size > 16:
            raise torch.OutOfMemoryError("no")
        return "done"

    assert retry_with_smaller_batches(train, 64) == "done"
    assert seen == [(64, [], False), (32, [64], True), (16, [64], True)]
    with pytest.raises(torch.OutOfMemoryError):
        retry_with_smaller_batches(lambda *_: (_ for _ in ()).throw(torch.OutOfMemoryError()), 64)


@pytest.mark.parametrize(("batch", "sizes"), [(63, [63, 21, 13, 7, 3]), (33, [33, 11, 7, 4, 2]), (5, [5, 2])])
def test_out_of_memory_leaves_a_step_as_large_as_equal_parts_allow(batch, sizes, capsys):
    seen = []

    def train(size, callbacks, _is_again):
        seen.append((size, callbacks[0].n_acc if callbacks else size))
        raise torch.OutOfMemoryError("no")

    with pytest.raises(torch.OutOfMemoryError):
        retry_with_smaller_batches(train, batch)
    said = re.findall(r"batches of (\d+), (\d+) per step", capsys.readouterr().out)
    assert [size for size, _ in seen] == sizes
    assert [(int(size), int(size) * int(parts)) for size, parts in said] == seen[1:]
    assert all(abs(step - batch) <= step / size / 2 for size, step in seen)


@pytest.mark.parametrize(("at_once", "size", "step"), [(None, 100, 100), (100, 100, 100), (32, 25, 100), (3, 3, 102)])
def test_a_cpu_takes_a_large_batch_in_parts(monkeypatch, at_once, size, step):
    def train(size, callbacks, is_again):
        return size, [callback.n_acc for callback in callbacks], is_again

    assert retry_with_smaller_batches(train, 100, at_once) == (size, [step] * (size < 100), False)
    monkeypatch.setattr(learner, "default_device", lambda: torch.device("cuda"))
    assert retry_with_smaller_batches(train, 100, at_once) == (100, [], False)


def test_a_step_of_uneven_parts_covers_its_items():
    sizes, steps = [], []

    class Count(Callback):
        order = 100

        def before_batch(self):
            sizes.append(len(self.xb[0]))

        def after_step(self):
            steps.append(sum(sizes))

    def train(size, callbacks, _is_again):
        x = torch.rand(640, 3)
        rows = RowLoader(x, x.sum(1, keepdim=True), bs=size, drop_last=True)
        learn = Learner(
            DataLoaders(rows, rows), torch.nn.Linear(3, 1), loss_func=torch.nn.functional.mse_loss,
            cbs=[NoValidation(), Count(), *callbacks],
        )  # fmt: skip
        with learn.no_bar(), learn.no_logging():
            learn.fit(1, 1e-3)

    retry_with_smaller_batches(train, 63, 32)
    assert set(sizes) == {32}
    assert steps == list(range(64, 641, 64))


def test_out_of_memory_in_mid_batch_leaves_no_autocast_behind():
    sizes, layer = [], torch.nn.Linear(4, 2)

    def train(size, _callbacks, _is_again):
        sizes.append((size, torch.is_autocast_enabled("cpu"), layer(torch.ones(1, 4)).dtype))
        autocast = torch.autocast("cpu", torch.bfloat16)
        autocast.__enter__()
        layer(torch.ones(1, 4))
        if size > 8:
            raise torch.OutOfMemoryError("no")
        autocast.__exit__(None, None, None)

    retry_with_smaller_batches(train, 32)
    assert sizes == [(size, False, torch.float32) for size in (32, 16, 8)]


def test_accumulated_small_batches_step_like_a_large_one():
    def weights(bs, callbacks):
        torch.manual_seed(0)
        net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 32 * 32, 2))
        loader = PictureLoader(pictures(16), torch.arange(16) % 2, bs=bs, mean=HALF, std=HALF)
        from fastai.optimizer import SGD

        learn = Learner(
            DataLoaders(loader, loader), net, loss_func=torch.nn.CrossEntropyLoss(), opt_func=SGD, cbs=callbacks
        )
        with learn.no_bar(), learn.no_logging():
            learn.fit(1, 0.01, wd=0)
        return net[1].weight.detach()

    assert torch.allclose(weights(16, []), weights(4, [GradientAccumulation(16)]), atol=1e-6)


def test_mixed_precision_on_a_cpu_trains_in_bfloat16_and_leaves_float32_behind():
    seen = []

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = torch.nn.Linear(3 * 32 * 32, 2)

        def forward(self, x):
            y = self.linear(x.flatten(1))
            seen.append(y.dtype)
            return y

    class Convolutional(Net):
        def __init__(self):
            super().__init__()
            self.plain = torch.nn.Conv2d(3, 3, 3, padding=1, groups=3)
            self.strided = torch.nn.Conv2d(3, 3, 3, padding=1, stride=2, groups=3)
            self.linear = torch.nn.Linear(3 * 16 * 16, 2)

        def forward(self, x):
            plain = self.plain(x)
            strided = self.strided(plain)
            kinds.append((plain.dtype, strided.dtype))
            return super().forward(strided)

    kinds = []
    loader = PictureLoader(pictures(), torch.arange(8) % 2, bs=4, mean=HALF, std=HALF)
    for net in (Net(), Convolutional()):
        learn = Learner(DataLoaders(loader, loader), net, loss_func=torch.nn.CrossEntropyLoss(), cbs=CpuBfloat16())
        with learn.no_bar(), learn.no_logging():
            learn.fit(1, 1e-3)
    assert set(seen) == {torch.bfloat16}
    assert set(kinds) == {(torch.bfloat16, torch.float32)}  # where bfloat16 is slower on a CPU
    assert "forward" not in vars(net.strided)  # and as it was, afterwards
    assert learn.model.linear.weight.dtype == torch.float32
    assert not torch.is_autocast_enabled("cpu")

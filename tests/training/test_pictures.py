"""Training on pictures: what is held fixed, what is augmented, and what happens when memory runs out."""

import re

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch and fastai are not installed: make test-all")
import onnx
from fastai.callback.core import Callback
from fastai.callback.training import GradientAccumulation
from fastai.data.core import DataLoaders
from fastai.learner import Learner
from onnx import numpy_helper
from PIL import Image

from shared.session import Session
from training import export, learner, parity
from training.evaluate import fit_temperature
from training.learner import CpuBfloat16, NoValidation, RowLoader, retry_with_smaller_batches
from training.pictures import FrozenBatchNorm, PictureLoader, compute_outputs, normalise, run_torch, write_examples

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


def test_outputs_are_those_of_evaluation():
    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.convolution = torch.nn.Conv2d(3, 4, 3, stride=2)
            self.norm = torch.nn.BatchNorm2d(4)
            self.last = torch.nn.Linear(4, 2)

        def forward(self, pixels):
            features = self.norm(self.convolution(pixels)).relu()
            pooled = torch.nn.functional.dropout(features.mean((2, 3)), 0.9, self.training)
            return self.last(pooled), features

    parts = pictures(70), pictures(3)
    net = Net().to(memory_format=torch.channels_last)
    net(normalise(parts[0] / 255, HALF, HALF))  # statistics of its own for the norm
    for part, found in zip(parts, compute_outputs(net, *parts, mean=HALF, std=HALF), strict=True):
        for ours, torchs in zip(found, run_torch(net, part, HALF, HALF), strict=True):
            assert ours.shape == torchs.shape
            assert torch.allclose(ours, torchs, atol=1e-5)
    with torch.no_grad():
        logits, features = net.eval()(normalise(part / 255, HALF, HALF))
    assert torch.allclose(torchs, features, atol=1e-5)
    assert found[0].shape == logits.shape == (3, 2)


def test_a_module_that_cannot_be_traced_is_refused():
    class Fixed(torch.nn.Linear):
        def forward(self, pixels):
            return (pixels[: len(pixels)].mean((2, 3)),)

    with pytest.raises(RuntimeError, match="traced Fixed returns another number of rows"):
        compute_outputs(Fixed(2, 1), pictures(5), mean=HALF, std=HALF)


def test_temperature_undoes_a_known_one():
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (20_000, 3))
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    labels = (p.cumsum(1) > rng.random((len(p), 1))).argmax(1)
    assert fit_temperature(logits * 2.5, labels) == pytest.approx(2.5, rel=0.05)


def test_at_the_temperature_confidence_is_accuracy_and_few_rows_are_no_reason_to_be_certain():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 4000)
    logits = np.eye(2)[labels] + rng.normal(0, 0.15, (4000, 2))  # always right, never sure
    wrong = rng.random(4000) < 0.01
    labels[wrong] = 1 - labels[wrong]

    def confidence(rows):
        scaled = logits[rows] / fit_temperature(logits[rows], labels[rows])
        return (np.exp(scaled) / np.exp(scaled).sum(1, keepdims=True)).max(1).mean()

    everything, few = np.arange(4000), np.flatnonzero(~wrong)[:30]
    assert confidence(everything) == pytest.approx((logits.argmax(1) == labels).mean(), abs=0.001)
    assert confidence(few) == pytest.approx(31 / 32, abs=1e-6)


def test_int8_weights_are_a_quarter_of_the_size_and_nearly_the_same(tmp_path):
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 64, 3), torch.nn.ReLU(), torch.nn.Conv2d(64, 64, 3, groups=64), torch.nn.ReLU(),
        torch.nn.Conv2d(64, 128, 1), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(128, 300),
    )  # fmt: skip
    x = torch.randn(4, 3, 16, 16)
    path = tmp_path / "onnx/model.onnx"
    export.write_onnx(net, path, {"x": x}, ["y"])
    parity.check_parity(net, path, [{"x": x.numpy()}], ["y"], tolerance=1e-5)
    whole = path.stat().st_size
    export.store(path, export.store_int8)
    assert path.stat().st_size < 0.35 * whole
    kinds = {numpy_helper.to_array(tensor).dtype.name for tensor in onnx.load(path).graph.initializer}
    assert {"int8", "float16"} <= kinds
    (stored,) = Session(path).run(["y"], {"x": x.numpy()})
    expected = net.eval()(x).detach().numpy()
    assert np.abs(stored - expected).max() < 0.02 * np.abs(expected).max()
    assert np.abs(stored - expected).max() > 0  # it did store something else


def test_a_network_rounded_to_int8_is_stored_without_loss(tmp_path):
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 64, 3, bias=False), torch.nn.BatchNorm2d(64), torch.nn.ReLU6(),
        torch.nn.Conv2d(64, 512, 1, bias=False), torch.nn.BatchNorm2d(512), torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(),
    )  # fmt: skip
    x = torch.randn(64, 3, 16, 16)
    net(x)  # statistics for BatchNorm, which the export folds into the kernels
    lost = []
    for rounded in (False, True):
        if rounded:
            export.round_to_int8(net)
        export.write_onnx(net, tmp_path / "model.onnx", {"x": x}, ["y"])
        export.store(tmp_path / "model.onnx", export.store_int8)
        (stored,) = Session(tmp_path / "model.onnx").run(["y"], {"x": x.numpy()})
        lost.append(np.abs(stored - net.eval()(x).detach().numpy()).max())
    assert lost[1] < 0.1 * lost[0]


def test_examples_have_names_that_every_system_allows(tmp_path):
    paths = [tmp_path / str(index) / "aux|1.png" for index in range(3)]
    for path in paths:
        path.parent.mkdir()
        Image.new("RGB", (8, 8)).save(path)
    write_examples(tmp_path, paths, np.arange(3), ("a:b", "A?B", "con"), 4)
    names = sorted(path.name for path in (tmp_path / "examples").iterdir())
    assert names == ["A_B-aux_1-1.jpg", "a_b-aux_1.jpg", "con-aux_1.jpg"]


def test_published_examples_do_not_tell_where_and_when(tmp_path):
    exif = Image.Exif()
    exif[0x8825] = {1: "N", 2: (51.0, 30.0, 0.0)}  # GPS
    paths = [tmp_path / folder / "same.jpg" for folder in ("a", "b", "c")]
    for path in paths:
        path.parent.mkdir()
        Image.new("RGB", (2000, 1000), "green").save(path, exif=exif)
    assert Image.open(paths[0]).getexif().get_ifd(0x8825)
    write_examples(tmp_path, paths, np.zeros(3, int), ("same", "other"), 4)
    examples = sorted((tmp_path / "examples").iterdir())
    assert len(examples) == 2  # four examples of two labels
    for path in examples:
        with Image.open(path) as image:
            assert not image.getexif()
            assert image.size == (640, 320)

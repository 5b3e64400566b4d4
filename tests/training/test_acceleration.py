"""What keeps a GPU busy gives the same results as what it replaces."""

import pytest

torch = pytest.importorskip("torch", reason="torch and fastai are not installed: make test-all")
from fastai.callback.progress import ProgressCallback
from fastai.data.core import DataLoaders
from fastai.learner import Learner

from training import acceleration
from training.acceleration import InterleaveDilated, avoid_waiting, convolve_interleaved, is_dilated_depthwise
from training.learner import NoValidation, RowLoader

pytestmark = pytest.mark.training


@pytest.mark.parametrize("dilation", [2, 3, 4])
@pytest.mark.parametrize("is_padded_before", [True, False])
def test_an_interleaved_convolution_is_the_dilated_one(dilation, is_padded_before):
    torch.manual_seed(0)
    padding = 0 if is_padded_before else dilation
    layer = torch.nn.Conv2d(5, 5, 3, padding=padding, dilation=dilation, groups=5)
    more = 2 * dilation * is_padded_before
    features = torch.randn(2, 5, 24 + more, 36 + more, requires_grad=True)
    expected, found = layer(features), convolve_interleaved(layer, features)
    assert found.shape == (2, 5, 24, 36)
    assert torch.allclose(found, expected, atol=1e-5)
    gradients = [torch.autograd.grad(y.square().sum(), features)[0] for y in (expected, found)]
    assert torch.allclose(*gradients, atol=1e-4)


def test_a_side_that_is_no_multiple_of_the_dilation_is_convolved_as_before():
    layer = torch.nn.Conv2d(5, 5, 3, padding=2, dilation=2, groups=5)
    features = torch.randn(2, 5, 25, 36)
    assert torch.equal(convolve_interleaved(layer, features), layer(features))


def learn(cbs):
    torch.manual_seed(1)
    pictures = torch.randn(8, 4, 12, 12)
    loader = RowLoader(pictures, pictures.mean((1, 2, 3)), bs=4)
    layers = [torch.nn.Conv2d(4, 4, 3, padding=2, dilation=2, groups=4), torch.nn.Conv2d(4, 1, 12)]
    net = torch.nn.Sequential(*layers, torch.nn.Flatten(0))
    learner = Learner(DataLoaders(loader, loader), net, loss_func=torch.nn.functional.mse_loss, cbs=cbs)
    with learner.no_logging():
        learner.fit(2, 1e-2)
    return learner


def test_a_learner_with_interleaved_convolutions_ends_the_same_and_gives_them_back():
    plain, interleaved = learn([NoValidation()]), learn([NoValidation(), InterleaveDilated()])
    for one, other in zip(plain.model.parameters(), interleaved.model.parameters(), strict=True):
        assert torch.allclose(one, other, atol=1e-6)
    layer = interleaved.model[0]
    assert is_dilated_depthwise(layer)
    assert not is_dilated_depthwise(interleaved.model[1])
    assert "forward" not in layer.__dict__


def test_the_smoothed_loss_is_that_of_fastai():
    learner = learn([NoValidation()])
    avoid_waiting(learner)
    loss, found = learner.recorder.smooth_loss, []
    loss.reset()
    for value in (3.0, 1.0, 2.0):
        learner.loss = torch.tensor(value)
        loss.accumulate(learner)
        found.append(float(loss.value))
    expected, average = [], 0.0
    for count, value in enumerate((3.0, 1.0, 2.0), 1):
        average = 0.98 * average + 0.02 * value
        expected.append(average / (1 - 0.98**count))
    assert found == pytest.approx(expected, rel=1e-5)


def test_the_bar_reads_the_loss_twice_a_second(monkeypatch):
    now, read = [1000.0], []
    monkeypatch.setattr(acceleration.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(ProgressCallback, "after_batch", lambda _: read.append(now[0]))
    bar = acceleration.PatientProgress()
    bar.read = 0.0
    for step in range(20):
        now[0] = 1000 + 0.1 * step
        bar.after_batch()
    assert len(read) == 4

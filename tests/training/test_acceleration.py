"""What keeps a GPU busy gives the same results as what it replaces."""

import pytest

torch = pytest.importorskip("torch", reason="torch and fastai are not installed: make test-all")
from fastai.callback.progress import ProgressCallback
from fastai.data.core import DataLoaders
from fastai.learner import Learner

from training import acceleration
from training.acceleration import avoid_waiting
from training.learner import NoValidation, RowLoader

pytestmark = pytest.mark.training


def learn(cbs):
    torch.manual_seed(1)
    x = torch.randn(8, 4)
    loader = RowLoader(x, x.sum(1, keepdim=True), bs=4)
    net = torch.nn.Linear(4, 1)
    learner = Learner(DataLoaders(loader, loader), net, loss_func=torch.nn.functional.mse_loss, cbs=cbs)
    with learner.no_logging():
        learner.fit(2, 1e-2)
    return learner


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

"""Outputs for pictures, in torch and exported."""

import pytest

torch = pytest.importorskip("torch", reason="torch and fastai are not installed: make test-all")

from tests.training.pictures.test_batches import HALF, pictures
from training.pictures import outputs
from training.pictures.batches import normalise
from training.pictures.outputs import compute_outputs, run_torch

pytestmark = pytest.mark.training


@pytest.mark.parametrize("few_pixels", [0, 10**9], ids=["exported", "torch"])
def test_outputs_are_those_of_evaluation(monkeypatch, few_pixels):
    monkeypatch.setattr(outputs, "FEW_PIXELS", few_pixels)

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


def test_a_module_that_cannot_be_traced_is_refused(monkeypatch):
    monkeypatch.setattr(outputs, "FEW_PIXELS", 0)

    class Fixed(torch.nn.Linear):
        def forward(self, pixels):
            return (pixels[: len(pixels)].mean((2, 3)),)

    with pytest.raises(RuntimeError, match="traced Fixed returns another number of rows"):
        compute_outputs(Fixed(2, 1), pictures(5), mean=HALF, std=HALF)

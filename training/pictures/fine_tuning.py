"""Fine-tune a picture classifier on pictures that stay on the device, where they are augmented and made harder."""

from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from fastai.callback.core import Callback
from fastai.data.core import DataLoaders
from fastai.learner import Learner
from numpy.typing import NDArray
from torch.nn import functional as F

from training.learner import SMALLEST_BATCH, Run, choose_mixed_precision, make_adamw, retry_with_smaller_batches
from training.networks.image_classification import ClassifierNet, Outputs, classification_loss, group_parameters
from training.pictures.augmentation import change_light, draw_warps, erase, make_grids, sample
from training.pictures.batches import FrozenBatchNorm, PictureLoader
from training.pictures.obstructions import mix, obstruct
from training.recipe import Settings

TURNED = 0.12  # share of pictures that are turned by up to 180°, the others by up to TILT
TILT = 15.0  # degrees
AVERAGE = 0.999  # decay of the moving average of the weights
AT_ONCE = 32  # pictures on a CPU, where a batch of 128 takes 10 GB


@dataclass(frozen=True)
class Examples:
    """Pictures with all that a network is trained on.

    `pictures` are uint8 (n, 3, size, size); `targets` probabilities of the labels (n, labels); `kinds` those of kinds
    (n, kinds); and `imagenet` log probabilities of ImageNet's classes (n, classes).
    """

    pictures: torch.Tensor
    targets: torch.Tensor
    kinds: torch.Tensor
    imagenet: torch.Tensor

    def as_tensors(self) -> tuple[torch.Tensor, ...]:
        """Return the tensors in the order in which the loss takes them."""
        return self.pictures, self.targets, self.kinds, self.imagenet


@dataclass(frozen=True)
class FineTuning(Settings):
    """Hyper-parameters of fine-tuning. `init` is the pretrained network; None is a small random one.

    `rates` are learning rates from the first layers to the last, for batches of `batch` pictures; `alpha` interpolates
    from the pretrained weights (0) to the fine-tuned ones (1).
    """

    init: str | None = None
    train_size: int = 192
    batch: int = 128
    head_epochs: int = 2
    head_rate: float = 4e-3
    epochs: int = 10
    rates: tuple[float, float] = (6e-5, 6e-4)
    alpha: float = 0.5


def augment(
    pictures: torch.Tensor, targets: torch.Tensor, kinds: torch.Tensor, imagenet: torch.Tensor, size: int
) -> tuple[torch.Tensor, ...]:
    """Warp, light, mix and obstruct a batch; targets change only where two pictures become one.

    Args:
        pictures: from 0 to 1, (n, 3, any, any).
        targets: probabilities of the labels, (n, labels).
        kinds: probabilities of kinds, (n, kinds).
        imagenet: log probabilities of ImageNet's classes, (n, classes).
        size: side of the returned pictures.
    """
    count, device = len(pictures), pictures.device
    draw = partial(draw_warps, count, device, zoom=(0.75, 1.8), perspective=0.12)
    is_turned = torch.rand(count, 1, 1, device=device) < TURNED
    warps = torch.where(is_turned, draw(rotate=180.0), draw(rotate=TILT))
    warped = change_light(sample(pictures, make_grids(warps, (size, size))), 0.3, 0.3)
    mixed, targets, kinds, classes = mix(warped, targets, kinds, imagenet.softmax(1))
    return erase(obstruct(mixed), share=0.2), targets, kinds, classes.clamp(min=1e-9).log()


def encode(indices: NDArray[np.int64], count: int) -> torch.Tensor:
    """Return indices as probabilities, (n, count)."""
    return F.one_hot(torch.from_numpy(indices), count).float()


def fine_tune(net: ClassifierNet, train: Examples, valid: Examples, settings: FineTuning, run: Run) -> None:
    """Train the new layers, then the whole network, which is on its device; end with the average of its weights."""
    batch = max(SMALLEST_BATCH, min(settings.batch, len(train.pictures) // 4))

    def train_with(size: int, accumulate: list[Callback], is_again: bool) -> None:
        load = partial(PictureLoader, mean=net.architecture.mean, std=net.architecture.std, bs=size)
        loaders = [
            load(*train.as_tensors(), augment=partial(augment, size=settings.train_size), shuffle=True, drop_last=True),
            load(*valid.as_tensors()),
        ]
        dls = DataLoaders(*loaders, device=loaders[0].device)
        dls.n_inp = 1
        learn = Learner(
            dls, net, loss_func=classification_loss, metrics=[error], splitter=group_parameters, train_bn=False,
            opt_func=make_adamw,
            cbs=[FrozenBatchNorm()] * bool(settings.init) + choose_mixed_precision() + accumulate,
        )  # fmt: skip
        learn.freeze()
        fit = partial(learn.fit_one_cycle, settings.head_epochs, settings.head_rate)
        run.fit(learn, "head", fit, again=is_again)
        learn.unfreeze()
        # A captured graph writes its gradients to the same memory every time, so they cannot be accumulated.
        fit = partial(learn.fit_one_cycle, settings.epochs, slice(*settings.rates), pct_start=0.2)
        run.fit(learn, "body", fit, again=is_again, average=AVERAGE, captured=not accumulate)

    retry_with_smaller_batches(train_with, batch, AT_ONCE)


def error(prediction: Outputs, targets: torch.Tensor, _kinds: torch.Tensor, _before: torch.Tensor) -> torch.Tensor:
    """Return the share of wrong labels."""
    return (prediction[0].argmax(1) != targets.argmax(1)).float().mean()

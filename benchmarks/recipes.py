"""What benchmarks/training.py compares: for each model fastai's recipe, as the book has it, and ours.

    python -m benchmarks.recipes cat_dog stock --data DIR        one of them, as a process of its own; prints JSON

Both learn from the same rows and are judged on the same others, which neither learns from. Ours is the training of
the script, from reading the data to the trained network; not its calibration, its export, its peers.
"""

import argparse
import contextlib
import importlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import training  # noqa: F401 - lets fastai be imported where torch is built for CPUs alone

# isort: split
import numpy as np
import pandas as pd
import torch
from fastai.callback.core import Callback, CancelFitException
from fastai.learner import Learner
from fastcore.basics import defaults
from torch.nn import LSTM
from torch.utils.flop_counter import FlopCounterMode
from transformers import MobileNetV2ForImageClassification

from benchmarks.apps import memory_of
from shared.console import guard_output

Pairs = dict[str, Any]
MEASURED = {  # what is learned from, and what is scored
    "cat_dog": ("images", "error"),
    "segmentation": ("frames", "pixel error"),
    "sentiment": ("reviews", "accuracy"),
    "salary": ("rows", "accuracy"),
    "rating": ("ratings", "mean squared error"),
}
WARM = 2  # batches of a fit before its rate is taken; in the last of them operations are counted


@dataclass
class Fit:
    """What one fit did after it was warm: seconds of training, items, and operations for each item."""

    seconds: float = 0.0
    items: int = 0
    operations: float = 0.0


class GoalReached(Exception):
    """The score that was aimed at."""


def is_as_good(name: str, score: float, goal: float) -> bool:
    """Whether a model's score is at least as good as another: accuracies should be large, errors small."""
    return score >= goal if MEASURED[name][1] == "accuracy" else score <= goal


@dataclass
class Clock(Callback):
    """Goes with every Learner of a recipe: what it scores when, and how fast it trains.

    Args:
        model_name: of the gallery.
        items: counts what a batch holds, by its inputs.
        most: batches of a fit, after which it ends without a score; 0 for all.
        goal: the score with which training ends at once.
    """

    model_name: str
    items: Callable[[Any], int]
    most: int = 0
    goal: float | None = None
    order = 70  # after fastai's Recorder
    started: float = field(default_factory=time.perf_counter)
    set_aside: float = 0.0
    judged_since: float | None = None
    counter: FlopCounterMode | None = None
    fits: list[Fit] = field(default_factory=list)
    points: list[tuple[float, float]] = field(default_factory=list)

    def now(self) -> float:
        """Seconds since the start, without what was set aside."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return time.perf_counter() - self.started - self.set_aside

    @contextlib.contextmanager
    def aside(self) -> Iterator[None]:
        """What happens within takes no time: judging, or fetching weights."""
        since = self.now()
        yield
        self.set_aside += self.now() - since

    def before_fit(self) -> None:
        """Begin a fit."""
        self.fits.append(Fit())
        self.batches = 0

    def before_train(self) -> None:
        """An epoch's first batch is waited for from here on."""
        self.since = self.now()

    def before_batch(self) -> None:
        """Count the operations of one batch's way forward; backward takes twice as many."""
        if self.training and self.batches == WARM - 1 and not any(isinstance(m, LSTM) for m in self.model.modules()):
            self.counter = FlopCounterMode(display=False)
            self.counter.__enter__()

    def after_pred(self) -> None:
        """Stop counting."""
        if self.training and self.counter is not None:
            self.counter.__exit__(None, None, None)
            self.fits[-1].operations = 3 * self.counter.get_total_flops() / self._count()
            self.counter = None

    def after_batch(self) -> None:
        """Count what was trained on."""
        if not self.training:
            return
        self.batches += 1
        if self.batches == WARM:
            self.since = self.now()
        elif self.batches > WARM:
            self.fits[-1].items += self._count()
        if self.most and self.batches >= self.most:
            self.after_train()
            raise CancelFitException

    def after_train(self) -> None:
        """Note how long the batches took."""
        if self.batches > WARM:
            self.fits[-1].seconds += self.now() - self.since

    def before_validate(self) -> None:
        """Judging begins."""
        self.judged_since = self.now()

    def after_validate(self) -> None:
        """Judging ends: it is no part of training."""
        if self.judged_since is not None:  # else it was skipped
            self.set_aside += self.now() - self.judged_since
        self.judged_since = None

    def after_epoch(self) -> None:
        """Note what was scored."""
        values = self.learn.recorder.values
        if self.most or not values or len(values[-1]) < 3:  # losses and a metric
            return
        score = float(values[-1][-1])
        self.points.append((self.now(), score))
        if self.goal is not None and is_as_good(self.model_name, score, self.goal):
            raise GoalReached("reached")  # fastai wants an exception to say something

    def _count(self) -> int:
        return self.items(self.xb[0] if len(self.xb) == 1 else self.xb)


# --- one function for each model: stock or ours; returns the final score where epochs have none, and, of the stock
# recipe, which network it trains, and whether with pretrained weights ---


def with_pretrained(make: Callable[..., Learner], clock: Clock) -> tuple[Learner, bool]:
    """A stock Learner and whether it has its pretrained weights; they may be impossible to download."""
    with clock.aside():
        try:
            return make(), True
        except OSError:
            return make(pretrained=False), False


def cat_dog(stock: bool, options: argparse.Namespace, folder: Path, clock: Clock) -> Pairs:
    """Error on every second picture of the official test."""
    from training import cat_dog as script

    task = script.load(options)
    held_out = next(iter(task.tests.values()))
    held_out = held_out.take(np.arange(0, len(held_out), 2))
    if not stock:
        size = (script.served_size(options),) * 2
        with clock.aside():
            judged_on = script.decode(held_out.paths, size)
        pictures = script.decode(task.train.paths, size)
        if options.quick:
            net = script.pretrained_net(options, task)
            ((features,),) = script.outputs(script.Pooled(net), pictures, mean=script.MEAN, std=script.STD)
            script.fit_head(net, features, replace(task, familiar=None))
            with clock.aside():
                ((logits, _, _),) = script.outputs(net, judged_on, mean=script.MEAN, std=script.STD)
            return {"final": float((logits.numpy().argmax(1) != held_out.y).mean())}
        script.train_net(options, replace(task, valid=held_out), pictures, judged_on, folder)
        return {}
    from fastai.vision.all import ImageDataLoaders, Resize, default_split, error_rate, resnet34, vision_learner
    from fastai.vision.learner import model_meta

    parts = ((task.train, False), (held_out, True))
    table = pd.concat(pd.DataFrame({"name": part.paths, "y": part.y, "held_out": out}) for part, out in parts)
    dls = ImageDataLoaders.from_df(
        table, path=Path("/"), fn_col="name", label_col="y", valid_col="held_out",
        item_tfms=Resize(64 if options.smoke else 224), bs=8 if options.smoke else 64,
    )  # fmt: skip
    with clock.aside():
        try:
            learn, network = vision_learner(dls, resnet34, metrics=error_rate), "ResNet-34"
        except OSError:  # its weights cannot be had: the same recipe from the weights that ours begins with
            backbone = torch.nn.Sequential(FeatureMaps(script.pretrained_backbone(options)))

            def architecture(**_: bool) -> torch.nn.Module:
                return backbone

            model_meta[architecture] = {
                "cut": lambda body: body, "split": default_split, "stats": (script.MEAN, script.STD)
            }  # fmt: skip
            learn, network = vision_learner(dls, architecture, metrics=error_rate), "MobileNetV2"
    learn.fine_tune(1)
    return {"network": network, "pretrained": not options.smoke}


class FeatureMaps(torch.nn.Module):
    """A MobileNetV2 of transformers as fastai takes a body: pixels in, feature maps out."""

    def __init__(self, pretrained: MobileNetV2ForImageClassification) -> None:
        super().__init__()
        self.backbone = pretrained.mobilenet_v2

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.backbone(pixels).last_hidden_state


def segmentation(stock: bool, options: argparse.Namespace, folder: Path, clock: Clock) -> Pairs:
    """Share of wrong pixels in the test frames."""
    from training import segmentation as script

    frames = script.load(options)
    if not stock:
        script.train_net(options, frames["train"], frames["test"], folder)
        return {}
    from fastai.vision.all import PILImage, PILMask, SegmentationDataLoaders, resnet34, unet_learner

    both = [(part, row) for part in (frames["train"], frames["test"]) for row in range(len(part))]
    dls = SegmentationDataLoaders.from_dblock(
        _frame_block(both, len(frames["train"]), PILImage, PILMask, [*script.CLASSES, "Void"]), range(len(both)), bs=8
    )
    learn, pretrained = with_pretrained(
        lambda **kwargs: unet_learner(dls, resnet34, metrics=_wrong_pixels, **kwargs), clock
    )
    learn.fine_tune(8)
    return {"network": "ResNet-34 U-Net", "pretrained": pretrained}


def _frame_block(both: list[Any], trained: int, image: Any, mask: Any, codes: list[str]) -> Any:
    from fastai.vision.all import DataBlock, ImageBlock, IndexSplitter, MaskBlock

    return DataBlock(
        blocks=(ImageBlock, MaskBlock(codes)),
        get_x=lambda index: image.create(both[index][0].pictures[both[index][1]].permute(1, 2, 0).numpy()),
        get_y=lambda index: mask.create(both[index][0].labels[both[index][1]].clamp(max=len(codes) - 1).numpy()),
        splitter=IndexSplitter(range(trained, len(both))),
    )


def _wrong_pixels(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    known = target < logits.shape[1] - 1  # the last is void
    return (logits.argmax(1) != target)[known].float().mean()


def sentiment(stock: bool, options: argparse.Namespace, folder: Path, clock: Clock) -> Pairs:
    """Accuracy on the official test; ours without teachers and without guessing hidden words first."""
    from training import sentiment as script

    task = script.load(options)
    if not stock:
        most, head = script.lengths_read(options)
        tokenizer, classifier = script.encoder(options, task)
        rows = [
            script.Labelled(script.marked(tokenizer, part.texts, most, head), script.smoothed(part.y, 2))
            for part in (task.train, task.test)
        ]
        script.train_net(options, classifier, *rows, folder, options.seed, 1.0)
        return {}
    from fastai.text.all import AWD_LSTM, TextDataLoaders, accuracy, text_classifier_learner

    parts = ((task.train, False), (task.test, True))
    table = pd.concat(pd.DataFrame({"text": part.texts, "y": part.y, "held_out": out}) for part, out in parts)
    dls = TextDataLoaders.from_df(
        table, text_col="text", label_col="y", valid_col="held_out", bs=8 if options.smoke else 64
    )
    learn, pretrained = with_pretrained(
        lambda **kwargs: text_classifier_learner(dls, AWD_LSTM, drop_mult=0.5, metrics=accuracy, **kwargs), clock
    )
    learn.fine_tune(4, 1e-2)
    return {"network": "AWD-LSTM", "pretrained": pretrained}


def salary(stock: bool, options: argparse.Namespace, folder: Path, clock: Clock) -> Pairs:
    """Accuracy on the official test; ours is one of the networks that are averaged."""
    from training import salary as script

    train, test, _ = script.load(options)
    if not stock:
        spec = script.contract(train)
        net = script.train_net(train, spec, options, folder, options.seed)
        with clock.aside():
            said = script.logits_of(script.Ensemble([net]), spec, test) > 0
        return {"final": float((said == script.outcomes(test)).mean())}
    from fastai.tabular.all import Categorify, FillMissing, Normalize, TabularDataLoaders, accuracy, tabular_learner

    everyone = pd.concat([train, test], ignore_index=True)
    dls = TabularDataLoaders.from_df(
        everyone, y_names=script.TARGET, valid_idx=list(range(len(train), len(everyone))),
        cat_names=["workclass", "education", "marital-status", "occupation", "relationship", "race"],
        cont_names=["age", "fnlwgt", "education-num"], procs=[Categorify, FillMissing, Normalize],
    )  # fmt: skip
    tabular_learner(dls, metrics=accuracy).fit_one_cycle(3)
    return {"network": "tabular_learner"}


def rating(stock: bool, options: argparse.Namespace, folder: Path, clock: Clock) -> Pairs:
    """Mean squared error on a fifth of the sample; of the others, fastai's recipe holds one in a hundred back."""
    from fastai.collab import CollabDataLoaders, collab_learner
    from sklearn.model_selection import KFold

    from training import rating as script

    ratings, movies, _ = script.load(options)
    sample = ratings[ratings["in_sample"]].reset_index(drop=True)
    inside, outside = next(KFold(script.FOLDS, shuffle=True, random_state=options.seed).split(sample))
    known, asked = sample.iloc[inside], sample.iloc[outside]
    if not stock:
        settings = script.ON_SMOKE if options.smoke else script.ON_SAMPLE
        catalogue = movies.loc[sorted(set(sample["movie"]))]
        stars = [
            script.predict(known, catalogue, asked, settings, folder / str(number), options.seed + number, options)
            for number in range(settings.models)
        ]
        final = float(((np.mean(stars, axis=0).clip(0.5, 5) - asked["rating"]) ** 2).mean())
        return {"final": final}
    columns = ["user", "movie", "rating"]
    dls = CollabDataLoaders.from_df(known[columns].reset_index(drop=True), valid_pct=0.01, seed=options.seed)
    learn = collab_learner(dls, y_range=(0.5, 5.5))
    with learn.no_bar(), learn.no_logging():
        learn.fine_tune(10)
        with clock.aside():
            stars, _ = learn.get_preds(dl=dls.test_dl(asked[columns[:2]]))
    final = float(((stars.flatten().numpy() - asked["rating"]) ** 2).mean())
    return {"final": final, "network": "collab_learner"}


RECIPES = {"cat_dog": cat_dog, "segmentation": segmentation, "sentiment": sentiment, "salary": salary, "rating": rating}


def count_of(name: str, stock: bool) -> Callable[[Any], int]:
    """What counts the items of a batch's inputs."""
    if name == "rating" and not stock:
        return lambda inputs: int(inputs[2].sum())  # users, padded; the last input says what is a rating
    return lambda inputs: len(inputs[0]) if isinstance(inputs, tuple) else len(inputs)


def peak_memory() -> float:
    """Megabytes: of the GPU, or else of this process, without those that load data."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 1e6
    return memory_of(os.getpid())["peak"]


def main() -> None:
    """Run one recipe and print what it did as JSON, on the last line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", choices=RECIPES)
    parser.add_argument("recipe", choices=["stock", "ours"])
    parser.add_argument("--batches", type=int, default=0, help="of each fit, and no score; default: all")
    parser.add_argument("--goal", type=float, help="the score with which training ends at once")
    chosen, rest = parser.parse_known_args()
    script = importlib.import_module(f"training.{chosen.model}")
    make = getattr(script, "command_line", lambda: script.arguments(None, chosen.model))
    options, stock = make().parse_args(rest), chosen.recipe == "stock"
    script.set_seed(options.seed)
    torch.backends.cuda.enable_cudnn_sdp(False)
    clock = Clock(chosen.model, count_of(chosen.model, stock), chosen.batches, chosen.goal)
    defaults.callbacks = [*defaults.callbacks, clock]
    with tempfile.TemporaryDirectory() as folder:
        options.out = str(Path(folder) / "out")
        said: Pairs = {}
        with contextlib.suppress(GoalReached):
            said = RECIPES[chosen.model](stock, options, Path(folder) / "states", clock)
    if chosen.batches:
        said.pop("final", None)
    last = next((fit for fit in reversed(clock.fits) if fit.items), Fit())  # fastai predicts in a fit, too
    found = {
        "seconds": clock.now(),
        "cpu_seconds": sum(os.times()[:4]),  # with those of processes that load data
        "points": clock.points,
        "items_per_second": last.items / last.seconds if last.seconds else None,
        "operations_per_item": last.operations,
        "peak_mb": peak_memory(),
    }
    sys.stdout.flush()
    print(f"\n{json.dumps({**said, **found})}")


if __name__ == "__main__":
    guard_output()
    main()

"""The recipes that benchmarks/training.py compares: for each model, the book's fastai recipe and ours.

    python -m benchmarks.recipes cat_dog stock --data DIR        run one recipe; print JSON

Both train on the same rows and are scored on the same held-out rows. Ours covers everything from reading the data to
the trained network, but not calibration, export and peers.
"""

import argparse
import contextlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import training  # noqa: F401 - makes fastai importable with CPU builds of torch

# isort: split
import numpy as np
import pandas as pd
import torch
from fastai.callback.core import Callback, CancelFitException
from fastai.data.block import CategoryBlock
from fastai.learner import Learner
from fastcore.basics import defaults
from torch.nn import LSTM
from torch.utils.flop_counter import FlopCounterMode
from transformers import PreTrainedModel

from benchmarks.apps import read_memory
from shared.console import guard_output
from training import book
from training import cat_dog as cat_dog_demo
from training import rating as rating_demo
from training import salary as salary_demo
from training import segmentation as segmentation_demo
from training import sentiment as sentiment_demo
from training.command import make_parser
from training.learner import Run, set_seed
from training.networks.backbones import get_architecture
from training.pictures.frames import Frames
from training.recipe import load
from training.recipes import image_classification, recommendation, tabular, text_classification
from training.recipes.image_classification import Pictures
from training.tables.targets import TwoLabels
from training.texts import fitting
from training.texts.distillation import Targets, smooth
from training.texts.reading import Texts
from training.texts.tokens import encode_texts

Pairs = dict[str, Any]
MEASURED = {  # training items, and the score
    "cat_dog": ("images", "error"),
    "segmentation": ("frames", "pixel error"),
    "sentiment": ("reviews", "accuracy"),
    "salary": ("rows", "accuracy"),
    "rating": ("ratings", "mean squared error"),
}
WARM = 2  # batches of a fit before its rate is measured; operations are counted in the last of them


@dataclass
class Fit:
    """The work of one fit after its warm-up: seconds of training, items, and operations per item."""

    seconds: float = 0.0
    items: int = 0
    operations: float = 0.0


class GoalReached(Exception):
    """The score has reached the goal."""


def is_as_good(name: str, score: float, goal: float) -> bool:
    """Return True if a score is at least as good as the goal; accuracies should be large, errors small."""
    return score >= goal if MEASURED[name][1] == "accuracy" else score <= goal


@dataclass
class Clock(Callback):
    """A callback for every Learner of a recipe: records scores with their times, and the speed of training.

    Args:
        model_name: the model, such as "cat_dog".
        items: counts the items of a batch, given its inputs.
        most: maximum batches of a fit, which then ends without a score; 0 for all.
        goal: the score at which training ends.
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

    def read(self) -> float:
        """Return the seconds since the start, without pauses."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return time.perf_counter() - self.started - self.set_aside

    @contextlib.contextmanager
    def pause(self) -> Iterator[None]:
        """Pause the clock, for scoring or downloading weights."""
        since = self.read()
        yield
        self.set_aside += self.read() - since

    def before_fit(self) -> None:
        """Start a record for the fit."""
        self.fits.append(Fit())
        self.batches = 0

    def before_train(self) -> None:
        """Start timing, including the wait for the first batch."""
        self.since = self.read()

    def before_batch(self) -> None:
        """Count the operations of one forward pass; the backward pass takes twice as many."""
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
        """Count the training items."""
        if not self.training:
            return
        self.batches += 1
        if self.batches == WARM:
            self.since = self.read()
        elif self.batches > WARM:
            self.fits[-1].items += self._count()
        if self.most and self.batches >= self.most:
            self.after_train()
            raise CancelFitException

    def after_train(self) -> None:
        """Record the seconds of the batches."""
        if self.batches > WARM:
            self.fits[-1].seconds += self.read() - self.since

    def before_validate(self) -> None:
        """Pause the clock for scoring."""
        self.judged_since = self.read()

    def after_validate(self) -> None:
        """Resume the clock: scoring is not part of training."""
        if self.judged_since is not None:  # else it was skipped
            self.set_aside += self.read() - self.judged_since
        self.judged_since = None

    def after_epoch(self) -> None:
        """Record the score, and stop at the goal."""
        values = self.learn.recorder.values
        if self.most or not values or len(values[-1]) < 3:  # losses and a metric
            return
        score = float(values[-1][-1])
        self.points.append((self.read(), score))
        if self.goal is not None and is_as_good(self.model_name, score, self.goal):
            raise GoalReached("reached")  # fastai needs a message

    def _count(self) -> int:
        return self.items(self.xb[0] if len(self.xb) == 1 else self.xb)


# --- one function for each model: run the stock recipe or ours; return the final score if epochs have none, and for the
# stock recipe the name of its network and whether its weights were pretrained ---


def build_with_pretrained(make: Callable[..., Learner], clock: Clock) -> tuple[Learner, bool]:
    """Return a stock Learner, and whether its pretrained weights could be downloaded."""
    with clock.pause():
        try:
            return make(), True
        except OSError:
            return make(pretrained=False), False


@dataclass(frozen=True)
class Ours:
    """A demo's recipe, data, settings, and run; cat_dog takes every nth picture."""

    recipe: Any
    splits: Any
    settings: Any
    run: Run
    is_smoke: bool
    every: int


def run_cat_dog(stock: bool, ours: Ours, clock: Clock) -> Pairs:
    """Train cat_dog, both from the same network; score the error on some pictures of the official test."""
    splits, settings, test = ours.splits, ours.settings, ours.splits.tests[0]
    splits = replace(splits, train=splits.train.take(np.arange(0, len(splits.train), ours.every)))
    rows = range(0, len(test), max(2, ours.every))
    held_out = Pictures([test.inputs[row] for row in rows], test.targets[list(rows)], test.targets[list(rows)])
    if not stock:
        splits = replace(splits, valid=held_out, tests=(held_out.as_test(test.data, test.split),))
        fitted = ours.recipe.fit(splits, settings, ours.run)
        if settings.quick:
            _, unseen = ours.recipe.fit_head(fitted.net, fitted, splits, settings)
            with clock.pause(), torch.no_grad():
                logits = fitted.net.head(unseen)
            return {"final": float((logits.numpy().argmax(1) != held_out.y).mean())}
        return {}
    from fastai.vision.all import ImageDataLoaders, Resize, default_split, error_rate, vision_learner
    from fastai.vision.learner import model_meta

    parts = ((splits.train, False), (held_out, True))
    table = pd.concat(pd.DataFrame({"name": part.paths, "y": part.y, "held_out": out}) for part, out in parts)
    dls = ImageDataLoaders.from_df(
        table, path=Path("/"), fn_col="name", label_col="y", valid_col="held_out",
        item_tfms=Resize(settings.book_size), bs=settings.book_batch,
    )  # fmt: skip
    with clock.pause():
        pretrained = image_classification.load_backbone(settings)
        used = get_architecture(type(pretrained))
        body = torch.nn.Sequential(FeatureMaps(pretrained))

        def architecture(**_: bool) -> torch.nn.Module:
            return body

        stats = (used.mean, used.std)
        model_meta[architecture] = {"cut": lambda body: body, "split": default_split, "stats": stats}
        learn = vision_learner(dls, architecture, metrics=error_rate)
    learn.fine_tune(1)
    return {"network": used.name, "pretrained": not ours.is_smoke}


class FeatureMaps(torch.nn.Module):
    """A network of transformers as a body for fastai: pixels in, feature maps out."""

    def __init__(self, pretrained: PreTrainedModel) -> None:
        super().__init__()
        self.backbone = pretrained.base_model
        self.compute_features = get_architecture(type(pretrained)).compute_features

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.compute_features(self.backbone, pixels)


def run_segmentation(stock: bool, ours: Ours, clock: Clock) -> Pairs:
    """Train segmentation, ours without teachers; score the share of wrong pixels in the test frames."""
    splits, test = ours.splits, ours.splits.tests[0]
    pictures = torch.stack([torch.from_numpy(np.array(picture)).permute(2, 0, 1) for picture in test.inputs])
    held_out = Frames(list(test.names), pictures, torch.from_numpy(test.targets))
    if not stock:
        ours.recipe.fit(replace(splits, valid=held_out), replace(ours.settings, teachers=0), ours.run)
        return {}
    from fastai.vision.all import PILImage, PILMask, SegmentationDataLoaders, resnet34, unet_learner

    frames = splits.train.join(held_out)
    block = _make_frame_block(frames, len(splits.train), PILImage, PILMask, [*splits.labels, "Void"])
    dls = SegmentationDataLoaders.from_dblock(block, range(len(frames)), bs=8)
    learn, pretrained = build_with_pretrained(
        lambda **kwargs: unet_learner(dls, resnet34, metrics=_pixel_error, **kwargs), clock
    )
    learn.fine_tune(8)
    return {"network": "ResNet-34 U-Net", "pretrained": pretrained}


def _make_frame_block(frames: Frames, trained: int, image: Any, mask: Any, codes: list[str]) -> Any:
    from fastai.vision.all import DataBlock, ImageBlock, IndexSplitter, MaskBlock

    return DataBlock(
        blocks=(ImageBlock, MaskBlock(codes)),
        get_x=lambda index: image.create(frames.pictures[index].permute(1, 2, 0).numpy()),
        get_y=lambda index: mask.create(frames.labels[index].clamp(max=len(codes) - 1).numpy()),
        splitter=IndexSplitter(range(trained, len(frames))),
    )


def _pixel_error(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    known = target < logits.shape[1] - 1  # the last is void
    return (logits.argmax(1) != target)[known].float().mean()


def run_sentiment(stock: bool, ours: Ours, clock: Clock) -> Pairs:
    """Train sentiment, ours without teachers and masked-language modelling; score the accuracy on the test."""
    splits, settings, test = ours.splits, ours.settings, ours.splits.tests[0]
    held_out = Texts(list(test.inputs), test.targets)
    parts = ((splits.train, False), (held_out, True))
    if not stock:
        tokenizer, classifier = text_classification.make_network(splits, settings)
        train, valid = (
            Targets(encode_texts(tokenizer, part.texts, settings.max_tokens, settings.head), smooth(part.y, 2))
            for part, _ in parts
        )
        fitting.fit_network(classifier, train, valid, settings, ours.run, "network", settings.seed, settings.rates)
        return {}
    from fastai.text.all import AWD_LSTM, TextDataLoaders, accuracy, text_classifier_learner

    table = pd.concat(pd.DataFrame({"text": part.texts, "y": part.y, "held_out": out}) for part, out in parts)
    dls = TextDataLoaders.from_df(table, text_col="text", label_col="y", valid_col="held_out", bs=settings.book_batch)
    learn, pretrained = build_with_pretrained(
        lambda **kwargs: text_classifier_learner(dls, AWD_LSTM, drop_mult=0.5, metrics=accuracy, **kwargs), clock
    )
    learn.fine_tune(4, 1e-2)
    return {"network": "AWD-LSTM", "pretrained": pretrained}


def run_salary(stock: bool, ours: Ours, clock: Clock) -> Pairs:
    """Train salary on the book's columns, ours only one of the averaged networks; score the accuracy on the test."""
    splits, settings, test = ours.splits, ours.settings, ours.splits.tests[0]
    people = pd.DataFrame(test.inputs)
    if not stock:
        settings = ours.recipe.read_book_columns(settings)
        config, target = ours.recipe.describe_columns(splits, settings), TwoLabels()
        network = ours.recipe.fit_network(splits.train, target, config, settings, ours.run, "network", settings.seed)
        with clock.pause():
            predicted = tabular.compute_outputs(target.average([network]), config, people) > 0
        return {"final": float((predicted == test.targets).mean())}
    from fastai.tabular.all import Categorify, FillMissing, Normalize, TabularDataLoaders, accuracy, tabular_learner

    parts = ((splits.train.table, splits.train.y), (people, test.targets))
    everyone = pd.concat([table.assign(salary=y) for table, y in parts], ignore_index=True)
    dls = TabularDataLoaders.from_df(
        everyone, y_names="salary", y_block=CategoryBlock(), valid_idx=list(range(len(splits.train), len(everyone))),
        cat_names=list(book.CATEGORIES), cont_names=list(book.NUMBERS), procs=[Categorify, FillMissing, Normalize],
    )  # fmt: skip
    tabular_learner(dls, metrics=accuracy).fit_one_cycle(3)
    return {"network": "tabular_learner"}


def run_rating(stock: bool, ours: Ours, clock: Clock) -> Pairs:
    """Train rating, ours only one of the averaged models; score the mean squared error on a fifth of the sample."""
    from fastai.collab import CollabDataLoaders, collab_learner
    from sklearn.model_selection import KFold

    data, settings = ours.splits.train, ours.settings
    sample = data.table[data.table["in_sample"]].reset_index(drop=True)
    inside, outside = next(KFold(settings.folds, shuffle=True, random_state=settings.seed).split(sample))
    train, test = sample.iloc[inside], sample.iloc[outside]
    if not stock:
        catalogue = data.movies.loc[sorted(set(sample["movie"]))]
        kind, epochs = replace(settings.on_sample, models=1), settings.epochs
        stars = recommendation.predict(train, catalogue, test, kind, epochs, ours.run, "sample", settings.seed)
        return {"final": float(((stars.clip(*data.scale) - test["rating"]) ** 2).mean())}
    columns = ["user", "movie", "rating"]
    dls = CollabDataLoaders.from_df(train[columns].reset_index(drop=True), valid_pct=0.01, seed=settings.seed)
    learn = collab_learner(dls, y_range=(0.5, 5.5))
    with learn.no_bar(), learn.no_logging():
        learn.fine_tune(10)
        with clock.pause():
            stars, _ = learn.get_preds(dl=dls.test_dl(test[columns[:2]]))
    final = float(((stars.flatten().numpy().clip(*data.scale) - test["rating"]) ** 2).mean())
    return {"final": final, "network": "collab_learner"}


DEMOS = {
    "cat_dog": cat_dog_demo.CatDog,
    "segmentation": segmentation_demo.Streets,
    "sentiment": sentiment_demo.Sentiment,
    "salary": salary_demo.Salary,
    "rating": rating_demo.MovieRatings,
}
RECIPES = {
    "cat_dog": run_cat_dog,
    "segmentation": run_segmentation,
    "sentiment": run_sentiment,
    "salary": run_salary,
    "rating": run_rating,
}


def choose_counter(name: str, stock: bool) -> Callable[[Any], int]:
    """Return a function that counts the items of a batch, given its inputs."""
    if name == "rating" and not stock:
        return lambda inputs: int(inputs[2].sum())  # padded users; the last input is the mask
    return lambda inputs: len(inputs[0]) if isinstance(inputs, tuple) else len(inputs)


def measure_peak_memory() -> float:
    """Return the peak megabytes of the GPU, or of this process without data loaders."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 1e6
    return read_memory(os.getpid())["peak"]


def main() -> None:
    """Run one recipe; print its results as JSON on the last line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", choices=RECIPES)
    parser.add_argument("recipe", choices=["stock", "ours"])
    parser.add_argument("--batches", type=int, default=0, help="batches of each fit, without a score; default: all")
    parser.add_argument("--every", type=int, default=1, help="take every nth picture of cat_dog")
    parser.add_argument("--goal", type=float, help="the score at which training ends")
    chosen, rest = parser.parse_known_args()
    recipe, stock = DEMOS[chosen.model](), chosen.recipe == "stock"
    options = make_parser(recipe).parse_args(rest)
    set_seed(options.seed)
    torch.backends.cuda.enable_cudnn_sdp(False)
    clock = Clock(chosen.model, choose_counter(chosen.model, stock), chosen.batches, chosen.goal)
    defaults.callbacks = [*defaults.callbacks, clock]
    with tempfile.TemporaryDirectory() as folder:
        options.out = str(Path(folder) / "out")
        settings: Any = recipe.read_settings(options)
        splits = load(recipe, options, settings)
        run = Run(Path(folder) / "states", settings.seed, resume=False)
        said: Pairs = {}
        with contextlib.suppress(GoalReached):
            said = RECIPES[chosen.model](stock, Ours(recipe, splits, settings, run, options.smoke, chosen.every), clock)
    if chosen.batches:
        said.pop("final", None)
    last = next((fit for fit in reversed(clock.fits) if fit.items), Fit())  # fastai also predicts in a fit
    found = {
        "seconds": clock.read(),
        "cpu_seconds": sum(os.times()[:4]),  # including data loaders
        "points": clock.points,
        "items_per_second": last.items / last.seconds if last.seconds else None,
        "operations_per_item": last.operations,
        "peak_mb": measure_peak_memory(),
    }
    sys.stdout.flush()
    print(f"\n{json.dumps({**said, **found})}")


if __name__ == "__main__":
    guard_output()
    main()

"""The five cells of the book's first chapter, each once: used by --recipe book and by the benchmarks.

Jeremy Howard and Sylvain Gugger, "Deep Learning for Coders with fastai and PyTorch", O'Reilly 2020, chapter 1. Each
cell takes the data that it would download, and returns its trained Learner. Numbers of epochs and sizes are the book's
by default; smaller ones are for tests. Where pretrained weights cannot be had, a cell says so and starts from scratch.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from fastai.collab import CollabDataLoaders, collab_learner
from fastai.learner import Learner
from fastai.metrics import accuracy, error_rate
from fastai.tabular.all import Categorify, FillMissing, Normalize, TabularDataLoaders, tabular_learner
from fastai.text.all import AWD_LSTM, TextDataLoaders, text_classifier_learner
from fastai.vision.all import (
    ImageDataLoaders,
    Resize,
    SegmentationDataLoaders,
    get_image_files,
    resnet34,
    unet_learner,
    vision_learner,
)

from training.learner import loader_workers

CATEGORIES = ("workclass", "education", "marital-status", "occupation", "relationship", "race")
NUMBERS = ("age", "fnlwgt", "education-num")


def cat_dog(folder: Path, epochs: int = 1, size: int = 224, batch: int = 64) -> Learner:
    """Is it a cat? Pictures in a folder, whose names say what they show."""

    def is_cat(name: str) -> bool:  # in here, so that it is pickled whole with the Learner, not as this module's
        """Return True for a cat: Oxford Pets writes cats with a capital letter."""
        return name[0].isupper()

    dls = ImageDataLoaders.from_name_func(
        folder, get_image_files(folder), valid_pct=0.2, seed=42, label_func=is_cat, item_tfms=Resize(size),
        bs=batch, num_workers=loader_workers(),
    )  # fmt: skip
    learn = with_pretrained(lambda **weights: vision_learner(dls, resnet34, metrics=error_rate, **weights))
    learn.fine_tune(epochs)
    return learn


def segmentation(folder: Path, epochs: int = 8) -> Learner:
    """What is every pixel? A folder laid out like CAMVID_TINY: images/, labels/ and codes.txt."""
    dls = SegmentationDataLoaders.from_label_func(
        folder, bs=8, fnames=get_image_files(folder / "images"),
        label_func=lambda name: folder / "labels" / f"{name.stem}_P{name.suffix}",
        codes=np.loadtxt(folder / "codes.txt", dtype=str), num_workers=loader_workers(),
    )  # fmt: skip
    learn = with_pretrained(lambda **weights: unet_learner(dls, resnet34, **weights))
    learn.fine_tune(epochs)
    return learn


def sentiment(texts: pd.DataFrame, epochs: int = 4, batch: int = 64, callbacks: Sequence[Any] = ()) -> Learner:
    """Is the review positive? A table with the columns text, label and is_valid."""
    dls = TextDataLoaders.from_df(
        texts, text_col="text", label_col="label", valid_col="is_valid", bs=batch, num_workers=loader_workers()
    )
    learn = with_pretrained(
        lambda **weights: text_classifier_learner(
            dls, AWD_LSTM, drop_mult=0.5, metrics=accuracy, cbs=list(callbacks), **weights
        )
    )
    learn.fine_tune(epochs, 1e-2)
    return learn


def salary(
    people: pd.DataFrame,
    epochs: int = 3,
    categories: Sequence[str] = CATEGORIES,
    numbers: Sequence[str] = NUMBERS,
    **split: Any,
) -> Learner:
    """Is the salary 50k or more? The rows of adult.csv; `split` says which are for validation, as from_df has it."""
    dls = TabularDataLoaders.from_df(
        people, y_names="salary", cat_names=list(categories), cont_names=list(numbers),
        procs=[Categorify, FillMissing, Normalize], **split,
    )  # fmt: skip
    learn = tabular_learner(dls, metrics=accuracy)
    learn.fit_one_cycle(epochs)
    return learn


def rating(ratings: pd.DataFrame, epochs: int = 10, **split: Any) -> Learner:
    """How many stars? A table with the columns user, movie and rating; `split` as for salary."""
    dls = CollabDataLoaders.from_df(ratings[["user", "movie", "rating"]].reset_index(drop=True), **split)
    learn = collab_learner(dls, y_range=(0.5, 5.5))
    learn.fine_tune(epochs)
    return learn


def with_pretrained(build: Callable[..., Learner]) -> Learner:
    """Build a Learner with pretrained weights; without them where they cannot be had, and say so."""
    try:
        return build()
    except OSError as error:
        print(f"The pretrained weights cannot be had ({error}): starting from scratch, as the book does not.")
        return build(pretrained=False)

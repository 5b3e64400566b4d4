"""The five cells of the book's first chapter, used by --recipe book and by the benchmarks.

Jeremy Howard and Sylvain Gugger, "Deep Learning for Coders with fastai and PyTorch", O'Reilly 2020, chapter 1. Of each
cell, the first function makes the DataLoaders from the data that the cell downloads, and the second trains and returns
the Learner. The default epochs and sizes are the book's; tests use smaller ones. Without its pretrained weights, a cell
prints a message and trains from scratch.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from fastai.collab import CollabDataLoaders, collab_learner
from fastai.data.core import DataLoaders
from fastai.learner import Learner
from fastai.metrics import accuracy, error_rate
from fastai.tabular.all import Categorify, FillMissing, Normalize, TabularDataLoaders, tabular_learner
from fastai.text.all import AWD_LSTM, TextDataLoaders, text_classifier_learner

from training.learner import choose_loader_workers

CATEGORIES = ("workclass", "education", "marital-status", "occupation", "relationship", "race")
NUMBERS = ("age", "fnlwgt", "education-num")


def load_cat_dog(folder: Path, size: int = 224, batch: int = 64) -> DataLoaders:
    """Load a folder of Oxford Pets pictures, labelled by file name."""
    from fastai.vision.all import ImageDataLoaders, Resize, get_image_files

    def is_cat(name: str) -> bool:  # nested, so that it is pickled by value with the Learner
        """Return True for a cat: its file name in Oxford Pets starts with a capital letter."""
        return name[0].isupper()

    return ImageDataLoaders.from_name_func(
        folder, get_image_files(folder), valid_pct=0.2, seed=42, label_func=is_cat, item_tfms=Resize(size),
        bs=batch, num_workers=choose_loader_workers(),
    )  # fmt: skip


def train_cat_dog(dls: DataLoaders, epochs: int = 1) -> Learner:
    """Train the cat-or-dog cell."""
    from fastai.vision.all import resnet34, vision_learner

    learn = build_with_pretrained(lambda **weights: vision_learner(dls, resnet34, metrics=error_rate, **weights))
    learn.fine_tune(epochs)
    return learn


def load_segmentation(folder: Path) -> DataLoaders:
    """Load a folder like CAMVID_TINY: images/, labels/ and codes.txt."""
    from fastai.vision.all import SegmentationDataLoaders, get_image_files

    return SegmentationDataLoaders.from_label_func(
        folder, bs=8, fnames=get_image_files(folder / "images"),
        label_func=lambda name: folder / "labels" / f"{name.stem}_P{name.suffix}",
        codes=np.loadtxt(folder / "codes.txt", dtype=str), num_workers=choose_loader_workers(),
    )  # fmt: skip


def train_segmentation(dls: DataLoaders, epochs: int = 8) -> Learner:
    """Train the segmentation cell."""
    from fastai.vision.all import resnet34, unet_learner

    learn = build_with_pretrained(lambda **weights: unet_learner(dls, resnet34, **weights))
    learn.fine_tune(epochs)
    return learn


def load_sentiment(texts: pd.DataFrame, batch: int = 64) -> DataLoaders:
    """Load a table with the columns text, label and is_valid."""
    return TextDataLoaders.from_df(
        texts, text_col="text", label_col="label", valid_col="is_valid", bs=batch, num_workers=choose_loader_workers()
    )


def train_sentiment(dls: DataLoaders, epochs: int = 4, callbacks: Sequence[Any] = ()) -> Learner:
    """Train the sentiment cell."""
    learn = build_with_pretrained(
        lambda **weights: text_classifier_learner(
            dls, AWD_LSTM, drop_mult=0.5, metrics=accuracy, cbs=list(callbacks), **weights
        )
    )
    learn.fine_tune(epochs, 1e-2)
    return learn


def load_salary(
    people: pd.DataFrame, categories: Sequence[str] = CATEGORIES, numbers: Sequence[str] = NUMBERS, **split: Any
) -> DataLoaders:
    """Load rows of adult.csv; `split` are the validation options of from_df."""
    return TabularDataLoaders.from_df(
        people, y_names="salary", cat_names=list(categories), cont_names=list(numbers),
        procs=[Categorify, FillMissing, Normalize], **split,
    )  # fmt: skip


def train_salary(dls: DataLoaders, epochs: int = 3) -> Learner:
    """Train the salary cell."""
    learn = tabular_learner(dls, metrics=accuracy)
    learn.fit_one_cycle(epochs)
    return learn


def load_rating(ratings: pd.DataFrame, **split: Any) -> DataLoaders:
    """Load a table with the columns user, movie and rating; `split` as in load_salary."""
    return CollabDataLoaders.from_df(ratings[["user", "movie", "rating"]].reset_index(drop=True), **split)


def train_rating(dls: DataLoaders, epochs: int = 10) -> Learner:
    """Train the rating cell."""
    learn = collab_learner(dls, y_range=(0.5, 5.5))
    learn.fine_tune(epochs)
    return learn


def build_with_pretrained(build: Callable[..., Learner]) -> Learner:
    """Build a Learner with pretrained weights; without them, and with a message, if they cannot be downloaded."""
    try:
        return build()
    except OSError as error:
        print(f"The pretrained weights are not available ({error}): training from scratch, unlike the book.")
        return build(pretrained=False)

"""The peers: fastai's learners as in the book, and transformers' pipelines, with random weights.

The learners are trained for one epoch on made-up data. The weights do not affect the time of an answer.
"""

import io
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import training  # noqa: F401 - makes fastai importable with CPU builds of torch

# isort: split
import numpy as np
import pandas as pd
from fastai.collab import CollabDataLoaders, collab_learner
from fastai.tabular.all import Categorify, FillMissing, Normalize, TabularDataLoaders, tabular_learner
from fastai.text.all import AWD_LSTM, TextDataLoaders, text_classifier_learner
from fastai.vision.all import (
    ImageDataLoaders,
    Learner,
    PILImage,
    Resize,
    ResizeMethod,
    SegmentationDataLoaders,
    resnet34,
    unet_learner,
    vision_learner,
)
from PIL import Image
from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoModelForImageClassification,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    pipeline,
)

from benchmarks.inputs import draw_picture
from training.made_up import write_ratings, write_reviews
from training.salary import Salary

Answer = Callable[[Any], Any]


def train(learn: Learner) -> Learner:
    """Train a learner for one epoch; return it."""
    with learn.no_bar(), learn.no_logging():
        learn.fit(1)
    return learn


def hide_progress(learn: Learner, answer: Answer) -> Answer:
    """Return a function that answers without a progress bar, as a server does."""

    def answered(item: Any) -> Any:
        with learn.no_bar():
            return answer(item)

    return answered


def save_pictures(folder: Path) -> list[Path]:
    """Save sixteen pictures; return their paths."""
    paths = [folder / f"{number}.jpg" for number in range(16)]
    for path in paths:
        draw_picture(320, 240).save(path)
    return paths


def make_cat_dog_learner(folder: Path) -> Learner:
    """Return the book's learner, ResNet-34 at 224 pixels; its files are in `folder`."""
    labels = ["cat", "dog"] * 8
    dls = ImageDataLoaders.from_lists(folder, save_pictures(folder), labels, item_tfms=Resize(224), bs=4, num_workers=0)
    return train(vision_learner(dls, resnet34, pretrained=False))


def make_cat_dog(folder: Path) -> Answer:
    """Return a function from a file's bytes to the answer."""
    learn = make_cat_dog_learner(folder)
    return hide_progress(learn, lambda content: learn.predict(PILImage.create(content)))


def make_segmentation(folder: Path) -> Answer:
    """Return the same for a U-Net on ResNet-34 at 480 by 360 pixels, as ours."""
    codes = [str(number) for number in range(11)]

    def mask(_: Path) -> Any:
        return Image.fromarray(np.random.default_rng(0).integers(0, 11, (240, 320), dtype=np.uint8))

    dls = SegmentationDataLoaders.from_label_func(
        folder,
        save_pictures(folder),
        mask,
        codes=codes,
        item_tfms=Resize((360, 480), ResizeMethod.Squish),
        bs=2,
        num_workers=0,
    )
    learn = train(unet_learner(dls, resnet34, pretrained=False))
    return hide_progress(learn, lambda content: learn.predict(PILImage.create(content)))


def make_text(folder: Path) -> Answer:
    """Return a function from a review to the answer of an AWD-LSTM."""
    reviews = pd.read_csv(write_reviews(folder / "reviews", seed=0))
    dls = TextDataLoaders.from_df(reviews, folder, text_col="text", label_col="label", bs=16, num_workers=0)
    learn = train(text_classifier_learner(dls, AWD_LSTM, pretrained=False))
    return hide_progress(learn, learn.predict)


def make_tabular(folder: Path) -> Answer:
    """Return a function that answers a row of made-up people, whatever its argument."""
    people = pd.read_csv(Salary().make_up(folder / "people", seed=0))
    dls = TabularDataLoaders.from_df(
        people,
        y_names="salary",
        cat_names=["workclass", "education", "marital-status", "occupation", "relationship", "race"],
        cont_names=["age", "fnlwgt", "education-num"],
        procs=[Categorify, FillMissing, Normalize],
    )
    learn, person = train(tabular_learner(dls)), people.iloc[0]
    return hide_progress(learn, lambda _: learn.predict(person))


def make_collab(folder: Path) -> Answer:
    """Return a function that rates one pair of user and movie, whatever its argument."""
    stars = pd.read_csv(write_ratings(folder / "ratings", seed=0) / "ratings.csv")
    learn, asked = train(collab_learner(CollabDataLoaders.from_df(stars), y_range=(0.5, 5.5))), stars.iloc[:1]
    # predict() of a collab learner fails on a row.
    return hide_progress(learn, lambda _: learn.get_preds(dl=learn.dls.test_dl(asked), reorder=False))


def make_cat_dog_pipeline(model: Path) -> Answer:
    """Return transformers' pipeline for our network before its export, from a file's bytes."""
    net = AutoModelForImageClassification.from_config(AutoConfig.from_pretrained(model))
    answer = pipeline("image-classification", model=net, image_processor=AutoImageProcessor.from_pretrained(model))
    return lambda content: answer(Image.open(io.BytesIO(content)))


def make_sentiment_pipeline(model: Path) -> Answer:
    """Return transformers' pipeline for our network before its export, from a review."""
    net = AutoModelForSequenceClassification.from_config(AutoConfig.from_pretrained(model))
    tokenizer = AutoTokenizer.from_pretrained(model)
    return pipeline("text-classification", model=net, tokenizer=tokenizer, truncation=True)


def main() -> None:
    """Export the lesson app's learner: python -m benchmarks.learners model.pkl."""
    with tempfile.TemporaryDirectory() as folder:
        make_cat_dog_learner(Path(folder)).export(Path(sys.argv[1]).resolve())


if __name__ == "__main__":
    main()

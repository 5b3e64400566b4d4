"""The peers: fastai's learners as the book makes them, and transformers' pipelines, with random weights.

The learners are trained for a moment on made-up data. Neither that nor the weights change how long an answer takes.
"""

import io
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import training  # noqa: F401 - lets fastai be imported where torch is built for CPUs alone

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
    """The learner after one epoch."""
    with learn.no_bar(), learn.no_logging():
        learn.fit(1)
    return learn


def hide_progress(learn: Learner, answer: Answer) -> Answer:
    """A function that shows no progress bar, which a server would not either."""

    def answered(item: Any) -> Any:
        with learn.no_bar():
            return answer(item)

    return answered


def save_pictures(folder: Path) -> list[Path]:
    """Sixteen pictures."""
    paths = [folder / f"{number}.jpg" for number in range(16)]
    for path in paths:
        draw_picture(320, 240).save(path)
    return paths


def make_cat_dog_learner(folder: Path) -> Learner:
    """The book's: ResNet-34, pictures of 224 pixels. Its files are in `folder`."""
    labels = ["cat", "dog"] * 8
    dls = ImageDataLoaders.from_lists(folder, save_pictures(folder), labels, item_tfms=Resize(224), bs=4, num_workers=0)
    return train(vision_learner(dls, resnet34, pretrained=False))


def make_cat_dog(folder: Path) -> Answer:
    """From a file's bytes."""
    learn = make_cat_dog_learner(folder)
    return hide_progress(learn, lambda content: learn.predict(PILImage.create(content)))


def make_segmentation(folder: Path) -> Answer:
    """From a file's bytes, by a U-Net on ResNet-34 that sees as many pixels as ours: 480 by 360."""
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
    """From a review, by AWD-LSTM."""
    reviews = pd.read_csv(write_reviews(folder / "reviews", seed=0))
    dls = TextDataLoaders.from_df(reviews, folder, text_col="text", label_col="label", bs=16, num_workers=0)
    learn = train(text_classifier_learner(dls, AWD_LSTM, pretrained=False))
    return hide_progress(learn, learn.predict)


def make_tabular(folder: Path) -> Answer:
    """From a row of the census; which one does not matter, and it has the made-up people's columns."""
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
    """From a user and a movie."""
    stars = pd.read_csv(write_ratings(folder / "ratings", seed=0) / "ratings.csv")
    learn, asked = train(collab_learner(CollabDataLoaders.from_df(stars), y_range=(0.5, 5.5))), stars.iloc[:1]
    # predict() of a collab learner fails on a row: this is how one asks it.
    return hide_progress(learn, lambda _: learn.get_preds(dl=learn.dls.test_dl(asked), reorder=False))


def make_cat_dog_pipeline(model: Path) -> Answer:
    """transformers' pipeline with the network that ours was before it was exported, from a file's bytes."""
    net = AutoModelForImageClassification.from_config(AutoConfig.from_pretrained(model))
    answer = pipeline("image-classification", model=net, image_processor=AutoImageProcessor.from_pretrained(model))
    return lambda content: answer(Image.open(io.BytesIO(content)))


def make_sentiment_pipeline(model: Path) -> Answer:
    """transformers' pipeline with the network that ours was before it was exported, from a review."""
    net = AutoModelForSequenceClassification.from_config(AutoConfig.from_pretrained(model))
    tokenizer = AutoTokenizer.from_pretrained(model)
    return pipeline("text-classification", model=net, tokenizer=tokenizer, truncation=True)


def main() -> None:
    """Export the lesson app's learner: python -m benchmarks.learners model.pkl."""
    with tempfile.TemporaryDirectory() as folder:
        make_cat_dog_learner(Path(folder)).export(Path(sys.argv[1]).resolve())


if __name__ == "__main__":
    main()

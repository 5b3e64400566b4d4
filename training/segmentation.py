"""Train a segmentation model of street scenes on CamVid: the second model of the book.

    python -m training.segmentation --smoke            seconds, on generated drawings
    python -m training.segmentation                    downloads CamVid; meant for a GPU
    python -m training.segmentation --teachers 0 --epochs 36   without teachers: hours on a CPU
    python -m training.segmentation --data DIR         a local copy
    python -m training.segmentation --recipe book      the book's own cell, beside the book's figure

DIR has train, val and test, each with images and labels of the same names. A label is a PNG whose pixels are class
indices in the order of codes.txt; the class Void is ignored. SegNet's own layout (train, trainannot, ...) also works.
Pictures of your own: python -m training.recipes.image_segmentation --data FOLDER
"""

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from fastai.learner import Learner

from shared.metrics import Figure
from training import book, command
from training.data import find_data
from training.description import read_description
from training.networks.image_segmentation import SegmentationNet
from training.pictures.camvid import CLASSES, COLOURS, find_camvid, read_part, write_small_copy
from training.pictures.confusion import ConfusionMatrix
from training.pictures.frames import Frames
from training.recipe import Answered, Splits
from training.recipes.image_segmentation import ImageSegmentation, ImageSegmentationSettings
from training.storing import Export

BOOK_LOSS = 0.818  # resnet34 U-Net, 8 epochs on CAMVID_TINY, 32 classes; it varies a little from run to run
HELD_OUT = 20  # validation frames that are not trained on, for calibration
UNSEEN_DRIVE = "Seq05VD"  # prefix of the names of its frames, none of which is trained on
WITH_VALIDATION = (
    "It was trained on train, and on val except for those frames. They are from a drive of which other frames were "
    "trained on. No script here measured which other settings were tried."
)


@dataclass(frozen=True)
class StreetSettings(ImageSegmentationSettings):
    """With `official_val`, train only on train and measure on val, to compare settings without the test."""

    size: tuple[int, int] = (480, 360)  # that of the files, so that figures are measured on them as they are
    epochs: int = 230
    teachers: int = 3
    official_val: bool = False
    book_epochs: int = 8

    @classmethod
    def smoke(cls) -> "StreetSettings":
        """Return settings for a training run of seconds."""
        return cls(
            init=None, size=(160, 128), area=200 * 160, crop=(64, 96), batch=8, epochs=2, teachers=0,
            book_epochs=1,
        )  # fmt: skip


class Streets(ImageSegmentation):
    """The image segmentation recipe on CamVid."""

    module = "training.segmentation"
    settings = StreetSettings

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        """Add the recipe's options and --official-val."""
        super().add_options(parser)
        parser.add_argument(
            "--official-val", action="store_true", default=None,
            help="train only on train, measure on val, and do not use the test",
        )  # fmt: skip

    def load(self, data: str | None, settings: StreetSettings) -> Splits[Frames]:
        """Read CamVid. Since it is small, all but the last frames of val are trained on, too."""
        folder = find_camvid(data)
        frames = {split: read_part(folder, split, settings.size) for split in ("train", "val", "test")}
        description = read_description("segmentation")
        if settings.official_val:
            test = frames["val"].as_test("CamVid", "official val")
            return Splits(frames["train"], frames["val"], (test,), description, CLASSES, test)
        held_out = min(HELD_OUT, len(frames["val"]) // 2)
        train = frames["train"].join(frames["val"].take(slice(None, -held_out)))
        valid, tests = frames["val"].take(slice(-held_out, None)), (frames["test"].as_test("CamVid", "official test"),)
        return Splits(train, valid, tests, description, CLASSES, valid.as_test("CamVid", "validation"))

    def export(self, network: SegmentationNet, splits: Splits[Frames], settings: StreetSettings) -> Export:
        """Export the network, with a note on the frames it was trained on."""
        exported = super().export(network, splits, settings)
        if settings.official_val or splits.description.is_own:
            return exported
        return replace(exported, notes=(*exported.notes, WITH_VALIDATION))

    def choose_colours(self, classes: Sequence[str]) -> tuple[tuple[int, int, int], ...]:
        """Return the data set's own colours."""
        return COLOURS if tuple(classes) == CLASSES else super().choose_colours(classes)

    def measure(self, found: Answered[Frames, StreetSettings]) -> dict[str, object]:
        """Add figures for the drive of which no frame was trained on."""
        measured, test = super().measure(found), found.splits.tests[0]
        unseen = np.flatnonzero([name.startswith(UNSEEN_DRIVE) for name in test.names])
        if len(unseen):
            split = f"{test.split}, the drive of which no frame was trained on"
            part = ConfusionMatrix.stack(found.answers[0]).take(unseen)
            figures: list[Figure] = self.compute_overall(part, test.where | {"split": split, "count": len(unseen)})
            measured["figures"][2:2] = figures
        return measured

    def run_book(self, data: str | None, settings: StreetSettings) -> Learner:
        """Run the book's cell on frames of the size of CAMVID_TINY."""
        if data is None:
            learn = book.train_segmentation(
                book.load_segmentation(find_data(None, "CAMVID_TINY", "")), settings.book_epochs
            )
        else:
            with tempfile.TemporaryDirectory() as folder:
                is_camvid = any((Path(data) / part).is_dir() for part in ("train", "CamVid"))
                if is_camvid:
                    frames = read_part(find_camvid(data), "train", settings.size)
                else:
                    frames = self.load_own(data, settings).train
                print(f"{len(frames)} frames at 128 by 96 pixels, 12 classes; the book's have the same size and 32.")
                dls = book.load_segmentation(write_small_copy(frames, Path(folder)))
                learn = book.train_segmentation(dls, settings.book_epochs)
        print(f"valid loss: {learn.recorder.values[-1][1]:.4f}; the book's: {BOOK_LOSS}")
        return learn


main = partial(command.run, Streets())

if __name__ == "__main__":
    raise SystemExit(command.main(Streets()))

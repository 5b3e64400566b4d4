"""Train a classifier of cats and dogs on Oxford Pets: the first model of the book.

    python -m training.cat_dog --smoke            seconds, on generated drawings
    python -m training.cat_dog --quick            downloads Oxford Pets; the last layer alone
    python -m training.cat_dog                    ten epochs, for two CPU cores
    python -m training.cat_dog --epochs 150 --teacher efficientnet-lite0    as the embedded model; for a GPU
    python -m training.cat_dog --recipe book      the book's own cell, with its figure beside ours

--data names a folder with Oxford Pets and its official split in annotations/. --dogs-vs-cats, --camvid and --animals
name more pictures to measure on. Pictures of your own: python -m training.recipes.image_classification --data FOLDER
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from fastai.learner import Learner

from shared.images import Source
from training import book, command, evaluate
from training.data import DataError, TestSet, find_data
from training.description import read_description
from training.own_data.labelled_pictures import Pictures, divide
from training.pictures import hard_pictures, unrelated_pictures
from training.pictures.files import list_pictures
from training.pictures.head import Classes
from training.recipe import Answered, Splits
from training.recipes.image_classification import (
    VALID_SHARE,
    ImageClassification,
    ImageClassificationSettings,
    name_start,
)

# Training pictures with a near duplicate among the test pictures: within 12 bits of a difference hash of 256.
NEAR_DUPLICATES = {
    f"{breed}_{number}"
    for breed, numbers in {
        "Abyssinian": [151], "Bombay": [146], "British_Shorthair": [160, 186], "Egyptian_Mau": [138, 186],
        "german_shorthaired": [150, 179, 180], "great_pyrenees": [173], "newfoundland": [149],
        "japanese_chin": [137, 140, 158, 176, 187, 188], "keeshond": [140, 141, 152, 175], "leonberger": [187, 189],
    }.items()
    for number in numbers
}  # fmt: skip
LABELS = ("cat", "dog")
IMAGENET_CLASSES = (range(281, 286), range(151, 269))  # ImageNet's house cats and dogs
MEASURED_ON = ("dogs_vs_cats", "camvid", "animals")  # settings that name a folder
BOOK_ERROR = 0.0095  # resnet34, pretrained, one epoch


@dataclass(frozen=True)
class CatDogSettings(ImageClassificationSettings):
    """Add folders to measure on and the book's sizes. docs/training.md has what each alpha reached."""

    alpha: float = 0.3
    dogs_vs_cats: str | None = None
    camvid: str | None = None
    animals: str | None = None
    book_size: int = 224
    book_batch: int = 64

    @classmethod
    def smoke(cls) -> "CatDogSettings":
        """Return settings for a training run of seconds."""
        return cls(**vars(ImageClassificationSettings.smoke()) | {"book_size": 64, "book_batch": 8})


class CatDog(ImageClassification[CatDogSettings]):
    """The image classification recipe on Oxford Pets."""

    module = "training.cat_dog"
    settings = CatDogSettings
    measuring = (*ImageClassification.measuring, *MEASURED_ON)

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        """Add the recipe's options and those that name more pictures to measure on."""
        super().add_options(parser)
        parser.add_argument("--dogs-vs-cats", metavar="DIR", help="folder with test/cat.*.jpg and test/dog.*.jpg, too")
        parser.add_argument("--camvid", metavar="DIR", help="folder with test/images to measure on: no cats or dogs")
        parser.add_argument("--animals", metavar="DIR", help="stamps/animals of Tux Paint to measure on")

    def load(self, data: str | None, settings: CatDogSettings) -> Splits[Pictures]:
        """Read Oxford Pets with its official split; the first letter of a file name tells cats from dogs."""
        try:
            folder = find_data(data, "PETS", "annotations/trainval.txt")
        except DataError as error:
            own = f" For your own pictures: python -m training.recipes.image_classification --data {data}"
            raise DataError(f"{error}{own if data else ''}") from error
        trainval = [name for name in read_names(folder / "annotations/trainval.txt") if name not in NEAR_DUPLICATES]
        train, valid = divide(select_pets(folder, trainval), VALID_SHARE, settings.seed)
        test = select_pets(folder, read_names(folder / "annotations/test.txt")).as_test("Oxford Pets", "official test")
        find_unrelated_pictures(settings)  # fail before training if a folder lacks its pictures
        tests = (test, *([read_dogs_vs_cats(Path(settings.dogs_vs_cats))] if settings.dogs_vs_cats else []))
        about = read_description("cat_dog", used=[name for name in MEASURED_ON if getattr(settings, name)])
        description = name_start(about, settings)
        return Splits(train, valid, tests, description, LABELS, valid.as_test("Oxford Pets", "validation"))

    def find_imagenet_classes(self, labels: Sequence[str]) -> Classes | None:
        """Return ImageNet's cats and dogs, or None for other labels."""
        return IMAGENET_CLASSES if tuple(labels) == LABELS else None

    def find_unrelated(self, settings: CatDogSettings) -> dict[str, Sequence[Source]]:
        """Return pictures without a cat or dog, by group; add street scenes and other animals."""
        return find_unrelated_pictures(settings) | super().find_unrelated(settings)

    def measure(self, found: Answered[Pictures, CatDogSettings]) -> dict[str, Any]:
        """Add the errors on harder versions of the test pictures, and how sure it is of a cat and a dog together."""
        return hard_pictures.add_robustness(super().measure(found), found.model, found.splits.tests)

    def run_book(self, data: str | None, settings: CatDogSettings) -> Learner:
        """Run the book's cell on Oxford Pets, or on any folder of pictures."""
        is_other = data and not (Path(data) / "annotations").is_dir()
        folder = Path(str(data)) if is_other else find_data(data, "PETS", "annotations/trainval.txt") / "images"
        print(f"{len(list_pictures(folder)):,} pictures of {folder}; the book has 7,390.")
        learn = book.train_cat_dog(book.load_cat_dog(folder, settings.book_size, settings.book_batch))
        evaluate.print_book("error on a random fifth", learn, BOOK_ERROR)
        return learn


def read_names(path: Path) -> list[str]:
    """Return the names in the first column of an official list."""
    return [line.split()[0] for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def select_pets(folder: Path, names: list[str]) -> Pictures:
    """Return the pets with these names, such as Maine_Coon_12; a capital letter means a cat."""
    paths = [folder / "images" / f"{name}.jpg" for name in names]
    _, breed = np.unique([name.rpartition("_")[0] for name in names], return_inverse=True)
    return Pictures(paths, np.array([name[0].islower() for name in names]).astype(np.int64), breed)


def read_dogs_vs_cats(folder: Path) -> TestSet:
    """Return the pictures of Dogs vs. Cats as a test set."""
    paths = [*sorted((folder / "test").glob("cat.*.jpg")), *sorted((folder / "test").glob("dog.*.jpg"))]
    if len({path.name[:3] for path in paths}) < 2:
        raise DataError(f"{folder / 'test'} must have cat.*.jpg and dog.*.jpg; or omit --dogs-vs-cats.")
    y = np.array([path.name.startswith("dog") for path in paths]).astype(np.int64)
    return TestSet("Dogs vs. Cats", "development set", paths, y)


def find_unrelated_pictures(settings: CatDogSettings) -> dict[str, Sequence[Source]]:
    """Return the pictures without a cat or dog that the options name, by group."""
    groups: dict[str, Sequence[Source]] = {}
    if settings.camvid:
        groups["street scenes (CamVid test)"] = unrelated_pictures.find_street_scenes(Path(settings.camvid))
    if settings.animals:
        groups["animals cut out on white (Tux Paint's stamps)"] = unrelated_pictures.find_stamps(Path(settings.animals))
    return groups


main = partial(command.run, CatDog())

if __name__ == "__main__":
    raise SystemExit(command.main(CatDog()))

"""Train a network that predicts the class of every pixel of a picture.

    python -m training.recipes.image_segmentation --data FOLDER    images/, labels/ and codes.txt with the classes
    python -m training.recipes.image_segmentation --smoke          seconds, on generated drawings

A label is a PNG with the name of its picture, whose pixels are class indices in the order of codes.txt; pixels with
larger indices are ignored. A fifth of the pictures is held out for the test, a tenth of the rest for validation.
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fastai.callback.core import Callback
from fastai.data.core import DataLoaders
from fastai.learner import Learner
from fastai.torch_core import TensorMask, default_device
from fastai.vision.augment import Saturation, aug_transforms
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import save_file
from torch.nn import functional as F
from transformers import MobileNetV2Config, MobileNetV2ForSemanticSegmentation

from shared.archives import make_safe_filename
from shared.image_segmenter import ImageSegmenter, find_working_size
from shared.images import load_image, to_array
from shared.metrics import Figure
from shared.session import softmax
from training import evaluate
from training.command import main
from training.confusion import ConfusionMatrix, class_iou, mean_iou, pixel_accuracy
from training.data import DataError
from training.description import describe
from training.export import store_int8
from training.folder import EXAMPLES
from training.learner import Run, choose_mixed_precision, make_adamw, retry_with_smaller_batches, set_seed
from training.made_up import draw_streets
from training.networks.image_segmentation import (
    IGNORED,
    SegmentationNet,
    group_parameters,
    pixel_error,
    segmentation_loss,
)
from training.parity import Shown
from training.pictures import INPUT, PictureLoader, check_pretrained, decode, load_pretrained
from training.recipe import Answered, Export, Recipe, Settings, Splits, TestSet

HUB_INIT = "google/deeplabv3_mobilenet_v2_1.0_513"
MEAN = STD = (0.5, 0.5, 0.5)
MULTIPLE = 16  # so that every stride halves an even side, as TensorFlow's padding in the export assumes
OUTPUT_STRIDE = 8
MIN_SAMPLES = 4  # pictures in a split
EXAMPLE_COUNT = 3
PARITY_PICTURES = 50
RELABELLED = 0.01  # share of pixels whose class may change when the weights are stored
# Okabe and Ito's colour-blind-safe palette, then others.
COLOURS = (
    (230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178), (213, 94, 0), (204, 121, 167),
    (128, 128, 128), (128, 0, 0), (0, 128, 0), (0, 0, 128), (128, 64, 0), (64, 128, 128), (192, 64, 192),
)  # fmt: skip
TERMS = (
    "It began as DeepLabV3 on MobileNetV2, trained on COCO and Pascal VOC, which its authors offer under Apache-2.0;\n"
    f'its copy on the Hub, {HUB_INIT}, has the licence "other".'
)
LIMITS = (
    "It gives every pixel one of its classes, also where the picture shows something else.",
    "How it does on pictures of another kind than those it was trained on was not measured.",
)


@dataclass(frozen=True)
class ImageSegmentationSettings(Settings):
    """Hyper-parameters. `init` is the folder or Hub name of the pretrained network; None is a small random one.

    `size` is the width and height of the pictures in memory, `crop` the height and width of training crops, and
    `rates` are the learning rates of the backbone and of the rest.
    """

    init: str | None = HUB_INIT
    size: tuple[int, int] = (480, 360)
    crop: tuple[int, int] = (352, 480)
    batch: int = 8
    epochs: int = 36
    rates: slice = field(default_factory=lambda: slice(2e-4, 2e-3))

    @classmethod
    def smoke(cls) -> "ImageSegmentationSettings":
        """Return settings for a training run of seconds."""
        return cls(init=None, size=(160, 128), crop=(64, 80), epochs=2)


@dataclass(frozen=True)
class Frames:
    """Pictures and the class of each pixel: (n, 3, height, width) and (n, height, width), both uint8."""

    names: list[str]
    pictures: torch.Tensor
    labels: torch.Tensor

    def __len__(self) -> int:
        return len(self.names)

    def take(self, rows: slice | Sequence[int]) -> "Frames":
        """Return the frames with these indices."""
        names = self.names[rows] if isinstance(rows, slice) else [self.names[row] for row in rows]
        return Frames(names, self.pictures[rows], self.labels[rows])

    def join(self, other: "Frames") -> "Frames":
        """Return these frames followed by the others."""
        return Frames(
            self.names + other.names,
            torch.cat([self.pictures, other.pictures]),
            torch.cat([self.labels, other.labels]),
        )

    def as_test(self, data: str, split: str) -> TestSet:
        """Return the frames as a test set: PIL pictures, and their labels."""
        pictures = [Image.fromarray(picture.permute(1, 2, 0).numpy()) for picture in self.pictures]
        return TestSet(data, split, pictures, self.labels.numpy(), self.names)


class ImageSegmentation(Recipe[Frames, ImageSegmentationSettings]):
    """Segment pictures."""

    module = "training.recipes.image_segmentation"
    predictor = ImageSegmenter
    settings = ImageSegmentationSettings
    score_label = "mean IoU"
    max_accuracy_drop = 0.002
    max_answers_lost = RELABELLED  # of one picture

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        """Add --init."""
        parser.add_argument("--init", metavar="NAME", help=f"to begin with; folder or Hub name (default {HUB_INIT})")

    def check_start(self, settings: ImageSegmentationSettings) -> None:
        """Check that the pretrained network can be used."""
        if settings.init:
            check_pretrained(MobileNetV2ForSemanticSegmentation, settings.init)

    # --- data ---

    def load_own(self, data: str, settings: ImageSegmentationSettings) -> Splits[Frames]:
        """Read a folder with images/, labels/ and codes.txt."""
        folder = Path(data)
        classes = read_classes(folder / "codes.txt")
        frames = read_frames(folder / "images", folder / "labels", settings.size, len(classes))
        if len(set(frames.labels.unique().tolist()) - {IGNORED}) < 2:
            raise DataError(
                f"The labels in {folder / 'labels'} have fewer than two classes; their pixels must be indices of the "
                "lines of codes.txt, from 0 on."
            )
        order = np.random.default_rng(settings.seed).permutation(len(frames)).tolist()
        test, valid = max(1, len(frames) // 5), max(1, len(frames) // 10)
        name = folder.resolve().name
        summary = f"A picture: where is {', '.join(classes[:-1])} or {classes[-1]}, pixel by pixel?"
        description = describe(name, summary, LIMITS, HUB_INIT, TERMS)
        parts = frames.take(order[test + valid :]), frames.take(order[test : test + valid])
        tests = (frames.take(order[:test]).as_test(name, "held-out fifth"),)
        return Splits(*parts, tests, description, classes, parts[1].as_test(name, "validation"))

    def make_up(self, folder: Path, seed: int) -> str:
        """Write drawings of streets."""
        return str(draw_streets(folder, seed))

    def choose_colours(self, classes: Sequence[str]) -> tuple[tuple[int, int, int], ...]:
        """Return a colour (red, green, blue) for each class."""
        rng = np.random.default_rng(0)
        more = [tuple(rng.integers(40, 256, 3).tolist()) for _ in classes[len(COLOURS) :]]
        return (*COLOURS, *more)[: len(classes)]

    # --- training ---

    def fit(self, splits: Splits[Frames], settings: ImageSegmentationSettings, run: Run) -> SegmentationNet:
        """Train all layers together, the decoder and the context at ten times the backbone's learning rate."""
        train, valid = splits.train, splits.valid
        print(f"{len(train)} pictures to train on, {len(valid)} to validate on, {len(splits.tests[0])} to test on.")
        set_seed(settings.seed)
        net = SegmentationNet(len(splits.labels), load_backbone(settings))
        net.to(default_device(), memory_format=torch.channels_last)
        masks = [TensorMask(part.labels.long()) for part in (train, valid)]
        load = partial(PictureLoader, mean=MEAN, std=STD)

        def train_with(batch: int, accumulate: list[Callback]) -> None:
            loaders = [
                load(train.pictures, masks[0], bs=batch, transforms=make_augmentation(settings.crop), shuffle=True,
                     drop_last=True),
                load(valid.pictures, masks[1], bs=batch),
            ]  # fmt: skip
            learn = Learner(
                DataLoaders(*loaders, device=loaders[0].device), net, loss_func=segmentation_loss,
                metrics=[pixel_error], splitter=group_parameters, opt_func=make_adamw,
                cbs=[*choose_mixed_precision(), *accumulate],
            )  # fmt: skip
            schedule = partial(learn.fit_one_cycle, settings.epochs, settings.rates, pct_start=0.15)
            run.fit(learn, "network", schedule, again=bool(accumulate))

        retry_with_smaller_batches(train_with, min(settings.batch, len(train) // 2))
        return net.to("cpu", memory_format=torch.contiguous_format).eval()

    # --- storing and measuring ---

    def export(self, network: SegmentationNet, splits: Splits[Frames], settings: ImageSegmentationSettings) -> Export:
        """Calibrate the last layer on validation pictures."""
        temperature = calibrate(network, splits.valid)
        test, area = splits.tests[0].inputs, settings.size[0] * settings.size[1]
        pictures = [*test[:PARITY_PICTURES], *crop_shapes(test[0])]
        batches = [{INPUT: prepare_picture(picture, area)} for picture in pictures]

        def save(folder: Path) -> None:
            save_file(network.state_dict(), folder / "model.safetensors")
            write_examples(folder, splits.valid)

        return Export(
            module=network,
            inputs={INPUT: torch.from_numpy(batches[0][INPUT])},
            outputs=["logits"],
            store=store_int8,
            batches=batches,
            shown=Shown("probability", softmax, "frames", "output pixels", typical=0.2, relabelled=RELABELLED),
            tolerance=0.9,
            fields={
                "labels": splits.labels, "colours": self.choose_colours(splits.labels), "area": area,
                "multiple": MULTIPLE, "mean": MEAN, "std": STD,
            },
            free_axes={name: {0: "rows", 2: f"{name}_height", 3: f"{name}_width"} for name in (INPUT, "logits")},
            tolerance_float=2e-3,
            save=save,
            notes=(
                f"The last layer was divided by the temperature {temperature:.3f}, fitted on {len(splits.valid)} "
                "validation frames that were not trained on.",
            ),
        )  # fmt: skip

    def keep(self, answer: Any, target: NDArray[np.uint8]) -> ConfusionMatrix:
        """Compare an answer with its target at once: a mask has millions of pixels."""
        return ConfusionMatrix.from_prediction(answer, target, IGNORED)

    def compute_figures(self, answers: Sequence[ConfusionMatrix], test: TestSet) -> list[Figure]:
        """Return mean IoU, pixel accuracy, calibration, and the IoU of each class."""
        everything = ConfusionMatrix.stack(answers)
        interval = evaluate.bootstrap_interval(everything.compute_calibration_error, len(test), draws=500)
        error = everything.compute_calibration_error(np.arange(len(test)))
        label = "expected calibration error of a pixel's confidence"
        return [
            *self.compute_overall(everything, test.where),
            evaluate.make_figure("ece", error, interval, **test.where, label=label),
            *(
                make_metric(f"iou_{name}", partial(class_iou, index), everything.tables, test.where, f"IoU of {name}")
                for index, name in enumerate(answers[0].classes)
                if everything.tables[:, index].any()
            ),
        ]

    def compute_overall(self, frames: ConfusionMatrix, where: dict[str, Any]) -> list[Figure]:
        """Return mean IoU and pixel accuracy."""
        return [
            make_metric("mean_iou", mean_iou, frames.tables, where, "mean IoU"),
            make_metric("pixel_accuracy", pixel_accuracy, frames.tables, where, "pixel accuracy"),
        ]

    def score(self, answers: Sequence[ConfusionMatrix], test: TestSet) -> float:  # noqa: ARG002 - answers include targets
        """Return the mean IoU."""
        return mean_iou(ConfusionMatrix.stack(answers).tables.sum(0))

    def format_headline(self, figure: Figure) -> str:
        """Return the gallery's line about the model."""
        return f"mean IoU {figure.value:.1%} on {figure.count} test frames"

    def measure(self, found: Answered[Frames, ImageSegmentationSettings]) -> dict[str, Any]:
        """Add notes on the figures."""
        measured = super().measure(found)
        measured["notes"] += [
            "Intervals are over pictures drawn with replacement.",
            "Pixels without a class are left out of all figures.",
        ]
        return measured


def load_backbone(settings: ImageSegmentationSettings) -> MobileNetV2ForSemanticSegmentation:
    """Load the pretrained network from a folder or the Hub; return a small random one if `init` is None."""
    if settings.init is None:
        return MobileNetV2ForSemanticSegmentation(MobileNetV2Config(depth_multiplier=0.35, output_stride=OUTPUT_STRIDE))
    return load_pretrained(MobileNetV2ForSemanticSegmentation, settings.init, output_stride=OUTPUT_STRIDE)


def read_classes(path: Path) -> tuple[str, ...]:
    """Read the names of the classes from a text file, one per line.

    Raises:
        DataError: the file is missing, or has fewer than two classes, too many, or duplicates.
    """
    if not path.is_file():
        raise DataError(f"There is no {path.name} in {path.parent}; it must list the classes, one per line.")
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text; save it in that encoding.") from error
    classes = tuple(line.strip() for line in lines if line.strip())
    if not 2 <= len(set(classes)) == len(classes) <= IGNORED:
        raise DataError(f"{path} must list 2 to {IGNORED} different classes, one per line.")
    return classes


def read_frames(images: Path, labels: Path, size: tuple[int, int], classes: int) -> Frames:
    """Read pictures and labels at a size (width, height); larger indices than those of the classes are ignored.

    Raises:
        DataError: there are too few pictures, or a label is missing or is not a picture of class indices.
    """
    paths = sorted(path for path in images.glob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
    if len(paths) < MIN_SAMPLES or not labels.is_dir():
        raise DataError(f"There must be at least {MIN_SAMPLES} pictures in {images}, and their labels in {labels}.")
    named = [labels / f"{path.stem}.png" for path in paths]
    if missing := [path for path in named if not path.is_file()]:
        raise DataError(f"There is no label {missing[0]}.")
    pixels = np.stack([read_label(path, size) for path in named])
    pixels[pixels >= classes] = IGNORED
    return Frames([path.stem for path in paths], decode(paths, size), torch.from_numpy(pixels))


def read_label(path: Path, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return the class indices of one picture, (height, width).

    Raises:
        DataError: it is not a picture of class indices.
    """
    try:
        with Image.open(path) as image:
            if image.mode not in ("P", "L"):
                raise DataError(f"{path} must be a PNG of class indices, not of colours ({image.mode}).")
            return np.array(image.resize(size, Image.Resampling.NEAREST), dtype=np.uint8)
    except (OSError, Image.DecompressionBombError) as error:
        raise DataError(f"{path} cannot be read as a picture ({error}); it must be a PNG of class indices.") from error


def make_augmentation(size: tuple[int, int]) -> list[Any]:
    """Return fastai's batch transforms of pictures and masks: zoom, rotate, warp, flip, lighting, saturation."""
    return [
        *aug_transforms(
            size=size, min_zoom=0.75, max_zoom=2.0, max_rotate=5, max_warp=0.1, max_lighting=0.3, p_affine=1.0,
            p_lighting=0.8, xtra_tfms=[Saturation(0.3, p=0.5)],
        )
    ]  # fmt: skip


@torch.inference_mode()
def calibrate(net: SegmentationNet, valid: Frames, pixels: int = 200) -> float:
    """Divide the last layer by a temperature fitted on some pixels of each validation picture; return it."""
    rng = np.random.default_rng(0)
    logits, labels = [], []
    for picture, label in zip(valid.as_test("", "").inputs, valid.labels, strict=True):
        served = torch.from_numpy(prepare_picture(picture, picture.width * picture.height))
        fine = F.interpolate(net(served), size=label.shape, mode="bilinear")
        rows = torch.from_numpy(rng.permutation(np.flatnonzero(label.flatten().numpy() != IGNORED))[:pixels])
        logits.append(fine[0].flatten(1)[:, rows].T)
        labels.append(label.flatten()[rows])
    temperature = evaluate.fit_temperature(torch.cat(logits).numpy(), torch.cat(labels).numpy())
    net.classify.weight /= temperature
    net.classify.bias /= temperature
    return temperature


def prepare_picture(picture: Image.Image, area: int) -> NDArray[np.float32]:
    """Return a picture as serving gives it to the model, (1, 3, rows, columns), of about `area` pixels."""
    size = find_working_size(picture.size, area, MULTIPLE)
    return to_array(load_image(picture).resize(size), MEAN, STD)[None]


def crop_shapes(picture: Image.Image) -> list[Image.Image]:
    """Return upright, wide, very wide and very narrow crops, to check the export with other shapes."""
    width, height = picture.size
    sizes = ((width // 2, height), (width, height // 2), (width, height // 12), (width // 12, height))
    return [picture.crop((0, 0, *size)) for size in sizes]


def make_metric(
    name: str,
    statistic: Callable[[NDArray[np.int64]], float],
    tables: NDArray[np.int64],
    where: dict[str, Any],
    label: str,
) -> Figure:
    """Return a statistic of the summed matrices (n, classes, classes), with a bootstrap interval over frames."""
    interval = evaluate.bootstrap_interval(lambda rows: statistic(tables[rows].sum(0)), len(tables), draws=500)
    return evaluate.make_figure(name, statistic(tables.sum(0)), interval, **where, label=label)


def write_examples(folder: Path, valid: Frames) -> None:
    """Save a few validation frames, which are published with the model and shown by Spaces."""
    (folder / EXAMPLES).mkdir()
    pictures = valid.as_test("", "").inputs
    for index in np.linspace(0, len(valid) - 1, EXAMPLE_COUNT).astype(int):
        pictures[index].save(folder / EXAMPLES / f"{make_safe_filename(valid.names[index])}.jpg", quality=90)


if __name__ == "__main__":
    raise SystemExit(main(ImageSegmentation()))

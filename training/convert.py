"""Convert a picture classifier that fastai exported (learn.export()) to a checkpoint folder.

    python -m training.convert export.pkl --data FOLDER --out runs/mine
    python -m training.convert export.pkl --data FOLDER --labels cat,dog     names for the vocab, such as False and True

The file is a pickle: loading it runs the code in it, so convert only files from people whom you trust. FOLDER has a
subfolder of pictures for each label, or pictures whose names the Learner's own label function reads, or a CSV of their
names and labels. Half of the pictures calibrate the model, and the other half measure it.
"""

import argparse
import copy
import shlex
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fastai.learner import Learner
from numpy.typing import NDArray
from sklearn.model_selection import KFold
from torch import nn

from shared import load_model
from shared.config import LICENCE, MODEL, sha256
from shared.console import guarded_output
from shared.errors import CheckpointError
from shared.image_classifier import ImageClassifier
from shared.metrics import Figure, Input, Metrics
from shared.session import softmax
from training import evaluate
from training.card import describe_parity, write_card
from training.command import OptionError, OptionParser
from training.data import DataError, TestSet
from training.description import Description, ask_label, describe
from training.export import round_to_int8, store, store_half, store_int8, write_onnx
from training.exported_labels import Vocab, choose_labels, read_pictures
from training.exported_learner import (
    TRUST,
    Preparation,
    check_loss,
    check_preparation,
    find_categories,
    load,
    predict,
    read_preparation,
)
from training.folder import check_out, create_folder, write_config, write_metrics
from training.networks.fastai_vision import Distance, VisionNet
from training.out_of_distribution import measure_group
from training.own_data.labelled_pictures import Pictures
from training.own_data.labels import count_labels
from training.own_data.options import DataOptions
from training.own_data.tables import name_data
from training.parity import ParityError, Shown, check_changes, check_parity
from training.pictures.batches import INPUT
from training.progress import show_progress
from training.recipe import answer, answer_test, print_next_steps
from training.recipes.image_classification import ImageClassification, ImageClassificationSettings
from training.record import Record, get_commit, hash_input, record_measurement
from training.storing import check_cost

REJECTED_SHARE = 0.01  # of the pictures that calibrate, which determines the threshold
FOLDS = 5
CHUNK = 16  # pictures that are in memory at once
Computed = tuple[NDArray[np.float32], NDArray[np.float32]]
PARITY_PICTURES = 200
TOLERANCE = (0.2, 1.0, 1.0)  # of probabilities, scores and maps
SHOWN = Shown("probability", softmax, "pictures", "pictures", typical=0.05, relabelled=0.002)
PREDICTED = Shown("probability", softmax, "pictures", "pictures", typical=0.1, relabelled=0.02)
SEEN = (
    "The Learner may have been trained on the pictures that measured it; then the figures are better than for new "
    "pictures, and the model is too sure of its answers."
)
UNSEEN = "Its author says that the Learner was not trained on the pictures that measured it."
LIMITS = (
    "The probabilities hold if the picture shows one of the labels.",
    "It rejects what is quite unlike the pictures that calibrated it. What resembles a label is often accepted.",
)
TERMS = "It was converted from a fastai Learner; a pretrained network in it has terms of its own."


@dataclass(frozen=True)
class Conversion:
    """All that is converted.

    `calibrating` and `measuring` are the halves of the pictures, and `arch` is the name of the architecture, if known.
    """

    learn: Learner
    arch: str | None
    net: VisionNet
    preparation: Preparation
    labels: tuple[str, ...]
    calibrating: Pictures
    measuring: Pictures
    data: str
    is_unseen: bool


def run(argv: Sequence[str] = ()) -> Path:
    """Convert a Learner, with command-line options given as a list; return the checkpoint folder.

    Raises:
        OptionError: an option is unknown or lacks its value.
        DataError: the Learner or the pictures cannot be used, or the folder cannot be written.
        ParityError: the stored model differs from the Learner; nothing is written.
    """
    with guarded_output():
        options = make_parser().parse_args([str(word) for word in argv])
        check_out(options.out)
        started, learner = time.monotonic(), Path(options.learner)
        record = make_record(options)
        print(TRUST.format(learner))
        found = read(load(learner), options)
        description = describe_model(found)
        exact = compute(found.net, found.preparation, found.calibrating.paths)
        keep = partial(write, found, exact, options, description, record, started)
        try:
            stored = keep(is_int8=True)
        except ParityError as error:
            print(f"Weights in int8 change the answers too much, so they are stored in float16. ({error})")
            stored = keep(is_int8=False)
        print(f"Wrote {options.out}. {stored}")
        print_next_steps(Path(options.out))
        return Path(options.out)


def make_parser() -> OptionParser:
    """Return the parser of the command line."""
    parser = OptionParser(
        prog="python -m training.convert", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("learner", metavar="LEARNER", help="the file that learn.export() wrote")
    parser.add_argument("--data", metavar="FOLDER", required=True, help="labelled pictures to calibrate and measure on")
    parser.add_argument("--out", metavar="DIR", default="runs/converted", help="checkpoint folder to write")
    parser.add_argument("--labels", metavar="A,B", help="names of the labels, in the order of the Learner's vocab")
    parser.add_argument("--label-column", metavar="NAME", help="column of the labels, if a CSV in FOLDER has them")
    parser.add_argument("--skip-bad", action="store_true", help="go on without pictures that cannot be used")
    parser.add_argument("--unseen", action="store_true", help="the Learner was not trained on these pictures")
    return parser


def make_record(options: argparse.Namespace) -> Record:
    """Record the command and its files before they change.

    Raises:
        DataError: a file is missing.
    """
    paths = {"learner": Path(options.learner), "--data": Path(options.data)}
    if not paths["learner"].is_file():
        raise DataError(f"There is no file {options.learner}; name the one that learn.export() wrote.")
    if not paths["--data"].is_dir():
        raise DataError(f"There is no folder {options.data}; --data must name one with labelled pictures.")
    words = ["python", "-m", "training.convert", paths["learner"].name, "--data", paths["--data"].resolve().name]
    words += ["--labels", options.labels] if options.labels else []
    words += ["--label-column", options.label_column] if options.label_column else []
    words += ["--skip-bad"] * options.skip_bad + ["--unseen"] * options.unseen
    inputs = [
        Input(option=option, name=path.resolve().name, **hash_input(path.resolve())) for option, path in paths.items()
    ]
    return Record(shlex.join(words), get_commit(), tuple(inputs))


# --- reading ---


def read(learn: Learner, options: argparse.Namespace) -> Conversion:
    """Read a Learner's labels, transforms and network, and the pictures for it; print what was understood.

    Raises:
        DataError: something cannot be converted.
    """
    categories = find_categories(learn)
    check_loss(learn, len(categories))
    labels = choose_labels(categories, options.labels)
    own = DataOptions(skip_bad=options.skip_bad, label_column=options.label_column)
    preparation = read_preparation(learn)
    try:
        net = VisionNet(learn.model.eval().requires_grad_(False), preparation.resample).eval()
    except ValueError as error:
        raise DataError(
            f"The Learner's network has {error}; only a convolutional network with the head that vision_learner makes "
            "(without custom_head and y_range) can be converted."
        ) from error
    if (count := [layer for layer in net.layers if isinstance(layer, nn.Linear)][-1].out_features) != len(labels):
        raise DataError(f"The Learner's network has {count} outputs for {len(labels)} labels; train it again.")
    folder = Path(options.data)
    pictures = read_pictures(folder, Vocab(labels, tuple(categories)), learn, own)
    calibrating, measuring = halve(pictures)
    arch = getattr(learn, "arch", None)  # of timm's networks, it is the name
    arch = arch if isinstance(arch, str) else getattr(arch, "__name__", None)
    counts = count_labels(labels, np.bincount(pictures.y).tolist())
    print(f"A {arch or 'network'} for {len(labels)} labels. Pictures in {folder}: {counts}.")
    print(
        f"It takes {preparation.size} × {preparation.size} pixels ({preparation.framing}"
        f"{f', with a margin of {preparation.margin}' if preparation.margin else ''}). {len(calibrating):,} pictures "
        f"calibrate it, and {len(measuring):,} measure it."
    )
    check_preparation(learn, preparation, measuring.paths[:CHUNK])
    return Conversion(learn, arch, net, preparation, labels, calibrating, measuring, name_data(folder), options.unseen)


def halve(pictures: Pictures) -> tuple[Pictures, Pictures]:
    """Split in two halves of each label, by the content of the files, so that names and order do not matter."""
    digests = np.array([sha256(path) for path in pictures.paths])
    second = np.zeros(len(pictures), dtype=bool)
    for label in np.unique(pictures.y):
        rows = np.flatnonzero(pictures.y == label)
        second[rows[np.argsort(digests[rows])][1::2]] = True
    return pictures.take(np.flatnonzero(~second)), pictures.take(np.flatnonzero(second))


def describe_model(found: Conversion) -> Description:
    """Describe the model for its page and card; its author may edit gallery.json."""
    limits = (*LIMITS, UNSEEN if found.is_unseen else SEEN)
    return describe(found.data, f"A picture: {ask_label(found.labels)}", limits, notice=TERMS)


# --- storing and measuring ---


def write(
    found: Conversion,
    exact: Computed,
    options: argparse.Namespace,
    description: Description,
    record: Record,
    started: float,
    is_int8: bool,
) -> str:
    """Calibrate, export, compare with the Learner, measure, and write the folder; return a sentence on the comparison.

    `exact` is what `compute` returns for the pictures that calibrate, before the weights are rounded.

    Raises:
        ParityError: the stored model differs from the Learner or loses accuracy.
    """
    preparation, recipe = found.preparation, ImageClassification[ImageClassificationSettings]()
    check = found.calibrating.as_test(found.data, "half that calibrates")
    test = found.measuring.as_test(found.data, "other half")
    net, (logits, features) = copy.deepcopy(found.net), exact
    if is_int8:
        round_to_int8(net)
        logits, features = compute(net, preparation, check.inputs)
    net.temperature = evaluate.fit_temperature(logits, check.targets)
    net.score = Distance.fit(features)
    if is_int8:
        round_to_int8(net.score)
    fields = {
        "labels": found.labels, "size": preparation.size, "mean": preparation.mean, "std": preparation.std,
        "framing": preparation.framing, "margin": preparation.margin,
        "in_distribution_threshold": float(np.quantile(score_out_of_fold(features), REJECTED_SHARE)),
    }  # fmt: skip
    batches = [
        {INPUT: np.stack([preparation.read(path) for path in test.inputs[row : row + CHUNK]])}
        for row in range(0, min(len(test), PARITY_PICTURES), CHUNK)
    ]
    outputs = ["logits", "in_distribution_score", "maps"]
    with create_folder(options.out, keep_others=True) as folder:
        write_onnx(net, folder / MODEL, {INPUT: torch.from_numpy(batches[0][INPUT][:2])}, outputs)
        parity_float = check_parity(net, folder / MODEL, batches, outputs, tolerance=1e-3)
        store(folder / MODEL, store_int8 if is_int8 else store_half)
        parity = check_parity(net, folder / MODEL, batches, outputs, TOLERANCE, SHOWN)
        (folder / LICENCE).write_text(description.notice, encoding="utf-8", newline="\n")
        content = {**fields, "task": ImageClassifier.task, "about": description.about}
        config = partial(write_config, folder, ImageClassifier.config_type, **content)
        config()
        model = load_model(folder)
        agreement = compare_with_learner(found, model, net.temperature)
        validated = [
            make_score(
                "validation_float32", (exact[0].argmax(1) == check.targets).mean(), check, "with float32 weights"
            ),
            make_score("validation", recipe.score(answer_test(recipe, model, check), check), check, "as stored"),
        ]
        check_cost(validated, recipe.max_accuracy_drop, recipe.max_answers_lost)
        answers = answer_test(recipe, model, test)
        figures = [*recipe.compute_figures(answers, test), *measure_unrelated(recipe, model, answers), *validated]
        evaluate.print_figures(figures)
        wrong = next(figure for figure in figures if figure.name == "wrong_or_refused")
        metrics = Metrics(
            headline=f"{1 - wrong.value:.1%} of {wrong.count:,} pictures accepted and classified correctly",
            figures=tuple(figures),
            measured=record_measurement(),
            trained=record.describe_training(started, 0, describe_conversion(found, net, agreement)).model_copy(
                update={"is_converted": True}
            ),
            notes=(
                UNSEEN if found.is_unseen else SEEN,
                "AUROC: the probability that a measured picture has a higher in-distribution score than an unrelated "
                "picture.",
            ),
            parity=parity.model_copy(update={"weights": "int8 and float16" if is_int8 else "float16"}),
            parity_float=parity_float,
        )
        write_metrics(folder, metrics)
        config()
        write_card(folder)
    return f"{describe_parity(parity)} {agreement}"


@torch.inference_mode()
def compute(net: VisionNet, preparation: Preparation, paths: Sequence[Path]) -> Computed:
    """Return the logits of pictures, (n, labels), and the means of their features, (n, channels); draw progress."""
    logits, features = [], []
    for start in show_progress("Computing features", range(0, len(paths), CHUNK)):
        pixels = np.stack([preparation.read(path) for path in paths[start : start + CHUNK]])
        extracted = net.extract(torch.from_numpy(pixels))
        logits.append(net.classify(net.pool(extracted))[0].numpy())
        features.append(extracted.mean((2, 3)).numpy())
    return np.concatenate(logits), np.concatenate(features)


@torch.inference_mode()
def score_out_of_fold(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the in-distribution scores of pictures, (n,), each from a fit without it.

    The score of a picture that was fitted to is far higher than that of others.
    """
    scores = np.empty(len(features), dtype=np.float32)
    for seen, unseen in KFold(FOLDS, shuffle=True, random_state=0).split(features):
        scores[unseen] = Distance.fit(features[seen])(torch.from_numpy(features[unseen])).numpy()
    return scores


def compare_with_learner(found: Conversion, model: ImageClassifier, temperature: float) -> str:
    """Compare the stored model, as it is served, with learn.predict; return a sentence for the card.

    Raises:
        ParityError: they differ.
    """
    paths = found.measuring.paths[:PARITY_PICTURES]
    theirs, session = predict(found.learn, paths), model.session
    pixels = ({session.inputs[0]: model.preprocess(path)[None]} for path in paths)
    ours = softmax(np.concatenate([session.run(session.outputs[:1], one)[0] for one in pixels]) * temperature)
    gaps, changed = np.abs(theirs - ours).max(axis=1), theirs.argmax(axis=1) != ours.argmax(axis=1)
    check_changes(PREDICTED, gaps, changed)
    return (
        f"Compared with learn.predict on {len(paths):,} pictures, before calibration, {int(changed.sum())} get another "
        f"label, and the largest difference of a probability was {gaps.max():.2g}."
    )


def describe_conversion(found: Conversion, net: VisionNet, agreement: str) -> list[str]:
    """Return the sentences of the card on how the model was made."""
    arch = f", a {found.arch}" if found.arch else ""
    return [
        f"No script recorded how the Learner{arch} was trained.",
        f"Its logits were divided by the temperature {net.temperature:.3f}, fitted on one half of the pictures.",
        f"The in-distribution score is minus the Mahalanobis distance of the picture's features from those of this "
        f"half, of which {REJECTED_SHARE:.0%} would be rejected.",
        agreement,
    ]


def make_score(name: str, value: float, check: TestSet, weights: str) -> Figure:
    """Return the accuracy on the pictures that calibrate as a figure."""
    return evaluate.make_figure(name, value, None, **check.where, label=f"accuracy, {weights}")


def measure_unrelated(
    recipe: ImageClassification[ImageClassificationSettings], model: ImageClassifier, inside: Sequence[Any]
) -> list[Figure]:
    """Return figures on pictures that show none of the labels."""
    groups = recipe.find_unrelated(ImageClassificationSettings())
    return [
        figure
        for group, sources in groups.items()
        for figure in measure_group(inside, list(answer(model, sources)), group)
    ]


def main(argv: Sequence[str] = ()) -> int:
    """Convert a Learner from the command line; return the exit code. An error is printed as one sentence."""
    with guarded_output():
        try:
            run(argv)
        except OptionError as error:
            argparse.ArgumentParser.error(make_parser(), str(error))
        except (CheckpointError, DataError, ParityError) as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
        except RuntimeError as error:  # of torch, whose messages have many lines
            reason = next(iter(str(error).strip().splitlines()), type(error).__name__).rstrip(". ")
            print(f"error: The Learner cannot be converted: {reason}.", file=sys.stderr)
            return 2
        except KeyboardInterrupt:
            return 130
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

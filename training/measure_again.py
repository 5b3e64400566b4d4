"""Measure a stored model again without training: new figures and a new card, the same weights.

Of a user's own data, a part was held out of the training by its options and seed, so they are those of the training.
"""

import argparse
import shlex
import shutil
from pathlib import Path
from typing import Any

from shared import load_model
from shared.config import LICENCE, METRICS
from shared.errors import CheckpointError
from shared.metrics import Metrics, Trained
from training import evaluate
from training.card import write_card
from training.data import OWN_TEST, DataError
from training.folder import create_folder, update_config, write_metrics
from training.recipe import Answered, Recipe, Splits, adapt, answer_test, load, start_run
from training.record import PATH_METAVARS, UNRECORDED, Record, list_data_hashes
from training.words import OPTIONS, read_words

NEED_NETWORK = {  # figures that need the trained network; the last four are from the first edition
    "ece_before", "validation_float32", "validation", "accuracy_cv", "coverage_cv",
    "error_before_int8", "accuracy_float", "accuracy_validation", "mean_iou_float",
}  # fmt: skip
ONLY_MEASURE = (*OPTIONS, "groups")  # options of own data that may differ from those of the training


def recall_options(parser: argparse.ArgumentParser, options: argparse.Namespace) -> argparse.Namespace:
    """Return options of which those that are not given are as in the training of the model in the folder --measure.

    Options that name files are not recalled.

    Raises:
        DataError: an option contradicts the training, or the model was converted rather than trained.
    """
    trained = read_trained(Path(options.measure))
    if trained and trained.is_converted:
        raise DataError(
            f"The model in {options.measure} was converted, and this data may have calibrated it; convert the Learner "
            "again to measure it."
        )
    program, words = parser.prog.split(), shlex.split((trained and trained.command) or "")
    if words[: len(program)] != program:
        return options
    try:
        before = parser.parse_args(words[len(program) :])
    except ValueError:  # an option that earlier code had
        before = argparse.Namespace(seed=trained.seed if trained else options.seed)
    found = argparse.Namespace(**vars(options))
    for action in parser._actions:
        name, default = action.dest, parser.get_default(action.dest)
        if name not in before or name in (*UNRECORDED, *ONLY_MEASURE) or action.metavar in PATH_METAVARS:
            continue
        given, then = getattr(options, name), getattr(before, name)
        if given not in (default, then):
            flag = action.option_strings[0]
            raise DataError(
                f"The model in {options.measure} was trained "
                f"{f'without {flag}' if then in (None, False) else f'with {flag} {then}'}; leave out {flag}, which is "
                "taken from the training."
            )
        setattr(found, name, then)
    return found


def read_trained(folder: Path) -> Trained | None:
    """Return how the model in a folder was trained; None if it does not say so, or cannot be read."""
    try:
        return Metrics.read(folder).trained
    except CheckpointError:
        return None


def check_data(trained: Trained | None, splits: Splits[Any], source: Record, folder: Path) -> None:
    """Check that a held-out part of a user's own data is the one that the model was not trained on.

    Raises:
        DataError: the data has changed since, so that the part may be another one.
    """
    if not trained or not splits.description.is_own or all(test.split == OWN_TEST for test in splits.tests):
        return
    before, now = map(list_data_hashes, (trained.inputs, source.inputs))
    if any(now.get(option) != digest for option, digest in before.items()):
        raise DataError(
            f"The data has changed since {folder} was trained, which may have seen what would be the test now; give "
            "the same files, or data with a test of its own."
        )


def measure_again(recipe: Recipe[Any, Any], options: argparse.Namespace, source: Record) -> Path:
    """Measure the model in the folder --measure, and rewrite its figures and card; return the folder.

    Figures that need the trained network, such as the difference from torch, are kept with their own date.

    Raises:
        DataError: the folder has no complete model, or its labels are not those of the data, or it may have been
            trained on what would measure it.
    """
    folder = Path(options.measure)
    settings = recipe.read_settings(options)
    splits = load(recipe, options, settings)
    try:
        model = load_model(folder)
    except CheckpointError as error:
        raise DataError(str(error)) from error
    if model.config.labels != splits.labels:
        raise DataError(
            f"{folder} has the labels {', '.join(model.config.labels)}, but the data has {', '.join(splits.labels)}."
        )
    check_data(model.metrics and model.metrics.trained, splits, source, folder)
    settings = adapt(recipe, options, settings, splits)  # a recommender is trained again, to measure it
    run = start_run(recipe, options, settings, source)
    answers = [answer_test(recipe, model, test) for test in splits.tests]
    found = Answered(model, splits, answers, settings, run)
    measured = recipe.measure(found)
    evaluate.print_figures(measured["figures"])
    about = splits.description.about.model_dump(mode="json")
    terms: list[str] = []
    if splits.description.is_own:  # its author may have edited the words in gallery.json
        words = read_words(options, splits.description)
        changed = {name: value for name, value in about.items() if name in words}
        about = model.config.about.model_dump(mode="json") | changed
        terms = [LICENCE] * bool({"licence", "notice"} & words.keys())
    with create_folder(folder) as copy:
        shutil.copytree(folder, copy, dirs_exist_ok=True)
        write_metrics(copy, merge_metrics(model.metrics, Metrics(measured=source.describe_measurement(), **measured)))
        written, fields = recipe.update(copy, found, measured)
        for name in terms:
            (copy / name).write_text(splits.description.notice, encoding="utf-8", newline="\n")
        update_config(copy, (METRICS, *terms, *written), {"about": about, **fields})
        write_card(copy)
    shutil.rmtree(run.state, ignore_errors=True)
    print(f"Wrote {folder}.")
    return folder


def merge_metrics(before: Metrics | None, now: Metrics) -> Metrics:
    """Return the new figures, and those earlier ones that cannot be measured without the trained network."""
    if before is None:
        return now
    date = before.measured.date
    names = {figure.name for figure in now.figures}
    kept = [
        figure if figure.measured else figure.model_copy(update={"measured": date})
        for figure in before.figures
        if figure.name in NEED_NETWORK - names
    ]
    parities = {
        name: value if value is None or value.measured else value.model_copy(update={"measured": date})
        for name in ("parity", "parity_float")
        for value in (getattr(before, name),)
    }
    inherited = {"trained": before.trained, "provenance": before.provenance, **parities}
    update = {name: value for name, value in inherited.items() if value is not None}
    return now.model_copy(update=update | {"figures": (*now.figures, *kept)})

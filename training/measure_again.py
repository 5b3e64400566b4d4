"""Measure a stored model again without training: new figures and a new card, the same weights."""

import argparse
import shutil
from pathlib import Path
from typing import Any

from shared import load_model
from shared.config import METRICS
from shared.errors import CheckpointError
from shared.metrics import Metrics
from training import evaluate
from training.card import write_card
from training.data import DataError
from training.folder import create_folder, update_config, write_metrics
from training.recipe import Answered, Recipe, adapt, answer_test, load, start_run
from training.record import Record
from training.words import read_words

NEED_NETWORK = {  # figures that need the trained network; the last four are from the first edition
    "ece_before", "validation_float32", "validation", "accuracy_cv", "coverage_cv",
    "error_before_int8", "accuracy_float", "accuracy_validation", "mean_iou_float",
}  # fmt: skip


def measure_again(recipe: Recipe[Any, Any], options: argparse.Namespace, source: Record) -> Path:
    """Measure the model in the folder --measure, and rewrite its figures and card; return the folder.

    Figures that need the trained network, such as the difference from torch, are kept with their own date.

    Raises:
        DataError: the folder has no complete model, or its labels are not those of the data.
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
    settings = adapt(recipe, options, settings, splits)  # a recommender is trained again, to measure it
    run = start_run(recipe, options, settings)
    answers = [answer_test(recipe, model, test) for test in splits.tests]
    found = Answered(model, splits, answers, settings, run)
    measured = recipe.measure(found)
    evaluate.print_figures(measured["figures"])
    about = splits.description.about.model_dump(mode="json")
    if splits.description.is_own:  # its author may have edited the words in gallery.json
        words = read_words(options, splits.description)
        changed = {name: value for name, value in about.items() if name in words}
        about = model.config.about.model_dump(mode="json") | changed
    with create_folder(folder) as copy:
        shutil.copytree(folder, copy, dirs_exist_ok=True)
        write_metrics(copy, merge_metrics(model.metrics, Metrics(measured=source.describe_measurement(), **measured)))
        written, fields = recipe.update(copy, found, measured)
        update_config(copy, (METRICS, *written), {"about": about, **fields})
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

"""The one way every model is made: load, fit, export, compare with torch, measure what was stored, write.

A recipe (training/recipes) says how for one task and data of any kind. A demo (training/cat_dog.py and its like) is a
recipe with its own data, words and tests. `make` runs either.
"""

import argparse
import dataclasses
import shutil
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import onnx
import torch
from fastai.learner import Learner
from fastprogress.fastprogress import progress_bar
from numpy.typing import NDArray
from torch import nn

from shared import load_model
from shared.config import LICENCE, MODEL
from shared.metrics import Figure, Metrics
from shared.predictor import Predictor
from training import evaluate, processes
from training.card import describe_parity, write_card
from training.data import DataError, data_files
from training.description import Description
from training.export import store, write_onnx
from training.folder import check_out, embed, new_folder, write_config, write_metrics
from training.learner import Run, seconds_trained, state_folder
from training.parity import Shown, parity
from training.record import Record, measured_here

Part = TypeVar("Part")  # of the data, such as pictures with their labels
Options = TypeVar("Options", bound="Settings")
CHUNK = 64  # inputs that are answered between two steps of a progress bar


@dataclass(frozen=True)
class Settings:
    """What decides a training, besides its data; the hardware never does.

    Each recipe has a subclass, whose `smoke()` is for seconds on made-up data. An option of the command line that has
    the name of a field sets it.
    """

    seed: int = 42

    @classmethod
    def smoke(cls: type[Options]) -> Options:
        """Return settings for a training of seconds."""
        raise NotImplementedError


@dataclass(frozen=True)
class TestSet:
    """Inputs as the predictor takes them, and what the answers are compared with (both of the same length).

    `data` names the data set and `split` the part of it, as the card shows them.
    """

    __test__: ClassVar[bool] = False  # this is no test of pytest's

    data: str
    split: str
    inputs: Sequence[Any]
    targets: Any
    names: Sequence[str] = ()

    def __len__(self) -> int:
        return len(self.inputs)

    @property
    def where(self) -> dict[str, Any]:
        """What a Figure says of where it was measured."""
        return {"data": self.data, "split": self.split, "count": len(self)}


@dataclass(frozen=True)
class Splits(Generic[Part]):
    """The data of one model.

    `check` is validation data as a test set, on which the cost of storing the weights is measured; None where that is
    not needed. The headline is the first figure of the first of `tests`.
    """

    train: Part
    valid: Part
    tests: tuple[TestSet, ...]
    description: Description
    labels: tuple[str, ...] = ()
    check: TestSet | None = None


@dataclass(frozen=True)
class Export:
    """A trained network, ready to be stored.

    Attributes:
        module: what is traced: calibrated, in evaluation mode, on the CPU.
        inputs: an example of each input by its name, in the order of the module's arguments.
        outputs: names of the module's outputs, in order.
        store: makes the ONNX model small: store_half, store_int8 or store_int8_products.
        batches: real inputs, on which the stored model is compared with torch.
        shown: what people see of the first output, and how much of it storing may change.
        tolerance: largest difference allowed of any output, once it is stored.
        fields: of gallery.json, without those that every model has.
        free_axes: of inputs and outputs; by default the first of each.
        tolerance_float: largest difference allowed of any output before it is stored.
        save: writes the other files of the folder: weights for torch, tokenizer, tables, examples.
        notes: sentences for the card on how the model was trained.
        exact: the same with weights that were not rounded; its score is compared with the stored model's.
        uncalibrated: turns calibrated probabilities into those from before calibration.
        measured: fields of Metrics that were measured on the way; its figures are added to the others.
    """

    module: nn.Module
    inputs: Mapping[str, torch.Tensor]
    outputs: Sequence[str]
    store: Callable[[onnx.ModelProto], onnx.ModelProto]
    batches: Sequence[Mapping[str, NDArray[Any]]]
    shown: Shown
    tolerance: float | Sequence[float]
    fields: Mapping[str, Any]
    free_axes: Mapping[str, Mapping[int, str]] | None = None
    tolerance_float: float = 1e-3
    save: Callable[[Path], None] = lambda _: None
    notes: tuple[str, ...] = ()
    exact: nn.Module | None = None
    uncalibrated: Callable[[NDArray[Any]], NDArray[Any]] | None = None
    measured: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclass(frozen=True)
class Answered(Generic[Part, Options]):
    """The stored model's `answers` to each of the test sets, and all that a recipe may need to measure more.

    `exported` is None where a model is measured again.
    """

    model: Any
    splits: Splits[Part]
    answers: list[list[Any]]
    settings: Options
    run: Run
    exported: Export | None = None


class Recipe(ABC, Generic[Part, Options]):
    """How a model for one task is made from data of any kind; a demo is a subclass with data of its own.

    `module` is what one runs, as in "python -m training.cat_dog"; its last part names the folder in runs/ and, of a
    demo, the Space. `max_accuracy_drop` is what storing the weights may cost of `score`, on validation data. Where
    there are few such data, the score may fall by as much as `max_answers_lost` wrong answers cost.
    """

    module: ClassVar[str]
    predictor: ClassVar[type[Predictor[Any, Any, Any]]]
    settings: ClassVar[type[Settings]] = Settings
    score_label: ClassVar[str] = "accuracy"
    max_accuracy_drop: ClassVar[float] = 0.0
    max_answers_lost: ClassVar[float] = 1.5
    measuring: ClassVar[tuple[str, ...]] = ()  # fields of the settings that change nothing in training

    @property
    def name(self) -> str:
        """The last part of `module`."""
        return self.module.rpartition(".")[2]

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        """Add the recipe's own options, each with the name of a field of its settings."""

    def settings_of(self, options: argparse.Namespace) -> Options:
        """Return the settings that the command line asks for."""
        chosen = self.settings.smoke() if options.smoke else self.settings()
        given = {item.name: getattr(options, item.name, None) for item in fields(chosen)}
        return replace(chosen, **{name: value for name, value in given.items() if value is not None})  # type: ignore[return-value]

    def load(self, data: str | None, settings: Options) -> Splits[Part]:
        """Read the data; a demo has a layout of its own, and downloads the data where none is named.

        Raises:
            DataError: it cannot be used; the text says why.
        """
        if data is None:
            raise DataError(f"Name the data with --data; python -m {self.module} --help says what it looks like.")
        return self.load_own(data, settings)

    @abstractmethod
    def load_own(self, data: str, settings: Options) -> Splits[Part]:
        """Read somebody's own data, in the layout of the recipe."""

    @abstractmethod
    def make_up(self, folder: Path, seed: int) -> str:
        """Write made-up data into a folder, for --smoke and the tests; return what load_own reads."""

    @abstractmethod
    def fit(self, splits: Splits[Part], settings: Options, run: Run) -> Any:
        """Train, and return what `export` takes, such as a network on the CPU in evaluation mode."""

    @abstractmethod
    def export(self, network: Any, splits: Splits[Part], settings: Options) -> Export:
        """Calibrate the network, and say how it is stored."""

    def keep(self, prediction: Any, target: Any) -> Any:  # noqa: ARG002 - for recipes that compare at once
        """Return what the figures need of a prediction; large ones are compared with their target at once."""
        return prediction

    @abstractmethod
    def figures(self, answers: Sequence[Any], test: TestSet) -> list[Figure]:
        """Return the figures of the kept answers to a test set, the most important one first."""

    def score(self, answers: Sequence[Any], test: TestSet) -> float:
        """Return the share of right answers, or what takes its place (see `score_label`): the more, the better."""
        return self.figures(answers, test)[0].value

    def headline(self, figure: Figure) -> str:
        """Return the gallery's one line about the model, from its most important figure."""
        return f"{figure.label or figure.name} {figure.value:.4f} on {figure.count:,} test inputs"

    def measure(self, found: "Answered[Part, Options]") -> dict[str, Any]:
        """Return the fields of Metrics that are measured: figures, headline, and what a recipe adds, such as peers."""
        pairs = zip(found.answers, found.splits.tests, strict=True)
        figures = [figure for answers, test in pairs for figure in self.figures(answers, test)]
        notes = list(found.splits.description.notes)
        return {"figures": figures, "headline": self.headline(figures[0]), "notes": notes}

    def update(
        self,
        folder: Path,  # noqa: ARG002 - for recipes whose other files follow from the figures
        found: "Answered[Part, Options]",  # noqa: ARG002
        measured: Mapping[str, Any],  # noqa: ARG002
    ) -> tuple[Sequence[str], Mapping[str, Any]]:
        """Write anew what else in a folder follows from the figures, after it was measured again.

        Args:
            folder: a copy of the checkpoint folder, which takes its place afterwards.
            found: what was measured.
            measured: what `measure` returned.

        Returns:
            The names of the files that were written, and the fields of gallery.json that change.
        """
        return (), {}

    def book(self, data: str | None, settings: Options) -> Learner:
        """Run the book's own cell and print its figure beside the book's; only demos have one."""
        raise NotImplementedError


def make(recipe: Recipe[Any, Any], options: argparse.Namespace, source: Record) -> Path:
    """Make a model and write its checkpoint folder; nothing is written unless it agrees with torch.

    Args:
        recipe: how.
        options: of the command line.
        source: what the model is being made from.

    Raises:
        DataError: the data cannot be used, or the folder cannot be written.
    """
    started = time.monotonic()
    out = Path(options.out)
    check_out(out)
    settings = recipe.settings_of(options)
    splits = load(recipe, options, settings)
    run = start_run(recipe, options, settings)
    started -= seconds_trained(run.state)  # of a run that is resumed
    network = recipe.fit(splits, settings, run)
    processes.only_first()
    exported = recipe.export(network, splits, settings)
    with new_folder(out) as folder:
        write = partial(
            write_onnx, path=folder / MODEL, inputs=exported.inputs, outputs=exported.outputs,
            free_axes=exported.free_axes,
        )  # fmt: skip
        write(exported.exact or exported.module)
        compare = partial(parity, exported.module, folder / MODEL, exported.batches, exported.outputs)
        exported.save(folder)
        (folder / LICENCE).write_text(splits.description.notice, encoding="utf-8", newline="\n")
        content = dict(exported.fields) | {"task": recipe.predictor.task, "about": splits.description.about}
        config = partial(write_config, folder, recipe.predictor.config_type, **content)
        config()
        validated = validate(recipe, folder, splits.check, "validation_float32", "with float32 weights")
        write(exported.module)
        parity_float = compare(exported.tolerance_float)
        store(folder / MODEL, exported.store)
        stored = compare(exported.tolerance, exported.shown)
        config()
        validated += validate(recipe, folder, splits.check, "validation", "as stored")
        check_cost(validated, recipe.max_accuracy_drop, recipe.max_answers_lost)
        model = load_model(folder)
        answers = [answer_test(recipe, model, test) for test in splits.tests]
        measured = recipe.measure(Answered(model, splits, answers, settings, run, exported))
        measured["figures"] += [*exported.measured.get("figures", ()), *validated]
        evaluate.print_figures(measured["figures"])
        trained = source.trained(started, settings.seed, exported.notes)
        write_metrics(
            folder,
            Metrics(trained=trained, measured=measured_here(), parity=stored, parity_float=parity_float, **measured),
        )
        config()
        write_card(folder)
    if options.embed:
        embed(out, recipe.name)
    print(f"Wrote {out}. {describe_parity(stored)}")
    shutil.rmtree(run.state, ignore_errors=True)
    return out


def start_run(recipe: Recipe[Any, Any], options: argparse.Namespace, settings: Settings) -> Run:
    """Return the run with these settings, which may be an earlier one that is resumed."""
    trains = {name: value for name, value in asdict(settings).items() if name not in recipe.measuring}
    state = state_folder(trains, recipe.name, data_files(options.data), Path(options.out), options.resume)
    return Run(state, settings.seed, options.resume)


def load(recipe: Recipe[Any, Any], options: argparse.Namespace, settings: Settings) -> Splits[Any]:
    """Return the data that the command line names: made up for --smoke, unless --data is given, too."""
    data = made_up(recipe, options, settings)
    return recipe.load_own(data, settings) if data else recipe.load(options.data, settings)


def made_up(recipe: Recipe[Any, Any], options: argparse.Namespace, settings: Settings) -> str | None:
    """Return where made-up data lies, beside --out, for --smoke; None otherwise, or where --data is given."""
    if not options.smoke or options.data:
        return None
    folder = Path(options.out).with_name(f"{recipe.name}-made-up")
    made: list[str] = []
    processes.once_on_host(lambda: made.append(recipe.make_up(folder, settings.seed)))
    return str(processes.from_first(made[0] if made else ""))


def answer_test(recipe: Recipe[Any, Any], model: Predictor[Any, Any, Any], test: TestSet) -> list[Any]:
    """Return what the recipe keeps of a stored model's predictions for a test set."""
    pairs = zip(answer(model, test.inputs), test.targets, strict=True)
    return [recipe.keep(prediction, target) for prediction, target in pairs]


def answer(model: Predictor[Any, Any, Any], inputs: Sequence[Any]) -> Iterator[Any]:
    """Yield a stored model's predictions, with a progress bar.

    Raises:
        DataError: an input is refused.
    """
    for start in progress_bar(range(0, len(inputs), CHUNK)):
        for index, prediction in enumerate(model.predict_each(inputs[start : start + CHUNK]), start):
            if isinstance(prediction, Exception):
                name = inputs[index] if isinstance(inputs[index], Path) else f"Input {index}"
                raise DataError(f"{name} cannot be used: {prediction}")
            yield prediction


def validate(recipe: Recipe[Any, Any], folder: Path, check: TestSet | None, name: str, weights: str) -> list[Figure]:
    """Return the score of a folder's model on validation data, as a figure; none where it is not wanted."""
    if check is None:
        return []
    value = recipe.score(answer_test(recipe, load_model(folder), check), check)
    return [evaluate.figure(name, value, None, **check.where, label=f"{recipe.score_label}, {weights}")]


def check_cost(figures: Sequence[Figure], most: float, max_answers_lost: float) -> None:
    """Check that storing the weights costs next to nothing, on validation data.

    Args:
        figures: the score before and after they were stored, or none.
        most: what the score may fall by.
        max_answers_lost: how many answers may become wrong, even if the score then falls by more than `most`.

    Raises:
        RuntimeError: the score falls by more.
    """
    if not figures:
        return
    before, after = figures
    if before.value - after.value > max(most, max_answers_lost / before.count):
        raise RuntimeError(
            f"Storing the weights takes the score on {before.count:,} validation inputs from {before.value:.4f} to "
            f"{after.value:.4f}; a larger export.LEAST_INT8 leaves more layers as they are."
        )

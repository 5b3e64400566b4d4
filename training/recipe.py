"""The runner that makes every model: load, fit, export, compare with torch, measure the stored model, write.

A recipe (training/recipes) implements the steps for one task and any data. A demo (such as training/cat_dog.py) is a
recipe with its own data, description and tests. `make` runs either.
"""

import argparse
import dataclasses
import shlex
import shutil
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from fastai.learner import Learner

from hub.staging import make_name
from shared import load_model
from shared.config import LICENCE
from shared.metrics import Figure, Metrics
from shared.predictor import Predictor
from training import evaluate, processes
from training.budget import choose_epochs
from training.card import describe_parity, write_card
from training.data import DataError, TestSet, list_files
from training.description import Description
from training.folder import check_out, create_folder, embed, write_config, write_metrics
from training.learner import Run
from training.own_data.options import DataOptions
from training.progress import show_progress
from training.record import Record, list_data_hashes, record_measurement
from training.states import check_states, prepare_states, read_devices, read_seconds_trained
from training.storing import Export, store_model
from training.words import read_words

Part = TypeVar("Part")  # of the data, such as pictures with their labels
Options = TypeVar("Options", bound="Settings")
CHUNK = 64  # inputs per step of the progress bar
GROUPED = (
    "The intervals count all inputs of the test as independent. Where those of one group resemble each other, they are "
    "too narrow."
)


@dataclass(frozen=True)
class Settings:
    """All that determines a training run besides its data. Settings never depend on the hardware.

    Each recipe has a subclass, whose `smoke()` trains for seconds on made-up data. A command-line option sets the field
    of the same name. `own` says how to read a user's own data.
    """

    seed: int = 42
    own: DataOptions = dataclasses.field(default_factory=DataOptions)

    @classmethod
    def smoke(cls: type[Options]) -> Options:
        """Return settings for a training run of seconds."""
        raise NotImplementedError


@dataclass(frozen=True)
class Splits(Generic[Part]):
    """The data of one model.

    `check` is validation data as a test set, to measure the cost of storing the weights, or None. The headline is the
    first figure of the first of `tests`.
    """

    train: Part
    valid: Part
    tests: tuple[TestSet, ...]
    description: Description
    labels: tuple[str, ...] = ()
    check: TestSet | None = None


@dataclass(frozen=True)
class Answered(Generic[Part, Options]):
    """The stored model's `answers` to each test set, and what a recipe may need for more figures.

    `exported` is None when a model is measured again.
    """

    model: Any
    splits: Splits[Part]
    answers: list[list[Any]]
    settings: Options
    run: Run
    exported: Export | None = None


class Recipe(ABC, Generic[Part, Options]):
    """The steps that make a model for one task from any data; a demo is a subclass with its own data.

    `module` is run as "python -m training.cat_dog"; its last part names the folder in runs/ and the Space of a demo.
    `max_accuracy_drop` limits how far `score` may fall on validation data when the weights are stored; it may always
    fall by the worth of `max_answers_lost` answers.
    """

    module: ClassVar[str]
    predictor: ClassVar[type[Predictor[Any, Any, Any]]]
    settings: ClassVar[type[Settings]] = Settings
    score_label: ClassVar[str] = "accuracy"
    max_accuracy_drop: ClassVar[float] = 0.0
    max_answers_lost: ClassVar[float] = 1.5
    measuring: ClassVar[tuple[str, ...]] = ()  # fields of the settings, or of their `own`, that do not affect training
    data_options: ClassVar[tuple[str, ...] | None] = None  # fields of DataOptions that the command line sets

    @property
    def name(self) -> str:
        """The last part of `module`."""
        return self.module.rpartition(".")[2]

    @property
    def is_for_own_data(self) -> bool:
        """False for a demo, which reads data of its own."""
        return type(self).load is Recipe.load

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        """Add the recipe's own options, each named after a field of its settings."""

    def read_settings(self, options: argparse.Namespace) -> Options:
        """Return the settings that the options ask for."""
        chosen = self.settings.smoke() if options.smoke else self.settings()
        given = {item.name: getattr(options, item.name, None) for item in fields(chosen)}
        given |= {"own": DataOptions.read(options)}
        return replace(chosen, **{name: value for name, value in given.items() if value is not None})  # type: ignore[return-value]

    def check_layout(self, data: str, settings: Options) -> None:
        """Check quickly, before any network is fetched, that a user's own data has a layout of the recipe.

        Raises:
            DataError: it has none.
        """

    def check_start(self, settings: Options) -> None:
        """Check, before all data is read, that the pretrained network can be used; by default there is none.

        Raises:
            DataError: it cannot be found, or has another architecture.
        """

    def adapt(self, settings: Options, splits: Splits[Part]) -> Options:  # noqa: ARG002 - used by recipes
        """Return settings that suit the size of a user's own data; by default the same."""
        return settings

    def load(self, data: str | None, settings: Options) -> Splits[Part]:
        """Read the data; a demo has its own layout, and downloads the data if `data` is None.

        Raises:
            DataError: the data cannot be used; the text says why.
        """
        if data is None:
            raise DataError(f"Name the data with --data; python -m {self.module} --help describes its layout.")
        return self.load_own(data, settings)

    @abstractmethod
    def load_own(self, data: str, settings: Options) -> Splits[Part]:
        """Read a user's own data, in the layout of the recipe."""

    @abstractmethod
    def make_up(self, folder: Path, seed: int) -> str:
        """Write made-up data for --smoke and the tests; return the path for load_own."""

    @abstractmethod
    def fit(self, splits: Splits[Part], settings: Options, run: Run) -> Any:
        """Train; return what `export` takes, such as a network on the CPU in evaluation mode."""

    @abstractmethod
    def export(self, network: Any, splits: Splits[Part], settings: Options) -> Export:
        """Calibrate the network, and define how it is stored."""

    def keep(self, prediction: Any, target: Any) -> Any:  # noqa: ARG002 - used by subclasses
        """Return what the figures need of a prediction; subclasses reduce large ones here."""
        return prediction

    @abstractmethod
    def compute_figures(self, answers: Sequence[Any], test: TestSet) -> list[Figure]:
        """Return the figures of the kept answers to a test set, the most important first."""

    def score(self, answers: Sequence[Any], test: TestSet) -> float:
        """Return the share of right answers, or another score (see `score_label`); higher is better."""
        return self.compute_figures(answers, test)[0].value

    def format_headline(self, figure: Figure) -> str:
        """Return the gallery's line about the model, from its most important figure."""
        return f"{figure.label or figure.name} {figure.value:.4f} on {figure.count:,} test inputs"

    def measure(self, found: "Answered[Part, Options]") -> dict[str, Any]:
        """Return the measured fields of Metrics: figures, headline, notes, and what a recipe adds, such as peers."""
        pairs = zip(found.answers, found.splits.tests, strict=True)
        figures = [figure for answers, test in pairs for figure in self.compute_figures(answers, test)]
        notes = list(found.splits.description.notes)
        if found.settings.own.group:
            notes.append(GROUPED)
        return {"figures": figures, "headline": self.format_headline(figures[0]), "notes": notes}

    def describe_result(self, found: "Answered[Part, Options]", headline: str) -> str:  # noqa: ARG002 - by subclasses
        """Return a plain sentence on the test, which ends the training on a user's own data."""
        return f"Result: {headline}."

    def update(
        self,
        folder: Path,  # noqa: ARG002 - used by subclasses
        found: "Answered[Part, Options]",  # noqa: ARG002
        measured: Mapping[str, Any],  # noqa: ARG002
    ) -> tuple[Sequence[str], Mapping[str, Any]]:
        """Update the other files that depend on the figures, after measuring again.

        Args:
            folder: a copy of the checkpoint folder, which replaces it afterwards.
            found: the model and its answers.
            measured: what `measure` returned.

        Returns:
            The names of the files that were written, and the fields of gallery.json that change.
        """
        return (), {}

    def run_book(self, data: str | None, settings: Options) -> Learner:
        """Run the book's own cell and print its figure beside the book's; only for demos."""
        raise NotImplementedError


def make(recipe: Recipe[Any, Any], options: argparse.Namespace, source: Record) -> Path:
    """Train a model and write its checkpoint folder; return it, or the folder of states with --train-only.

    Args:
        recipe: the recipe or demo.
        options: the command-line options.
        source: the record of the command.

    Raises:
        DataError: the data cannot be used, or the folder cannot be written.
        ParityError: the stored model differs from torch or loses accuracy, also in float16; nothing is written.
    """
    started = time.monotonic()
    out = Path(options.out)
    check_out(out)
    check_states(options.states, out)
    settings = recipe.read_settings(options)
    check_data(recipe, options, settings)
    if options.data and recipe.is_for_own_data:
        recipe.check_layout(options.data, settings)
    recipe.check_start(settings)
    splits = load(recipe, options, settings)
    settings = adapt(recipe, options, settings, splits)
    run = start_run(recipe, options, settings, source)
    started -= read_seconds_trained(run.state)  # earlier seconds of a resumed run
    if options.minutes:
        settings = choose_epochs(options.minutes, settings, run, partial(recipe.fit, splits))
        source = source.add(f"--epochs {settings.epochs}")
    network = recipe.fit(splits, settings, run)
    processes.end_other_processes()
    if options.train_only:
        print(f"The trained weights are in {run.state}; with --resume instead of --train-only, they are stored.")
        return run.state
    exported = recipe.export(network, splits, settings)
    with create_folder(out, keep_others=True) as folder:
        exported.save(folder)
        (folder / LICENCE).write_text(splits.description.notice, encoding="utf-8", newline="\n")
        predictor = exported.predictor or recipe.predictor
        content = dict(exported.fields) | {"task": predictor.task, "about": splits.description.about}
        config = partial(write_config, folder, predictor.config_type, **content)
        check = partial(validate, recipe, folder, splits.check)
        limits = recipe.max_accuracy_drop, recipe.max_answers_lost
        parity_float, parity, validated = store_model(exported, folder, config, check, limits)
        model = load_model(folder)
        answers = [answer_test(recipe, model, test) for test in splits.tests]
        found = Answered(model, splits, answers, settings, run, exported)
        measured = recipe.measure(found)
        measured["figures"] += [*exported.measured.get("figures", ()), *validated]
        evaluate.print_figures(measured["figures"])
        trained = source.describe_training(started, settings.seed, exported.notes, read_devices(run.state))
        write_metrics(
            folder,
            Metrics(
                trained=trained, measured=record_measurement(), parity=parity, parity_float=parity_float, **measured
            ),
        )
        config()
        write_card(folder)
    if options.embed:
        embed(out, recipe.name)
    print(f"Wrote {out}. {describe_parity(parity)}")
    if splits.description.is_own:
        print(recipe.describe_result(found, measured["headline"]))
        print_next_steps(out)
    if not options.states:
        shutil.rmtree(run.state, ignore_errors=True)
    return out


def print_next_steps(out: Path) -> None:
    """Print how to look at a model of a user's own, how to put its page online, and how to publish it."""
    folder = shlex.quote(str(out))
    print(f"Look at its page:   make demo MODELS={folder}")
    print(f"Put it online free: python spaces/deploy.py {folder} --owner USER --static")
    print(f"Publish the model:  python -m training.publish {folder} USER/{make_name(out)}")


def check_data(recipe: Recipe[Any, Any], options: argparse.Namespace, settings: Settings) -> None:
    """Check, before anything is fetched, that the data is named and exists.

    Raises:
        DataError: it is not, or does not.
    """
    if options.data and not Path(options.data).exists():
        raise DataError(f"There is no file or folder {options.data}; name the data with --data.")
    if not options.data and not options.smoke and recipe.is_for_own_data:
        recipe.load(None, settings)  # raises the error


def adapt(recipe: Recipe[Any, Any], options: argparse.Namespace, settings: Options, splits: Splits[Any]) -> Options:
    """Return settings that suit the size of a user's own data, with the number of --epochs if it is given."""
    if options.smoke or not splits.description.is_own:
        return settings
    return replace(recipe.adapt(settings, splits), **{"epochs": options.epochs} if options.epochs else {})


def start_run(
    recipe: Recipe[Any, Any], options: argparse.Namespace, settings: Settings, source: Record | None = None
) -> Run:
    """Return the run with these settings, which may resume an earlier one, on the same data if that is a user's own."""
    data = list_data_hashes(source.inputs) if source and recipe.is_for_own_data else {}
    given = {name: value for name, value in asdict(settings).items() if name != "own"} | asdict(settings.own)
    trains = {name: value for name, value in given.items() if name not in recipe.measuring}
    trains["minutes"] = options.minutes
    trains["measures"] = bool(options.measure)  # so that measuring keeps the states of an interrupted training
    state = prepare_states(
        trains,
        recipe.name,
        list_files(options.data),
        Path(options.out),
        options.resume,
        options.states,
        vars(options),
        " ".join(data.values()),
    )
    return Run(state, settings.seed, options.resume, measures=not options.train_only)


def load(recipe: Recipe[Any, Any], options: argparse.Namespace, settings: Settings) -> Splits[Any]:
    """Load the data that the options name, or made-up data for --smoke without --data."""
    data = make_up_data(recipe, options, settings)
    splits = recipe.load_own(data, settings) if data else recipe.load(options.data, settings)
    description = splits.description.reword(read_words(options, splits.description))
    if data and not description.is_own:  # a demo's page with figures of made-up data must not look like its own
        description = description.reword({"title": f"{description.about.title} (made-up data)"})
    return replace(splits, description=description)


def make_up_data(recipe: Recipe[Any, Any], options: argparse.Namespace, settings: Settings) -> str | None:
    """Make up data beside --out for --smoke without --data; return its path, or None otherwise."""
    if not options.smoke or options.data:
        return None
    folder = Path(options.out).with_name(f"{recipe.name}-made-up")
    made: list[str] = []
    processes.run_once_per_host(lambda: made.append(recipe.make_up(folder, settings.seed)))
    return str(processes.broadcast(made[0] if made else ""))


def answer_test(recipe: Recipe[Any, Any], model: Predictor[Any, Any, Any], test: TestSet) -> list[Any]:
    """Return a stored model's predictions for a test set, as kept by the recipe."""
    pairs = zip(answer(model, test.inputs), test.targets, strict=True)
    return [recipe.keep(prediction, target) for prediction, target in pairs]


def answer(model: Predictor[Any, Any, Any], inputs: Sequence[Any]) -> Iterator[Any]:
    """Yield a stored model's predictions, with a progress bar.

    Raises:
        DataError: the model rejects an input.
    """
    for start in show_progress(f"Measuring on {len(inputs):,} inputs", range(0, len(inputs), CHUNK)):
        for index, prediction in enumerate(model.predict_each(inputs[start : start + CHUNK]), start):
            if isinstance(prediction, Exception):
                name = inputs[index] if isinstance(inputs[index], Path) else f"Input {index}"
                raise DataError(f"{name} cannot be used: {prediction}")
            yield prediction


def validate(recipe: Recipe[Any, Any], folder: Path, check: TestSet | None, name: str, weights: str) -> list[Figure]:
    """Return the score of a folder's model on validation data as a figure; none if `check` is None."""
    if check is None:
        return []
    value = recipe.score(answer_test(recipe, load_model(folder), check), check)
    return [evaluate.make_figure(name, value, None, **check.where, label=f"{recipe.score_label}, {weights}")]

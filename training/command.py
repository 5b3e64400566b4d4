"""The command line of every training script: parse options, train, publish."""

import argparse
import errno
import math
import shutil
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, NoReturn

from fastai.learner import Learner
from fastprogress.fastprogress import ConsoleProgressBar

from hub.client import UPLOAD, PublishError, ask, mention_leftover
from hub.repository import make_repository
from shared.console import guarded_output
from shared.errors import CheckpointError
from training import processes, publish
from training.data import DataError
from training.folder import check_room, find_existing
from training.learner import set_seed
from training.measure_again import measure_again, recall_options
from training.own_data.options import add_data_options
from training.parity import ParityError
from training.recipe import Recipe, make, make_up_data
from training.record import SOURCE, record
from training.sentences import suggest
from training.words import add_word_options

NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
MAX_SEED = 2**31 - 1  # numpy takes seeds below 2**32, and those of single networks and processes are a little larger
FULL = 1_000_000  # a disk with fewer free bytes counts as full


class OptionError(ValueError):
    """An option of a training script is unknown, lacks its value, or conflicts with another."""


class OptionParser(argparse.ArgumentParser):
    """A parser that raises OptionError instead of ending the process, which may be a notebook."""

    def error(self, message: str) -> NoReturn:
        unknown = next((word for word in message.split() if word.startswith("--")), "")
        is_unknown = message.startswith("unrecognized arguments") and unknown
        known = [name for name in self._option_string_actions if name.startswith("--")]
        hint = suggest(unknown.partition("=")[0], known, "option") if is_unknown else ""
        raise OptionError(message + (f".{hint}" if hint else ""))


def make_parser(recipe: Recipe[Any, Any]) -> argparse.ArgumentParser:
    """Return the parser of a recipe: the common options and its own."""
    parser = OptionParser(
        prog=f"python -m {recipe.module}",
        description=sys.modules[type(recipe).__module__].__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--data", metavar="PATH", help="the data (by default a demo downloads its own); a "
        f"{SOURCE} beside it is shown on the model's card",
    )  # fmt: skip
    out = f"runs/{recipe.name}"
    written = f"checkpoint folder to write (default {out}; with --smoke {out}-smoke)"
    parser.add_argument("--out", metavar="DIR", default=out, help=written)
    parser.add_argument("--smoke", action="store_true", help="train for seconds on made-up data")
    parser.add_argument("--resume", action="store_true", help="continue an interrupted run")
    parser.add_argument(
        "--states", metavar="DIR", help="folder for the states of the run, to carry it to another machine"
    )
    parser.add_argument(
        "--train-only", action="store_true", help="stop after training; --resume with the same --states goes on"
    )
    if "epochs" in {item.name for item in fields(recipe.settings)}:
        length = parser.add_mutually_exclusive_group()
        length.add_argument("--epochs", type=parse_count, metavar="N", help="passes over the training data")
        length.add_argument(
            "--minutes", type=parse_minutes, metavar="N", help="choose the epochs so that it takes about N minutes"
        )
    else:
        parser.set_defaults(minutes=None)
    parser.add_argument("--measure", metavar="DIR", help="measure the model in this folder again, without training")
    parser.add_argument("--seed", type=parse_seed, default=42, metavar="N", help="the random seed (default 42)")
    parser.add_argument("--push-to-hub", metavar="USER/REPO", help="also publish it on the Hugging Face Hub")
    parser.add_argument("--private", action="store_true", help="make that repository private")
    parser.set_defaults(recipe="gallery", embed=False, push_learner=None)
    if not recipe.is_for_own_data:  # a demo, which has a Space
        parser.add_argument("--embed", action="store_true", help="also copy it into the Space's folder")
    else:
        add_word_options(parser)
        if recipe.data_options is not None:
            add_data_options(parser, *recipe.data_options)
    if type(recipe).run_book is not Recipe.run_book:
        parser.add_argument("--recipe", choices=["gallery", "book"], default="gallery", help="which recipe to train")
        parser.add_argument(
            "--push-learner",
            metavar="USER/REPO",
            help="publish the book's Learner: a pickle, which runs code when loaded",
        )
    recipe.add_options(parser)
    return parser


def parse_count(text: str, least: int = 1) -> int:
    """Parse a whole number of at least `least`, for argparse."""
    if not text.isdecimal() or int(text) < least:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number of {least} or more")
    return int(text)


def parse_share(text: str) -> float:
    """Parse a number from 0 to 1, for argparse."""
    share = _to_float(text)
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not a number from 0 to 1")
    return share


def parse_seed(text: str) -> int:
    """Parse a seed, for argparse."""
    if not (text.isdecimal() and int(text) <= MAX_SEED):
        raise argparse.ArgumentTypeError(f"{text} is not a whole number from 0 to {MAX_SEED}")
    return int(text)


def parse_minutes(text: str) -> float:
    """Parse a number of minutes above 0, for argparse."""
    minutes = _to_float(text)
    if not 0 < minutes < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not a number of minutes above 0")
    return minutes


def _to_float(text: str) -> float:
    """Return the number in a text, or NaN, which is in no range."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def run(recipe: Recipe[Any, Any], argv: Sequence[str] = ()) -> Path | Learner:
    """Train a model, or measure one again, with command-line options given as a list.

    Args:
        recipe: the recipe or demo.
        argv: options such as ["--smoke", "--out", "runs/x"]; sys.argv is not read.

    Returns:
        The checkpoint folder that was written or measured, or the Learner with --recipe book.

    Raises:
        OptionError: an option is unknown, lacks its value, or conflicts with another.
        DataError: the data cannot be used, or the model cannot be written.
        PublishError: the model cannot be published.
    """
    parser = make_parser(recipe)
    with guarded_output():
        words = [str(word) for word in argv]
        options = parser.parse_args(words)
        if options.smoke:  # whose model must not replace one of real data
            parser.set_defaults(out=f"{parser.get_default('out')}-smoke")
            options = parser.parse_args(words)
        check_options(options)
        if options.measure and recipe.is_for_own_data:
            options = recall_options(parser, options)
        use_plain_bar()
        processes.connect()
        set_seed(options.seed)
        try:
            if (repo := options.push_to_hub or options.push_learner) and not processes.get_rank():
                task = recipe.predictor.task if options.push_to_hub else None
                publish.check_repository(repo, task, options.private)  # before training, which may take hours
            made = train(recipe, parser, options)
        except Exception as error:
            if not is_disk_full(error, Path(options.out)):
                raise
            where = getattr(error, "filename", None) or Path(options.out).resolve().parent
            raise DataError(
                f"The disk is full: {where} cannot be written. Free some space, or choose another place."
            ) from error
        except KeyboardInterrupt:
            print(
                "\nInterrupted. Run the same command with --resume to continue after the last completed epoch.",
                file=sys.stderr,
            )
            raise
        if repo:
            push(options, made)
        return made


def train(recipe: Recipe[Any, Any], parser: argparse.ArgumentParser, options: argparse.Namespace) -> Path | Learner:
    """Run the book's cell, measure a folder again, or train a model."""
    if options.recipe == "book":
        processes.end_other_processes()
        settings = recipe.read_settings(options)
        return recipe.run_book(make_up_data(recipe, options, settings) or options.data, settings)
    if options.measure:
        check_room(Path(options.measure))
    source = processes.broadcast(record(parser, options) if not processes.get_rank() else None)
    if options.measure:
        return measure_again(recipe, options, source)
    return make(recipe, options, source)


def is_disk_full(error: Exception, out: Path) -> bool:
    """Return True if a full disk caused the error; torch, ONNX Runtime and safetensors raise their own types."""
    if isinstance(error, OSError) and error.errno in NO_ROOM:
        return True
    return not isinstance(error, DataError | PublishError) and (
        shutil.disk_usage(find_existing(out.resolve())).free < FULL
    )


def check_options(options: argparse.Namespace) -> None:
    """Check that the options do not conflict.

    Raises:
        OptionError: they do.
    """
    is_quick = getattr(options, "quick", False)
    if options.recipe == "book" and (options.resume or options.embed or options.push_to_hub or is_quick):
        raise OptionError("--recipe book only prints its figure, without --resume, --embed, --push-to-hub and --quick.")
    if options.push_learner and options.recipe != "book":
        raise OptionError("--push-learner needs --recipe book; use --push-to-hub for the gallery's recipe.")
    if options.train_only and (not options.states or options.recipe == "book" or options.embed or options.push_to_hub):
        raise OptionError("--train-only needs --states DIR, and goes without --recipe book, --embed and --push-to-hub.")
    if options.measure and (options.states or options.train_only):
        raise OptionError("--measure does not train; leave out --states and --train-only.")
    if options.measure and (options.recipe == "book" or options.embed or options.push_to_hub):
        raise OptionError("--measure only updates figures, without --recipe book, --embed and --push-to-hub.")


def use_plain_bar() -> None:
    """Make fastai draw its progress bar in ASCII if the console cannot encode block characters."""
    try:
        "\u2588".encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        ConsoleProgressBar.fill = "#"


def main(recipe: Recipe[Any, Any], argv: Sequence[str] | None = None) -> int:
    """Call `run` from the command line; return the exit code.

    An error that the user can fix is printed as one sentence instead of a traceback.
    """
    with guarded_output():
        try:
            run(recipe, sys.argv[1:] if argv is None else argv)
        except OptionError as error:
            argparse.ArgumentParser.error(make_parser(recipe), str(error))
        except (CheckpointError, DataError, ParityError, PublishError) as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
        except KeyboardInterrupt:
            return 130
    return 0


def push(options: argparse.Namespace, made: Path | Learner) -> None:
    """Publish what was trained.

    Raises:
        PublishError: it cannot be published; the text says where the model is and how to try again.
    """
    by_hand = f"python -m training.publish {options.out} {options.push_to_hub}{' --private' * options.private}"
    try:
        if options.push_to_hub:
            commit = publish.publish(options.out, options.push_to_hub, options.private)
            publish.announce(options.push_to_hub, commit)
        else:
            push_learner(made, options.push_learner, options.private)
    except (PublishError, CheckpointError, OSError, KeyboardInterrupt) as error:
        kept = f" The model is in {options.out}; to publish it: {by_hand}" if options.push_to_hub else ""
        raise PublishError(f"{str(error) or 'Interrupted.'}{kept}") from error


def push_learner(learner: Learner, repo: str, private: bool) -> None:
    """Publish a fastai Learner as a pickle, as fastai does."""
    from huggingface_hub import HfApi, push_to_hub_fastai

    print("A Learner is a pickle: loading it runs the code in it. Only people who trust you should load it.")
    _, is_new = make_repository(HfApi(), repo, private)
    message = "The book's Learner"
    with mention_leftover(repo, is_new):
        ask(lambda: push_to_hub_fastai(learner, repo_id=repo, commit_message=message), repo, UPLOAD)
    print(f'Published; load it with huggingface_hub[fastai]: from_pretrained_fastai("{repo}")')

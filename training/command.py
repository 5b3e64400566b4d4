"""The command line of every training script, and what it does from start to end."""

import argparse
import errno
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from fastai.learner import Learner
from fastprogress.fastprogress import ConsoleProgressBar

from hub.account import check_account
from hub.client import UPLOAD, PublishError, ask, mention_leftover
from hub.repository import make_repository
from shared.console import guarded_output
from shared.errors import CheckpointError
from training import processes, publish
from training.data import DataError
from training.folder import check_room, nearest
from training.learner import set_seed
from training.measure_again import measure_again
from training.recipe import Recipe, made_up, make
from training.record import SOURCE, Record, record

NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
FULL = 1_000_000  # bytes that are free on a disk that has no room for a model


class OptionError(ValueError):
    """An option of a training script is unknown, lacks its value, or does not go with another."""


class OptionParser(argparse.ArgumentParser):
    """Raises OptionError instead of ending the process, which may be a notebook's."""

    def error(self, message: str) -> NoReturn:
        raise OptionError(message)


def parser_of(recipe: Recipe[Any, Any]) -> argparse.ArgumentParser:
    """Return the command line of a recipe: the options that all have, and its own."""
    parser = OptionParser(
        prog=f"python -m {recipe.module}",
        description=sys.modules[type(recipe).__module__].__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--data", metavar="PATH", help="the data (a demo downloads its own by default); a "
        f"{SOURCE} beside it is put on the model's card",
    )  # fmt: skip
    parser.add_argument("--out", metavar="DIR", default=f"runs/{recipe.name}", help="checkpoint folder to write")
    parser.add_argument("--smoke", action="store_true", help="seconds, on data made up on the spot")
    parser.add_argument("--resume", action="store_true", help="go on where an interrupted run stopped")
    parser.add_argument("--measure", metavar="DIR", help="measure the model in this folder again; train nothing")
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--push-to-hub", metavar="USER/REPO", help="also publish it on the Hugging Face Hub")
    parser.add_argument("--private", action="store_true", help="make that repository private")
    parser.set_defaults(recipe="gallery", embed=False, push_learner=None)
    if type(recipe).load is not Recipe.load:  # a demo, with data and a Space of its own
        parser.add_argument("--embed", action="store_true", help="also put it into the Space's folder")
    if type(recipe).book is not Recipe.book:
        parser.add_argument("--recipe", choices=["gallery", "book"], default="gallery", help="ours, or the book's")
        parser.add_argument(
            "--push-learner",
            metavar="USER/REPO",
            help="publish the book's Learner: a pickle, which runs code when loaded",
        )
    recipe.add_options(parser)
    return parser


def run(recipe: Recipe[Any, Any], argv: Sequence[str] = ()) -> Path | Learner:
    """Train with the options of the command line, given as a list.

    Args:
        recipe: what is trained.
        argv: the options, such as ["--smoke", "--out", "runs/x"]. Those of the running program are not read.

    Returns:
        The checkpoint folder that was written or measured; with --recipe book the Learner.

    Raises:
        OptionError: an option is unknown, or does not go with another.
        DataError: the data cannot be used, or the model cannot be written.
        PublishError: the model cannot be published.
    """
    parser = parser_of(recipe)
    with guarded_output():
        options = parser.parse_args([str(word) for word in argv])
        check_options(options)
        use_plain_bar()
        processes.meet()
        set_seed(options.seed)
        try:
            if (repo := options.push_to_hub or options.push_learner) and not processes.rank():
                check_account(repo)  # now, not after hours of training
            made = train(recipe, parser, options)
        except Exception as error:
            if not is_disk_full(error, Path(options.out)):
                raise
            where = getattr(error, "filename", None) or Path(options.out).resolve().parent
            raise DataError(f"There is no room left for {where}; make some, or name another place.") from error
        except KeyboardInterrupt:
            print(
                "\nInterrupted; the same command with --resume goes on after the last whole epoch, if there was one.",
                file=sys.stderr,
            )
            raise
        if repo:
            push(options, made)
        return made


def train(recipe: Recipe[Any, Any], parser: argparse.ArgumentParser, options: argparse.Namespace) -> Path | Learner:
    """Run the book's cell, measure a folder again, or make a model."""
    if options.recipe == "book":
        processes.only_first()
        settings = recipe.settings_of(options)
        return recipe.book(made_up(recipe, options, settings) or options.data, settings)
    source = record(parser, options) if not processes.rank() else Record()
    if options.measure:
        check_room(Path(options.measure))
        return measure_again(recipe, options, source)
    return make(recipe, options, source)


def is_disk_full(error: Exception, out: Path) -> bool:
    """Return True if an error comes from a full disk; torch, ONNX Runtime and safetensors raise types of their own."""
    if isinstance(error, OSError) and error.errno in NO_ROOM:
        return True
    return not isinstance(error, DataError | PublishError) and (shutil.disk_usage(nearest(out.resolve())).free < FULL)


def check_options(options: argparse.Namespace) -> None:
    """Refuse options that do not go together.

    Raises:
        OptionError: some do not.
    """
    is_quick = getattr(options, "quick", False)
    if options.recipe == "book" and (options.resume or options.embed or options.push_to_hub or is_quick):
        raise OptionError(
            "--recipe book only prints its figure: --resume, --embed, --push-to-hub and --quick go with the gallery's."
        )
    if options.push_learner and options.recipe != "book":
        raise OptionError("--push-learner goes with --recipe book; the gallery's recipe has --push-to-hub.")
    if options.measure and (options.recipe == "book" or options.embed or options.push_to_hub):
        raise OptionError(
            "--measure rewrites the figures of a folder; --recipe book, --embed and --push-to-hub go without."
        )


def use_plain_bar() -> None:
    """Have fastai draw its progress bar in ASCII where the console has no blocks."""
    try:
        "\u2588".encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        ConsoleProgressBar.fill = "#"


def main(recipe: Recipe[Any, Any], argv: Sequence[str] | None = None) -> int:
    """Do what `run` does, from the command line; returns the process's exit code.

    What a person can mend ends in one sentence instead of a stack trace.
    """
    with guarded_output():
        try:
            run(recipe, sys.argv[1:] if argv is None else argv)
        except OptionError as error:
            argparse.ArgumentParser.error(parser_of(recipe), str(error))
        except (DataError, PublishError) as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
        except KeyboardInterrupt:
            return 130
    return 0


def push(options: argparse.Namespace, made: Path | Learner) -> None:
    """Publish what was trained.

    Raises:
        PublishError: it cannot be published; the text says where it is, and how to try again.
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
    """Publish a fastai Learner as fastai does, that is, as a pickle."""
    from huggingface_hub import HfApi, push_to_hub_fastai

    print("A Learner is a pickle: loading it runs whatever code is in it. Only who trusts you should load it.")
    _, is_new = make_repository(HfApi(), repo, private)
    message = "The book's Learner"
    with mention_leftover(repo, is_new):
        ask(lambda: push_to_hub_fastai(learner, repo_id=repo, commit_message=message), repo, UPLOAD)
    print(f'Published; load it with huggingface_hub[fastai]: from_pretrained_fastai("{repo}")')

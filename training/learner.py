"""What the training scripts share around fastai's Learner: arguments, data in memory, runs that can resume."""

import argparse
import contextlib
import errno
import hashlib
import io
import json
import multiprocessing
import os
import random
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, NoReturn

import fastai.callback.progress  # noqa: F401 - gives every Learner its bar
import fastai.callback.schedule  # noqa: F401 - gives every Learner fit_one_cycle
import numpy as np
import torch
from fastai.callback.core import Callback, CancelValidException
from fastai.data.load import DataLoader
from fastai.learner import Learner, load_model, save_model
from fastai.optimizer import OptimWrapper
from fastai.torch_core import default_device
from fastcore.basics import noops
from fastprogress.fastprogress import ConsoleProgressBar

from shared.checkpoint import sha256
from shared.console import guarded_output
from shared.errors import CheckpointError
from training import processes, publish
from training.data import DataError, data_files
from training.export import check_room, check_writable, cpu, nearest


class OptionError(ValueError):
    """An option of a training script is unknown, lacks its value, or does not go with another."""


class OptionParser(argparse.ArgumentParser):
    """Raises OptionError instead of ending the process, which may be a notebook's."""

    def error(self, message: str) -> NoReturn:
        raise OptionError(message)


def arguments(description: str | None, model: str) -> argparse.ArgumentParser:
    """The command line every training script has; a script adds its own to it."""
    parser = OptionParser(
        prog=f"python -m training.{model}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--recipe", choices=["gallery", "book"], default="gallery", help="ours, or the book's")
    parser.add_argument(
        "--data", metavar="DIR", help=f"folder with the data (default: download with fastai); a {SOURCE} in it is put "
        "on the model's card",
    )  # fmt: skip
    parser.add_argument("--out", metavar="DIR", default=f"runs/{model}", help="checkpoint folder to write")
    parser.add_argument("--embed", action="store_true", help="also put it into the Space's folder")
    parser.add_argument("--smoke", action="store_true", help="seconds, on data made up on the spot")
    parser.add_argument("--resume", action="store_true", help="go on where an interrupted run stopped")
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--push-to-hub", metavar="USER/REPO", help="also publish it on the Hugging Face Hub")
    parser.add_argument("--private", action="store_true", help="make that repository private")
    parser.add_argument(
        "--push-learner", metavar="USER/REPO", help="publish the book's Learner: a pickle, which runs code when loaded"
    )
    return parser


SECONDS = "seconds"  # file in a state's folder
SOURCE = "SOURCE.md"  # in a folder of data or weights: where they come from, and what was done to them
TRAINING = ("torch", "fastai", "transformers", "numpy")  # packages that train
NEITHER_TRAINS_NOR_MEASURES = ("resume", "out", "embed", "push_to_hub", "private", "push_learner", "measure")
REWRITTEN = ("measure", "newcomers")  # options that name a folder to write figures into
NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
FULL = 1_000_000  # bytes that are free on a disk that has no room for a model
PROCESS = 1_000_000  # between the seeds of two processes


class RowLoader(DataLoader):
    """Batches of rows of tensors in memory, indexed whole instead of collated row by row."""

    do_item = noops

    def __init__(self, *tensors: torch.Tensor, bs: int, **kwargs: Any) -> None:
        self.tensors = tensors
        super().__init__(range(len(tensors[0])), bs=bs, num_workers=0, **kwargs)

    def create_batch(self, indices: list[int]) -> tuple[torch.Tensor, ...]:
        """The rows with these indices."""
        return tuple(tensor[indices] for tensor in self.tensors)


def adamw(parameters: Any, lr: float) -> OptimWrapper:
    """AdamW with fastai's settings in torch's fused form, which updates all parameters at once.

    Unlike fastai's, it decays the weights of normalisation and biases, too, by as little (0.01).
    """
    return OptimWrapper(
        parameters, torch.optim.AdamW, lr=lr, betas=(0.9, 0.99), eps=1e-5, weight_decay=0.01, fused=True
    )


class NoValidation(Callback):
    """For fits that use every row: there is nothing left to validate on."""

    def before_validate(self) -> None:
        """Skip the validation loop."""
        raise CancelValidException


def loader_workers() -> int | None:
    """Return the number of processes that may load data for a Learner; None leaves it to fastai.

    It is 0 where they would be spawned instead of forked, as on Windows and macOS: some of fastai's transforms cannot
    be sent to them, and each would import torch anew for every epoch.
    """
    method = multiprocessing.get_start_method(allow_none=True) or multiprocessing.get_all_start_methods()[0]
    return None if method == "fork" else 0


def set_seed(seed: int) -> None:
    """Seed Python, numpy and torch."""
    random.seed(seed)
    np.random.seed(seed)  # fastai draws from the global generator
    torch.manual_seed(seed)


class KeepState(Callback):
    """Save model and optimiser after each epoch, and draw each epoch's random numbers from its own seed.

    So an epoch does not depend on how many ran before it in the same process, and a resumed run ends where
    an uninterrupted one does.
    """

    order = 65  # after the progress bar, before fastai skips the epochs already done

    def __init__(self, folder: Path, seed: int, start_epoch: int) -> None:
        self.folder, self.seed, self.start_epoch = folder, seed, start_epoch
        self.began = time.monotonic() - seconds_trained(folder)

    def before_epoch(self) -> None:
        """Seed this epoch."""
        seed = self.seed * 1000 + self.epoch
        set_seed(seed + PROCESS * processes.rank())
        loader = self.dls.train
        getattr(loader, "dl", loader).rng = random.Random(seed)  # of several processes, the one that they share

    def after_epoch(self) -> None:
        """Save the state; where that fails, say so and train on."""
        if self.epoch < self.start_epoch or processes.rank():
            return
        temporary = self.folder / "unfinished"
        try:
            self.save(temporary)
        except (OSError, RuntimeError) as error:  # torch raises a RuntimeError where the disk is full
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            print(
                f"The state after epoch {self.epoch + 1} could not be kept in {self.folder} ({error}); --resume would "
                f"go on after epoch {epochs_done(self.folder)}."
            )

    def save(self, temporary: Path) -> None:
        """Save under a temporary name, then rename: an interruption never leaves half a file."""
        self.folder.mkdir(parents=True, exist_ok=True)
        before = epochs_done(self.folder)
        temporary.write_text(str(time.monotonic() - self.began), encoding="utf-8", newline="\n")
        temporary.replace(self.folder / SECONDS)
        save_model(temporary, self.model, self.opt)
        temporary.replace(state_file(self.folder, self.epoch + 1))
        if before:
            state_file(self.folder, before).unlink(missing_ok=True)


def state_file(folder: Path, epochs: int) -> Path:
    """Where the state after this many epochs is kept."""
    return folder / f"after-{epochs:04d}.pth"


def seconds_trained(folder: Path) -> float:
    """How long the states in a folder, and in those within it, took to train; epochs cut short do not count."""
    return sum(float(path.read_text(encoding="utf-8")) for path in folder.rglob(SECONDS))


def epochs_done(folder: Path) -> int:
    """How many epochs the newest state in a folder has behind it; 0 without one."""
    return max((int(path.stem.removeprefix("after-")) for path in folder.glob("after-*.pth")), default=0)


def fit(learn: Learner, schedule: Callable[..., None], state: Path, seed: int, resume: bool) -> None:
    """Train, keeping the state of each epoch in a folder; with `resume`, go on from the newest.

    In several processes the first one's states count, and each trains on its share of every batch.

    Args:
        learn: the fastai Learner.
        schedule: called with start_epoch= and cbs=, such as partial(learn.fit_one_cycle, 8, 3e-3).
        state: folder of this fit's own; emptied unless resuming.
        seed: of the run; epoch n draws from seed * 1000 + n.
        resume: go on from the newest state, if there is one.
    """
    done = epochs_done(state) if resume else 0
    done, kept = processes.from_first((done, state_file(state, done).read_bytes() if done else b""))
    if done:
        learn.create_opt()
        load_model(io.BytesIO(kept), learn.model, learn.opt)
    else:
        processes.once_on_host(partial(shutil.rmtree, state, ignore_errors=True))
    with in_all_processes(learn):
        schedule(start_epoch=done, cbs=[KeepState(state, seed, done)])


def in_all_processes(learn: Learner) -> AbstractContextManager[None]:
    """Within it, a Learner's fit takes all processes there are."""
    if processes.count() == 1:
        return nullcontext()
    from training import distributed  # which loads Accelerate

    return distributed.all_processes(learn)


def state_folder(options: argparse.Namespace, model: str, files: Sequence[Path], measuring: Sequence[str] = ()) -> Path:
    """The folder for the states of a run, outside the tree.

    It is the same for the same options, code, training files, device and versions. It lies in the user's cache, or,
    where that cannot be written to, beside --out.

    Args:
        options: of the command line.
        model: the script's name.
        files: the training files; none for data that is made up.
        measuring: options that change nothing in training.
    """
    irrelevant = ("data", "record", *NEITHER_TRAINS_NOR_MEASURES, *measuring)
    described = {name: value for name, value in vars(options).items() if name not in irrelevant}
    described["machine"] = (training_device(), training_versions())  # so that what is recorded holds for all epochs
    described["files"] = [(str(path.resolve()), path.stat().st_size) for path in files]
    described["code"] = [sha256(path) for path in sorted(Path(__file__).parent.glob("*.py"))]
    key = hashlib.sha256(json.dumps(described, sort_keys=True, default=str).encode()).hexdigest()[:12]
    folder = state_place(Path(getattr(options, "out", "runs"))) / f"{model}-{key}"
    if options.resume and not folder.exists():
        print("There is no interrupted run with these options on this device; starting from the beginning.")
    elif not options.resume:
        processes.once_on_host(partial(shutil.rmtree, folder, ignore_errors=True))
    return folder


def state_place(out: Path) -> Path:
    """The folder that holds the states of all runs; says so if it is not the usual one."""
    usual, place = "the home folder", out.resolve().parent / ".model-gallery"
    try:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "model-gallery"
        usual = str(cache)
        check_writable(cache)
    except (OSError, RuntimeError) as error:  # a RuntimeError where there is no home at all
        reason = getattr(error, "strerror", None) or error
        print(f"{usual} cannot be written to ({reason}): the states that --resume needs are kept in {place}.")
        return place
    return cache


def recorded(parser: argparse.ArgumentParser, options: argparse.Namespace) -> dict[str, Any]:
    """What a model is being made from: the command, the commit of the code, and the content of the files it names.

    Options that change neither the model nor its figures are left out. Of a path only the name is kept.

    Returns:
        `command`, which the parser understands; `commit`, None outside a git repository; `inputs`, one for each option
        that names a file or folder: `option`, `name` and its `content`.

    Raises:
        DataError: a file cannot be read.
    """
    words, inputs = parser.prog.split(), []
    for action in parser._actions:
        if action.dest not in options or action.dest in NEITHER_TRAINS_NOR_MEASURES:
            continue
        value = getattr(options, action.dest)
        by_hardware = isinstance(action, argparse.BooleanOptionalAction)  # its default may depend on the machine
        if value == action.default and not by_hardware:
            continue
        flag = action.option_strings[-1 if by_hardware and not value else 0]
        if isinstance(value, bool):
            words.append(flag)
            continue
        if isinstance(value, str) and Path(value).exists():
            path = Path(value).resolve()
            try:
                inputs.append({"option": flag, "name": path.name, **content(path)})
            except OSError as error:
                raise DataError(f"A file of {flag} cannot be read: {error}") from error
            value = path.name
        words += [flag, str(value)]
    return {"command": shlex.join(words), "commit": commit(), "inputs": inputs}


def content(path: Path) -> dict[str, Any]:
    """What is at a path: `files` (how many), `sha256`, and `source` (the text of the SOURCE.md that is there, or None).

    The hash of a file is its SHA-256. That of a folder is the SHA-256 of what `sha256sum` prints for its files, sorted
    by name: the hash, two spaces, the path within the folder, a newline. For weights, which have a config.json, the
    SOURCE.md may lie in the folder above.
    """
    files = data_files(str(path))
    lines = sorted((file.relative_to(path).as_posix(), sha256(file)) for file in files if file != path)
    listed = "".join(f"{digest}  {name}\n" for name, digest in lines)
    places = [path, path.parent] if (path / "config.json").is_file() else [path if path.is_dir() else path.parent]
    sources = [place / SOURCE for place in places if (place / SOURCE).is_file()]
    return {
        "files": len(files),
        "sha256": hashlib.sha256(listed.encode()).hexdigest() if path.is_dir() else sha256(path),
        "source": sources[0].read_text(encoding="utf-8").strip() if sources else None,
    }


def commit() -> str | None:
    """The commit of this code, with a remark if training/ or shared/ differ from it; None outside its repository."""

    def git(*words: str) -> str:
        root = Path(__file__).resolve().parent.parent
        done = subprocess.run(["git", *words], cwd=root, capture_output=True, encoding="utf-8", check=True)  # noqa: S603, S607
        return done.stdout.strip()

    try:
        git("ls-files", "--error-unmatch", __file__)  # fails for a copy within another repository
        changed = git("status", "--porcelain", "--", "training", "shared")
        return git("rev-parse", "HEAD") + (", with changes" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def training_device() -> str:
    """On what the networks are trained: the GPU, and how many of them, or the processor."""
    if (kind := default_device().type) != "cuda":
        return cpu() if kind == "cpu" else f"{kind} of a machine with {cpu()}"
    several = f"{processes.count()} × " if processes.count() > 1 else ""
    return several + torch.cuda.get_device_name()


def training_versions() -> dict[str, str]:
    """The versions of what trains."""
    return {name: version(name) for name in TRAINING}


def trained(options: argparse.Namespace, started: float, notes: Sequence[str] = ()) -> dict[str, Any]:
    """What metrics.json says of a training that has ended; call it in the process that trained.

    Args:
        options: of the command line, with what `main` recorded.
        started: time.monotonic() when it began.
        notes: sentences for the card about how the model was trained.
    """
    record = getattr(options, "record", None) or {"command": None, "commit": commit(), "inputs": []}
    return {
        **record,
        "device": training_device(),
        "seconds": round(time.monotonic() - started),
        "seed": options.seed,
        "versions": training_versions(),
        "notes": list(notes),
    }


def push_learner(learner: Learner, repo: str, private: bool) -> None:
    """Publish a fastai Learner as fastai does, that is, as a pickle."""
    from huggingface_hub import HfApi, push_to_hub_fastai

    print("A Learner is a pickle: loading it runs whatever code is in it. Only who trusts you should load it.")
    _, is_new = publish.repository(HfApi(), repo, private)
    message = "The book's Learner"
    with publish.noting_what_stays(repo, is_new):
        publish.ask(lambda: push_to_hub_fastai(learner, repo_id=repo, commit_message=message), repo, publish.UPLOAD)
    print(f'Published; load it with huggingface_hub[fastai]: from_pretrained_fastai("{repo}")')


def start(
    run: Callable[[argparse.Namespace], Learner | None], parser: argparse.ArgumentParser, argv: Sequence[str] = ()
) -> Path | Learner:
    """Train with the options of the command line, given as a list.

    Args:
        run: what the script does.
        parser: of the script's options.
        argv: the options, such as ["--smoke", "--out", "runs/x"]. Those of the running program are not read.

    Returns:
        The checkpoint folder that was written or measured; with --recipe book the Learner.

    Raises:
        OptionError: an option is unknown, or does not go with another.
        DataError: the data cannot be used, or the model cannot be written.
        PublishError: the model cannot be published.
    """
    with guarded_output():
        options = parser.parse_args([str(word) for word in argv])
        check_options(options)
        use_plain_bar()
        processes.meet()
        set_seed(options.seed)
        try:
            if (repo := options.push_to_hub or options.push_learner) and not processes.rank():
                publish.check_account(repo)  # now, not after hours of training
            if options.recipe == "book":
                processes.only_first()
            elif not processes.rank():
                options.record = recorded(parser, options)  # before it runs: files and code may change meanwhile
            for measured in filter(None, (getattr(options, name, None) for name in REWRITTEN)):
                check_room(Path(measured))
            learner = run(options)
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
            push(options, learner)
        folders = (getattr(options, name, None) for name in (*REWRITTEN, "out"))
        return learner if learner is not None else Path(next(filter(None, folders)))


def is_disk_full(error: Exception, out: Path) -> bool:
    """Return True if an error comes from a full disk; torch, ONNX Runtime and safetensors raise types of their own."""
    if isinstance(error, OSError) and error.errno in NO_ROOM:
        return True
    return not isinstance(error, DataError | publish.PublishError) and (
        shutil.disk_usage(nearest(out.resolve())).free < FULL
    )


def check_options(options: argparse.Namespace) -> None:
    """Refuse options that do not go together.

    Raises:
        OptionError: some do not.
    """
    if options.recipe == "book" and (options.resume or options.embed or options.push_to_hub):
        raise OptionError(
            "--recipe book only prints its figure: --resume, --embed and --push-to-hub go with the gallery's."
        )
    if options.push_learner and options.recipe != "book":
        raise OptionError("--push-learner goes with --recipe book; the gallery's recipe has --push-to-hub.")
    if getattr(options, "measure", None) and (options.recipe == "book" or options.embed or options.push_to_hub):
        raise OptionError(
            "--measure rewrites the figures of a folder; --recipe book, --embed and --push-to-hub go without."
        )


def use_plain_bar() -> None:
    """Have fastai draw its progress bar in ASCII where the console has no blocks."""
    try:
        "\u2588".encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        ConsoleProgressBar.fill = "#"


def command(
    run: Callable[[argparse.Namespace], Learner | None], parser: argparse.ArgumentParser, argv: Sequence[str] = ()
) -> int:
    """Do what `start` does, from the command line; returns the process's exit code.

    What a person can mend ends in one sentence instead of a stack trace.
    """
    with guarded_output():
        try:
            start(run, parser, argv)
        except OptionError as error:
            argparse.ArgumentParser.error(parser, str(error))
        except (DataError, publish.PublishError) as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
        except KeyboardInterrupt:
            return 130
    return 0


def push(options: argparse.Namespace, learner: Learner | None) -> None:
    """Publish what was trained.

    Raises:
        PublishError: it cannot be published; the text says where it is, and how to try again.
    """
    by_hand = f"python -m training.publish {options.out} {options.push_to_hub}{' --private' * options.private}"
    try:
        if options.push_to_hub:
            commit = publish.publish(options.out, options.push_to_hub, options.private)
            publish.announce(options.out, options.push_to_hub, commit)
        elif learner is not None:
            push_learner(learner, options.push_learner, options.private)
    except (publish.PublishError, CheckpointError, OSError, KeyboardInterrupt) as error:
        kept = f" The model is in {options.out}; to publish it: {by_hand}" if options.push_to_hub else ""
        raise publish.PublishError(f"{str(error) or 'Interrupted.'}{kept}") from error

"""The states of a training run on disk: where they are, what they belong to, and the finished weights.

A folder of states has run.json, which describes the run; devices.json; a folder for each fit, with the state after its
last saved epoch; and, once all training has ended, finished.pth with the weights. It can be copied to another machine
and continued there, with --states and --resume.
"""

import contextlib
import hashlib
import io
import json
import os
import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from shared.config import sha256
from training import card, processes
from training.data import DataError
from training.folder import check_room, check_writable
from training.record import get_training_device, get_training_versions

SECONDS = "seconds"  # file with the training time, in a folder of states
PATH_SETTINGS = (
    "init",
    "labels",
    "items",
)  # settings that may name a file or folder, which has another place elsewhere
RUN, DEVICES, FINISHED = "run.json", "devices.json", "finished.pth"


def write_whole(path: Path, write: Callable[[Path], Any]) -> None:
    """Write a file under a temporary name, then rename it, so that an interruption leaves no partial file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name("unfinished")
    try:
        write(temporary)
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def write_json(path: Path, content: Any) -> None:
    """Write JSON with `write_whole`."""
    write_whole(path, lambda temporary: card.write_json(temporary, content))


def locate_state(folder: Path, epochs: int) -> Path:
    """Return the path of the state after this many epochs."""
    return folder / f"after-{epochs:04d}.pth"


def read_seconds_trained(folder: Path) -> float:
    """Return the seconds of training behind the states in a folder tree, without interrupted epochs."""
    return sum(float(path.read_text(encoding="utf-8")) for path in folder.rglob(SECONDS))


def count_epochs(folder: Path) -> int:
    """Return the number of epochs that the newest state in a folder was trained for; 0 without a state."""
    return max((int(path.stem.removeprefix("after-")) for path in folder.glob("after-*.pth")), default=0)


def note_device(folder: Path) -> None:
    """Add this device and these versions to the list of those that the run was trained on."""
    known = read_devices(folder)
    here = {"device": get_training_device(), "versions": get_training_versions()}
    if here not in known:
        write_json(folder / DEVICES, [*known, here])


def read_devices(folder: Path) -> list[dict[str, Any]]:
    """Return the device and the versions of each part of the training; an empty list if none has begun."""
    path = folder / DEVICES
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []


def keep_finished(folder: Path, weights: Mapping[str, torch.Tensor], notes: Sequence[str]) -> None:
    """Save the weights of a finished training, and notes on it."""
    content = {"weights": {name: value.cpu() for name, value in weights.items()}, "notes": list(notes)}
    write_whole(folder / FINISHED, partial(torch.save, content))


def load_state(path: Path, device: Any = "cpu", content: bytes | None = None) -> Any:
    """Return what a file of states holds; its bytes may be given.

    Raises:
        DataError: it is incomplete or damaged.
    """
    try:
        file = path if content is None else io.BytesIO(content)
        return torch.load(file, map_location=device, weights_only=True)  # noqa: TID251
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, EOFError, UnpicklingError, ValueError, LookupError, AttributeError) as error:
        raise DataError(f"{path} is incomplete or damaged; copy it again, or start again without --resume.") from error


def read_finished(folder: Path) -> tuple[dict[str, torch.Tensor], tuple[str, ...]] | None:
    """Return the weights of a finished training, in float32, and the notes on it; None if it has not finished."""
    path = folder / FINISHED
    if not path.is_file():
        return None
    content = load_state(path)
    weights = {
        name: value.float() if value.is_floating_point() else value for name, value in content["weights"].items()
    }
    return weights, tuple(content["notes"])


def prepare_states(
    described: Mapping[str, Any],
    name: str,
    files: Sequence[Path],
    out: Path,
    resume: bool,
    chosen: str | None = None,
    options: Collection[str] = (),
    data: str = "",
) -> Path:
    """Return the folder for the states of a run; delete old states unless resuming.

    Without a chosen folder it is the same for the same settings, code, training files, device and versions. It is in
    the user's cache, or beside --out if the cache is not writable.

    Args:
        described: the settings that affect training.
        name: name of the demo or recipe.
        files: the training files; none for made-up data.
        out: the checkpoint folder to write.
        resume: keep the states in the folder.
        chosen: a folder that the user chose, to carry the states to another machine.
        options: names of the settings that have an option, for the message.
        data: a hash of a user's own data, which the states in a chosen folder must have been trained on.

    Raises:
        DataError: the chosen folder is not one of states, or those in it are of a run with other settings or data.
    """
    check_states(chosen, out)
    folder = Path(chosen).resolve() if chosen else choose_folder(described, name, files, out)
    if resume and not folder.exists():
        print("No interrupted run has these options on this device; starting from the beginning.")
    elif not resume:
        processes.run_once_per_host(partial(shutil.rmtree, folder, ignore_errors=True))
    if chosen:
        settings = {
            key: Path(value).name if key in PATH_SETTINGS and value else value for key, value in described.items()
        }
        check_run(folder, {"name": name, "settings": settings, "code": hash_code(), "data": data}, options)
    return folder


def check_states(chosen: str | None, out: Path) -> None:
    """Check that a chosen folder, if any, is free or has states: it is emptied. Call it before long work begins.

    Raises:
        DataError: it is something else or cannot be written, or one of it and `out` is inside the other.
    """
    if chosen:
        processes.run_once_per_host(partial(_check_states, Path(chosen), out))  # before another process empties it


def _check_states(chosen: Path, out: Path) -> None:
    folder, model = chosen.resolve(), out.resolve()
    if folder == model or folder in model.parents or model in folder.parents:
        raise DataError(f"The states in {chosen} and the model in {out} need folders of their own; choose another one.")
    if folder.exists() and not (folder.is_dir() and (read_run(folder) is not None or not any(folder.iterdir()))):
        raise DataError(f"{chosen} exists and is not a folder of states; choose another one with --states.")
    check_room(folder)


def read_run(folder: Path) -> dict[str, Any] | None:
    """Return the description of the run whose states are in a folder; None if it has none."""
    try:
        run = json.loads((folder / RUN).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    is_run = isinstance(run, dict) and run.keys() >= {"name", "settings", "code"} and isinstance(run["settings"], dict)
    return run if is_run else None


def check_run(folder: Path, run: Mapping[str, Any], options: Collection[str] = ()) -> None:
    """Describe a run in its folder of states; check that the states there are of the same run.

    Args:
        folder: the folder of states.
        run: its name, settings, code and data.
        options: names of the settings that have an option, for the message.

    Raises:
        DataError: they are of a run with other settings, or other data of a user's own.
    """
    before, now = processes.broadcast(read_run(folder)), json.loads(json.dumps(run, default=str))
    if before is None:
        return processes.run_once_per_host(partial(write_json, folder / RUN, now))
    settings = before["settings"] | before["settings"].get("own", {})  # where earlier code has the options of own data
    changed = [key for key, value in now["settings"].items() if settings.get(key) != value]
    if before["name"] != now["name"] or changed:
        typed = [f"--{key.replace('_', '-')}" for key in changed if key in options]
        other = f" (other: {', '.join(typed or changed)})" if before["name"] == now["name"] else ""
        raise DataError(
            f"The states in {folder} are of another run of {before['name']}{other}; give the options of that run, or "
            "another folder with --states."
        )
    if now.get("data") and before.get("data") not in (None, "", now["data"]):
        raise DataError(
            f"The data has changed since the training in {folder} began, which may have seen what would be the test "
            "now; give the same files, or start again without --resume."
        )
    if before["code"] != now["code"]:
        print(f"The code has changed since the training in {folder} began.")
    return None


def choose_folder(described: Mapping[str, Any], name: str, files: Sequence[Path], out: Path) -> Path:
    """Return the folder of the states of a run, named after all that determines its result."""
    everything = {
        "settings": dict(described),
        "machine": (get_training_device(), get_training_versions()),  # so that the record holds for all epochs
        "files": [(str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns) for path in files],
        "code": hash_code(),
    }
    key = hashlib.sha256(json.dumps(everything, sort_keys=True, default=str).encode()).hexdigest()[:12]
    return choose_place(out) / f"{name}-{key}"


def hash_code() -> str:
    """Return a hash of the code that training runs."""
    root = Path(__file__).parents[1]
    code = sorted(path for name in ("training", "shared") for path in (root / name).rglob("*.py"))
    return hashlib.sha256("".join(map(sha256, code)).encode()).hexdigest()


def choose_place(out: Path) -> Path:
    """Return the folder for the states of all runs; print it if it is not the user's cache."""
    usual, place = "the home folder", out.resolve().parent / ".model-gallery"
    try:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "model-gallery"
        usual = str(cache)
        check_writable(cache)
    except (OSError, RuntimeError) as error:  # a RuntimeError where there is no home at all
        reason = getattr(error, "strerror", None) or error
        print(f"{usual} is not writable ({reason}): the states for --resume are saved in {place}.")
        return place
    return cache

"""Load what fastai's `learn.export()` wrote, and read the labels and transforms of a picture classifier."""

import contextlib
import math
import pickle
import sys
import types
import warnings
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fastai.data.transforms import Categorize, ColReader
from fastai.learner import Learner
from fastai.losses import FocalLoss
from fastai.torch_core import TensorImage
from fastai.vision.augment import RandomResizedCrop, Resize
from fastai.vision.core import PILImage
from numpy.typing import NDArray
from PIL import Image
from torch import nn
from torch.nn import functional as F

from shared.images import Framing, load_image, to_array
from training.data import DataError
from training.progress import show_progress
from training.sentences import list_names

TRUST = "{} is a pickle: loading it runs the code in it. Convert only files from people whom you trust."
FRAMINGS: dict[str, Framing] = {"squish": "squash", "crop": "crop", "pad": "pad"}  # fastai's names
LFS_POINTER = b"version https://git-lfs"
ROWS = 16  # pictures per step when the batch transforms are measured
SIDES, MARGIN = (32, 1024), 256  # limits of ImageClassifierConfig, in pixels
LEVELS = 0.25  # mean difference allowed between the Learner's pixels and ours, of 255
TEXT, TABLE = {"Tokenizer", "Numericalize"}, {"TabularPandas", "Tabular", "TabularCollab"}


@dataclass(frozen=True)
class Preparation:
    """How a picture becomes the input of a network; see ImageClassifierConfig.

    `resample`, (rows, size), is applied to both axes of the normalised picture; None if it changes nothing.
    """

    size: int
    framing: Framing
    margin: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    resample: torch.Tensor | None

    def read(self, source: Path | Image.Image) -> NDArray[np.float32]:
        """Return a picture as serving prepares it, (3, size, size).

        Raises:
            BadInput: it cannot be read.
        """
        square = load_image(source, self.size + 2 * self.margin).make_square(self.size, self.framing, self.margin)
        return to_array(square, self.mean, self.std)


# --- loading ---


def load(path: Path) -> Learner:
    """Load an exported Learner on the CPU, which runs the code in the file.

    Functions that its file only names, because they were defined in a notebook, are replaced.

    Raises:
        DataError: the file is missing, or holds no Learner that the installed versions can load.
    """
    if not path.is_file():
        raise DataError(f"There is no file {path}; name the one that learn.export() wrote.")
    check_file(path)
    reader = make_pickle_module()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            learn = torch.load(path, map_location="cpu", pickle_module=reader, weights_only=False)  # noqa: TID251 - the user trusts the file
    except Exception as error:  # unpickling may raise anything
        raise DataError(explain_failure(path, error, reader.missing)) from error
    if not isinstance(learn, Learner):
        kind = type(learn).__name__
        raise DataError(f"{path} holds a {kind}, not a Learner; learn.export() writes one, learn.save() only weights.")
    learn.dls.cpu()
    # As fastai's load_learner does, which fails with a stack trace for anything but a Learner.
    if hasattr(learn, "channels_last"):
        return learn.to_contiguous(to_fp32=True)
    if hasattr(learn, "mixed_precision"):
        return learn.to_fp32()
    return learn


def check_file(path: Path) -> None:
    """Check that a file begins as torch.save begins one, and that its end is there, too.

    Raises:
        DataError: it does not.
    """
    with path.open("rb") as file:
        begins = file.read(len(LFS_POINTER))
    if begins == LFS_POINTER:
        raise DataError(f"{path} is a Git LFS pointer, not the file itself; run: git lfs pull")
    if not begins or (begins[:2] == b"PK" and not zipfile.is_zipfile(path)):
        raise DataError(f"{path} is {'incomplete' if begins else 'empty'}; copy or download it again.")
    if begins[:1] != b"\x80" and begins[:2] != b"PK":
        raise DataError(f"{path} is not a pickle; name the file that learn.export() wrote.")


def explain_failure(path: Path, error: Exception, missing: Sequence[str]) -> str:
    """Return a sentence on why a file cannot be loaded, and on what helps.

    Args:
        path: the file.
        error: what unpickling raised.
        missing: names of what a notebook defined and is not in the file.
    """
    if isinstance(error, ModuleNotFoundError) and error.name:
        package = error.name.partition(".")[0]
        return (
            f"{path} needs the module {error.name}. If it is a file of your own, copy {package}.py to this folder; "
            "otherwise install the package that has it."
        )
    reason = " ".join(str(error).split()) or type(error).__name__
    # Where a class is missing, pickle calls or makes an object of the function of `find_in_main`.
    if missing and isinstance(error, TypeError | DataError | pickle.UnpicklingError):
        return (
            f"{path} needs {list_names(missing)}, defined in a notebook and not in the file; export it again by "
            "learn.export() without pickle_module, which stores classes and functions, too."
        )
    return (
        f"{path} cannot be loaded with fastai {version('fastai')} and torch {version('torch')} ({reason[:300]}); "
        "export it again with these versions, or convert it where it was exported."
    )


def make_pickle_module() -> types.ModuleType:
    """Return a module like pickle for torch.load, with a list `missing` of the names that were not found.

    It replaces missing functions of __main__, and paths of another operating system by those of this one.
    """
    missing: list[str] = []

    class Unpickler(pickle.Unpickler):  # noqa: S301 - the user trusts the file
        def find_class(self, module: str, name: str) -> Any:
            if name in {"PosixPath", "WindowsPath"} and module.startswith("pathlib"):
                return Path
            if module == "__main__":
                return find_in_main(name, missing)
            return super().find_class(module, name)

    made = types.ModuleType("pickle")
    made.Unpickler, made.load, made.missing = Unpickler, pickle.load, missing  # type: ignore[attr-defined]  # noqa: S301
    return made


def find_in_main(name: str, missing: list[str]) -> Any:
    """Return what a notebook defined under a name, or a function that reports that it is missing when called.

    The name is then also appended to `missing`.
    """
    main = sys.modules["__main__"]
    if getattr(main, "__spec__", None) is None and hasattr(main, name):  # else __main__ is a command, such as this one
        return getattr(main, name)

    def replacement(*_: Any, **__: Any) -> Any:
        raise DataError(f"the function {name} was defined in a notebook and is not in the file")

    replacement.__name__ = name
    missing.append(name)
    return replacement


# --- labels ---


def find_categories(learn: Learner) -> list[Any]:
    """Return the vocab of a classifier of colour pictures.

    Raises:
        DataError: the Learner has another task; the text names it.
    """
    sets = learn.dls.valid_ds
    names = {type(step).__name__ for part in getattr(sets, "tls", ()) for step in part.tfms.fs}
    if {kind.__name__ for kind in type(sets).__mro__} & TABLE:
        raise DataError("The Learner is for tables; only picture classifiers can be converted.")
    if names & TEXT:
        raise DataError("The Learner is for texts; only picture classifiers can be converted.")
    if "MultiCategorize" in names or "EncodedMultiCategorize" in names:
        raise DataError("The Learner gives a picture several labels; only those that give one can be converted.")
    steps = [step for part in getattr(sets, "tls", ())[1:] for step in part.tfms.fs]
    found = [step for step in steps if type(step) is Categorize]
    if len(found) != 1 or len(sets.tls) != 2 or count_readers(learn) is None:
        raise DataError("The Learner does not classify colour pictures; only such Learners can be converted.")
    if found[0].add_na:
        raise DataError(
            "The Learner was made with add_na=True, so one of its labels, #na#, stands for none; train it without."
        )
    return list(found[0].vocab)


def count_readers(learn: Learner) -> int | None:
    """Return the number of steps up to PILImage.create, such as a ColReader before it; None without that step."""
    for index, step in enumerate(learn.dls.valid_ds.tls[0].tfms.fs):
        methods = [method.implementation for method in getattr(getattr(step, "encodes", None), "methods", ())]
        # In an exported Learner, the method's function is a copy.
        if any(getattr(method, "__self__", None) is PILImage and method.__name__ == "create" for method in methods):
            return index + 1
    return None


def find_label_function(learn: Learner) -> Callable[[Path], Any]:
    """Return the function that maps the path of a picture to its label, as the Learner was trained with it."""
    steps = [step for step in learn.dls.valid_ds.tls[1].tfms.fs if not isinstance(step, Categorize)]

    def read(path: Path) -> Any:
        found: Any = path
        for step in steps:
            found = step(found)
        return found

    return read


def takes_table(learn: Learner) -> bool:
    """Return True if a Learner's labels came from a column of a table."""
    return any(isinstance(step, ColReader) for step in learn.dls.valid_ds.tls[1].tfms.fs)


# --- loss ---


def check_loss(learn: Learner, labels: int) -> None:
    """Check that softmax makes probabilities of what a Learner's network puts out; print where this is an assumption.

    learn.predict asks the loss function for its activation. Those of torch, and most of people's own, have none.

    Args:
        learn: the Learner.
        labels: their number.

    Raises:
        DataError: the loss function makes something else of it, or does not compare labels.
    """
    loss = learn.loss_func
    inner = getattr(loss, "func", loss)  # of one of fastai's, or of a functools.partial
    name = getattr(inner, "__name__", type(inner).__name__)
    scores = torch.linspace(-1, 2, 2 * labels).reshape(2, labels)
    activation = getattr(loss, "activation", None)
    try:
        found = torch.as_tensor(activation(scores) if callable(activation) else scores).float()
    except Exception as error:  # it may be the user's own code
        raise DataError(f"The activation of the Learner's loss function {name} fails: {error}.") from error
    if found.shape == scores.shape and torch.allclose(found, scores.softmax(1)):
        return
    if torch.equal(found, scores):
        if isinstance(inner, nn.CrossEntropyLoss | FocalLoss) or inner is F.cross_entropy:
            return
        module = getattr(inner, "__module__", None) or ""
        if module.partition(".")[0] not in ("torch", "fastai"):
            print(f"The Learner's loss function {name} has no activation; its outputs are taken as logits (softmax).")
            return
    raise DataError(
        f"The Learner was trained with the loss function {name}, not with cross-entropy, so its answers are not the "
        "probabilities of one label; only a Learner trained with cross-entropy can be converted."
    )


# --- transforms ---


def read_preparation(learn: Learner) -> Preparation:
    """Read how a Learner prepares pictures for `learn.predict`.

    The transforms of single pictures are known by name. Those of batches (normalisation, and a second resizing after
    aug_transforms(size=…)) are measured: they are the same affine function of each row, column and channel.

    Raises:
        DataError: the transforms are others than these.
    """
    steps = list(learn.dls.valid.after_item.fs)
    found = [step for step in steps if isinstance(step, Resize | RandomResizedCrop)]
    if len(found) != 1:
        names = ", ".join(type(step).__name__ for step in steps)
        raise DataError(
            f"The Learner must resize pictures by one Resize or RandomResizedCrop; it has {names}. Train it again with "
            "item_tfms=Resize(…)."
        )
    step, margin = found[0], 0
    framing: Framing = "squash"
    width, height = step.size
    if width != height:
        raise DataError(
            f"The Learner takes pictures of {width} × {height} pixels (width × height); only squares can be converted. "
            f"Train it again with Resize({max(width, height)})."
        )
    if not SIDES[0] <= width <= SIDES[1]:
        raise DataError(
            f"The Learner takes pictures of {width} × {width} pixels; only sides of {SIDES[0]} to {SIDES[1]} can be "
            "converted."
        )
    if isinstance(step, Resize):
        framing = FRAMINGS[step.method]
        if framing == "pad" and step.pad_mode != "zeros":
            raise DataError(
                f"The Learner pads pictures by {step.pad_mode}; only zeros (black bars) can be converted. Train it "
                'again with Resize(…, method="pad", pad_mode="zeros").'
            )
    else:
        margin = math.ceil(width * step.val_xtra / 8) * 8 // 2
        if margin > MARGIN:
            raise DataError(
                f"The Learner cuts off {margin} pixels on each side of a picture; at most {MARGIN} can be converted."
            )
    mean, std, resample = measure_batch_transforms(learn, width)
    return Preparation(width, framing, margin, mean, std, resample)


def measure_batch_transforms(
    learn: Learner, size: int
) -> tuple[tuple[float, ...], tuple[float, ...], torch.Tensor | None]:
    """Return mean, std, and the matrix by which a Learner's batch transforms resample each axis of a picture."""

    loader = make_loader(learn, [make_grey()])
    loader.before_iter()  # selects the transforms of validation

    def transform(pixels: torch.Tensor) -> torch.Tensor:
        (found,) = loader.after_batch((TensorImage(pixels),))
        return found.as_subclass(torch.Tensor)

    flat = torch.zeros(2, 3, size, size, dtype=torch.uint8)
    flat[1] = 255
    black, white = (values.mean((1, 2)) for values in transform(flat))
    std = 1 / (white - black)
    columns = []
    for start in range(0, size, ROWS):
        rows = range(start, min(start + ROWS, size))
        lines = torch.zeros(len(rows), 3, size, size, dtype=torch.uint8)
        for index, row in enumerate(rows):
            lines[index, :, row] = 255
        columns.append((transform(lines)[:, 0, :, 0] - black[0]) * std[0])
    matrix = torch.cat(columns).T.contiguous()
    is_same = matrix.shape[0] == size and torch.allclose(matrix, torch.eye(size), atol=1e-3)
    mean = tuple(round(float(value), 6) + 0.0 for value in -black * std)
    return mean, tuple(round(float(value), 6) for value in std), None if is_same else matrix


def check_preparation(learn: Learner, preparation: Preparation, paths: Sequence[Path]) -> None:
    """Compare the pixels that the Learner's network gets with ours.

    Raises:
        DataError: they differ.
    """
    images = [load_image(path).image for path in paths]
    with silence(learn):
        (theirs, *_) = next(iter(make_loader(learn, images)))
    ours = torch.from_numpy(np.stack([preparation.read(image) for image in images]))
    if preparation.resample is not None:
        ours = preparation.resample @ ours @ preparation.resample.T
    same_shape = theirs.shape == ours.shape
    gaps = (theirs.as_subclass(torch.Tensor) - ours).abs() if same_shape else torch.tensor(math.inf)
    if not float(gaps.mean()) * 255 * max(preparation.std) <= LEVELS:
        steps = [*learn.dls.valid.after_item.fs, *learn.dls.valid.after_batch.fs]
        names = ", ".join(type(step).__name__ for step in steps)
        raise DataError(f"The Learner changes pictures in a way that cannot be converted; its transforms are {names}.")


def predict(learn: Learner, paths: Sequence[Path]) -> NDArray[np.float64]:
    """Return the probabilities that learn.predict gives to upright pictures, (n, labels); draw progress.

    Where the loss function has no activation, learn.predict gives the logits of which these are the softmax.
    """
    parts = []
    for start in show_progress("Asking the Learner", range(0, len(paths), ROWS)):
        images = [load_image(path).image for path in paths[start : start + ROWS]]
        with silence(learn):
            loader = make_loader(learn, images)
            parts.append(learn.get_preds(dl=loader, act=partial(torch.softmax, dim=1))[0].numpy())
    return np.concatenate(parts).astype(np.float64)


def make_loader(learn: Learner, images: Sequence[Image.Image]) -> Any:
    """Return a loader with a batch of pictures, as learn.predict makes it, without the steps that read them."""
    pictures = [PILImage.create(image) for image in images]
    return learn.dls.test_dl(pictures, rm_type_tfms=count_readers(learn), num_workers=0, bs=len(images))


@contextlib.contextmanager
def silence(learn: Learner) -> Any:
    """Let a Learner draw no progress bar, and hide its warnings."""
    with warnings.catch_warnings(), learn.no_bar():
        warnings.simplefilter("ignore")
        yield


def make_grey() -> Image.Image:
    """Return a small grey picture."""
    return Image.new("RGB", (8, 8), "grey")

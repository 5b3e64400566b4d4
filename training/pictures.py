"""Shared by the recipes for pictures: decoding into memory, batches with augmentation, and outputs of networks."""

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from fastai.callback.core import Callback
from fastai.torch_core import default_device
from numpy.typing import NDArray
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel
from transformers.utils import logging

from shared.archives import make_safe_filename
from shared.config import MODEL
from shared.errors import BadInput
from shared.images import Source, load_image
from shared.session import Session
from training import export
from training.data import DataError, is_clutter
from training.folder import EXAMPLES
from training.learner import RowLoader, choose_mixed_precision, send_rows
from training.pretrained import explain_unreachable, find_pretrained, tell_retries_once
from training.progress import show_progress

GREY = 127  # of pixels outside a picture
SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif")
EXAMPLE_SIDE = 640  # pixels
INPUT = "pixel_values"  # the input name that transformers.js expects
Pretrained = TypeVar("Pretrained", bound=PreTrainedModel)


def decode(
    sources: Sequence[Source],
    size: tuple[int, int],
    threads: int | None = None,
    inner: Sequence[tuple[int, int]] = (),
    what: str = "Decoding pictures",
) -> torch.Tensor:
    """Decode pictures at `size` (width, height) as serving does; return uint8 (n, 3, height, width).

    Args:
        sources: the pictures.
        size: width and height.
        threads: their number; by default one for every core.
        inner: the (width, height) of each picture, at the top left of a grey one of `size`, to keep its aspect ratio.
        what: the name of the progress bar.

    Raises:
        DataError: a file cannot be read as a picture.
    """
    pictures = np.full((len(sources), size[1], size[0], 3), GREY, dtype=np.uint8)

    def read(index: int) -> None:
        width, height = shape = inner[index] if inner else size
        try:
            pictures[index, :height, :width] = np.asarray(load_image(sources[index], min(shape)).resize(shape))
        except BadInput as error:
            raise DataError(f"{str(sources[index])[:200]}: {error}") from error

    with ThreadPoolExecutor(threads or os.cpu_count()) as pool:
        for _ in show_progress(what, pool.map(read, range(len(sources))), len(sources)):
            pass
    return torch.from_numpy(pictures).permute(0, 3, 1, 2)


def load_pretrained(architecture: type[Pretrained], name: str, new: Sequence[str] = (), **config: Any) -> Pretrained:
    """Load a network of transformers from a local folder or by its Hub name.

    Args:
        architecture: the class of the network.
        name: a folder or a Hub name.
        new: beginnings of the names of weights that it need not have.
        config: changes of its config.

    Raises:
        DataError: it cannot be loaded, has another architecture, or lacks weights.
    """
    place = check_pretrained(architecture, name)
    logging.set_verbosity_error()  # its report names the new layers as missing; `missing` below is what matters
    logging.disable_progress_bar()
    try:
        with tell_retries_once():
            network, found = architecture.from_pretrained(place, output_loading_info=True, **config)
        if missing := sorted(key for key in found["missing_keys"] if not key.startswith(tuple(new))):
            raise ValueError(f"it has no weights for {missing[0]}")  # transformers would make up random ones
    except Exception as error:  # any failure of the Hub, the network or the file system
        raise refuse_pretrained([architecture], name, error) from error
    loaded: Pretrained = network
    return loaded


def check_pretrained(architecture: type[PreTrainedModel], name: str) -> str:
    """Check that a pretrained network exists and has an architecture; return where transformers finds it.

    Raises:
        DataError: it cannot be found, or has another architecture.
    """
    return find_architecture([architecture], name)[1]


def find_architecture(architectures: Sequence[type[PreTrainedModel]], name: str) -> tuple[type[PreTrainedModel], str]:
    """Return which of these architectures a pretrained network has, and where transformers finds it.

    Raises:
        DataError: it cannot be found, or has another architecture.
    """
    place = find_pretrained(name)
    try:
        with tell_retries_once():
            found, _ = PretrainedConfig.get_config_dict(place)
        kinds = {architecture.config_class.model_type: architecture for architecture in architectures}
        if (kind := found.get("model_type")) not in kinds:  # transformers would only warn
            raise ValueError(f"it is a {kind or 'network of no known type'}")
    except Exception as error:  # any failure of the Hub, the network or the file system
        raise refuse_pretrained(architectures, name, error) from error
    return kinds[kind], place


def refuse_pretrained(architectures: Sequence[type[PreTrainedModel]], name: str, error: Exception) -> DataError:
    """Return the error about a pretrained network that cannot be used."""
    if unreachable := explain_unreachable(name, error):
        return DataError(unreachable)
    *others, last = [architecture.__name__ for architecture in architectures]
    accepted = f"{', '.join(others)} or {last}" if others else last
    return DataError(
        f"{name} could not be loaded as {accepted} ({error}); name a local folder or another model with --init."
    )


class PictureLoader(RowLoader):
    """Batches of pictures in memory, uint8 (n, 3, height, width), and of their targets.

    On a GPU all tensors stay in its memory, so that training does not wait for decoding or copying. `augment` gets the
    pictures of a batch, as floats from 0 to 1, and its other tensors, and returns them. Then mean and std are applied.
    """

    def __init__(
        self,
        *tensors: torch.Tensor,
        bs: int,
        mean: Sequence[float],
        std: Sequence[float],
        augment: Callable[..., tuple[torch.Tensor, ...]] | None = None,
        **kwargs: Any,
    ) -> None:
        device = default_device()
        super().__init__(*(tensor.to(device) for tensor in tensors), bs=bs, device=device, **kwargs)
        self.mean, self.std = (torch.tensor(values, device=device) for values in (mean, std))
        self.augment = augment

    def create_batch(self, indices: list[int]) -> tuple[torch.Tensor, ...]:
        """Return the rows with these indices, augmented."""
        rows = send_rows(indices, self.tensors[0].device)
        pictures, *rest = (tensor[rows] for tensor in self.tensors)
        floats = pictures.float().div_(255)
        if self.augment:
            floats, *rest = self.augment(floats, *rest)
        return (normalise(floats, self.mean, self.std), *rest)


class FrozenBatchNorm(Callback):
    """Keep the pretrained statistics of BatchNorm: those of a small data set are worse.

    fastai's train_bn=False does not hold once a layer is unfrozen.
    """

    order = 5  # after TrainEvalCallback has set training mode

    def before_train(self) -> None:
        """Put every BatchNorm into evaluation mode; its weights are still trained."""
        for module in self.model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()


def normalise(
    pictures: torch.Tensor, mean: Sequence[float] | torch.Tensor, std: Sequence[float] | torch.Tensor
) -> torch.Tensor:
    """Normalise pictures from 0 to 1 by channel; return them in the channels-last memory format.

    On a GPU, give mean and std as tensors there, so that it need not wait for them.
    """
    centre, spread = (torch.as_tensor(values, device=pictures.device).view(1, 3, 1, 1) for values in (mean, std))
    return ((pictures - centre) / spread).contiguous(memory_format=torch.channels_last)


def make_batches(
    pictures: torch.Tensor, mean: Sequence[float], std: Sequence[float], size: int = 16
) -> Iterator[dict[str, NDArray[np.float32]]]:
    """Yield uint8 pictures as batches of inputs for an exported model."""
    for part in pictures.split(size):
        yield {INPUT: normalise(part.float().div(255), mean, std).numpy()}


def run_session(
    session: Session, names: Sequence[str], pictures: torch.Tensor, mean: Sequence[float], std: Sequence[float]
) -> list[NDArray[np.float32]]:
    """Return the named outputs of an exported model for uint8 pictures."""
    batches = [session.run(names, {session.inputs[0]: batch[INPUT]}) for batch in make_batches(pictures, mean, std)]
    return [np.concatenate(arrays) for arrays in zip(*batches, strict=True)]


def compute_outputs(
    module: nn.Module, *parts: torch.Tensor, mean: Sequence[float], std: Sequence[float]
) -> list[list[torch.Tensor]]:
    """Return the outputs of a module in evaluation mode: for each part, a list of float32 tensors on the CPU.

    A module on the CPU is exported and run by ONNX Runtime; on a GPU, torch runs it in mixed precision.

    Args:
        module: a module that can be traced and returns a tuple.
        parts: uint8 pictures, each part (n, 3, height, width), all of the same size.
        mean: mean of each channel, from 0 to 1.
        std: standard deviation of each channel.
    """
    module.eval()
    if next(module.parameters()).device.type == "cpu":
        return run_exported(module, parts, mean, std)
    return [run_torch(module, pictures, mean, std) for pictures in parts]


@torch.inference_mode()
def run_torch(
    module: nn.Module, pictures: torch.Tensor, mean: Sequence[float], std: Sequence[float]
) -> list[torch.Tensor]:
    """Return the outputs of a module for uint8 pictures, run on its own device; on a CPU in float32."""
    device = next(module.parameters()).device
    with torch.autocast(device.type, torch.bfloat16, enabled=device.type != "cpu" and bool(choose_mixed_precision())):
        batches = [module(normalise(batch.to(device).float().div(255), mean, std)) for batch in pictures.split(64)]
    return [torch.cat(tensors).float().cpu() for tensors in zip(*batches, strict=True)]


def run_exported(
    module: nn.Module, parts: Sequence[torch.Tensor], mean: Sequence[float], std: Sequence[float]
) -> list[list[torch.Tensor]]:
    """Return the outputs of a module for uint8 pictures, exported to ONNX once for all parts."""
    example = torch.zeros(2, *parts[0].shape[1:])
    with torch.no_grad(), tempfile.TemporaryDirectory() as folder:
        names = [f"output{index}" for index in range(len(module(example)))]
        export.write_onnx(module, Path(folder) / MODEL, {INPUT: example}, names)
        session = Session(Path(folder) / MODEL, threads=torch.get_num_threads())
        found = []
        for pictures in parts:
            found.append([torch.from_numpy(array) for array in run_session(session, names, pictures, mean, std)])
            if any(len(tensor) != len(pictures) for tensor in found[-1]):
                raise RuntimeError(f"The traced {type(module).__name__} returns another number of rows than it gets.")
    return found


def list_pictures(folder: Path) -> list[Path]:
    """Return the picture files in a folder tree, without hidden ones and those of macOS's archives."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES and not is_clutter(path.relative_to(folder))
    )


def write_examples(
    folder: Path, paths: Sequence[Path], y: NDArray[np.int64], labels: Sequence[str], count: int
) -> None:
    """Save a few resized pictures, which are published with the model and shown by Spaces.

    Args:
        folder: the checkpoint folder.
        paths: pictures to choose from.
        y: indices of their labels, (n,).
        labels: names of the labels.
        count: approximate number of pictures; at least one of each label.
    """
    (folder / EXAMPLES).mkdir()
    taken: set[str] = set()
    for index, label in enumerate(labels):
        for row in np.flatnonzero(y == index)[: max(1, count // len(labels))]:
            small = load_image(paths[row], EXAMPLE_SIDE).thumbnail(EXAMPLE_SIDE)  # leaves out EXIF: where and when
            stem = make_safe_filename(f"{label}-{paths[row].stem}")
            if stem.lower() in taken:  # in two folders, or where a system does not tell upper case from lower
                stem = f"{stem}-{row}"
            taken.add(stem.lower())
            small.save(folder / EXAMPLES / f"{stem}.jpg", quality=90)

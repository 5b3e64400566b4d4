"""What the recipes for pictures share: pictures held in memory, augmented where they are, and a network's outputs."""

import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from fastai.callback.core import Callback
from fastai.torch_core import TensorImage, default_device
from fastprogress.fastprogress import progress_bar
from fasttransform import Pipeline
from numpy.typing import NDArray
from torch import nn
from transformers import PreTrainedModel

from shared.archives import make_safe_filename
from shared.config import MODEL
from shared.errors import BadInput
from shared.images import Source, load_image
from shared.session import Session
from training import export
from training.data import DataError
from training.folder import EXAMPLES
from training.learner import RowLoader, mixed_precision

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif")
EXAMPLE_SIDE = 640  # pixels
INPUT = "pixel_values"  # the name by which transformers.js gives a model its picture
Pretrained = TypeVar("Pretrained", bound=PreTrainedModel)


def decode(sources: Sequence[Source], size: tuple[int, int], threads: int = 4) -> torch.Tensor:
    """Every picture at `size` (width, height), by the very function that serves: (n, 3, height, width) uint8.

    Raises:
        DataError: a file cannot be used as a picture.
    """
    pictures = np.empty((len(sources), size[1], size[0], 3), dtype=np.uint8)

    def read(index: int) -> None:
        try:
            pictures[index] = np.asarray(load_image(sources[index], min(size)).resize(size))
        except BadInput as error:
            raise DataError(f"{str(sources[index])[:200]}: {error}") from error

    with ThreadPoolExecutor(threads) as pool:
        for _ in progress_bar(pool.map(read, range(len(sources))), total=len(sources)):
            pass
    return torch.from_numpy(pictures).permute(0, 3, 1, 2)


def pretrained(architecture: type[Pretrained], name: str, **config: Any) -> Pretrained:
    """A network of transformers, from a local folder or by its name on the Hub.

    Raises:
        DataError: it cannot be had, or is of another architecture.
    """
    try:
        return architecture.from_pretrained(name, **config)
    except Exception as error:  # whatever the Hub, the network or the file system has to say
        raise DataError(
            f"{name} could not be loaded as {architecture.__name__} ({error}); "
            "name a local folder or another model with --init."
        ) from error


class PictureLoader(RowLoader):
    """Batches of pictures in memory, uint8 (n, 3, height, width), and of what belongs to them.

    On a GPU all of it stays there, so that neither decoding nor copying is what training waits for.
    `transforms` are fastai's batch transforms; they get pictures as floats from 0 to 1 and, beside them,
    whatever else of the batch is of a fastai type, such as TensorMask. Then mean and std are applied.
    """

    def __init__(
        self,
        *tensors: torch.Tensor,
        bs: int,
        mean: Sequence[float],
        std: Sequence[float],
        transforms: Sequence[Any] = (),
        **kwargs: Any,
    ) -> None:
        device = default_device()
        super().__init__(*(tensor.to(device) for tensor in tensors), bs=bs, device=device, **kwargs)
        self.mean, self.std = mean, std
        self.transforms = Pipeline(transforms, split_idx=0)

    def create_batch(self, indices: list[int]) -> tuple[torch.Tensor, ...]:
        """The rows with these indices, augmented."""
        pictures, *rest = super().create_batch(indices)
        floats, *rest = self.transforms((TensorImage(pictures.float().div_(255)), *rest))
        return (normalised(floats.as_subclass(torch.Tensor), self.mean, self.std), *rest)


class FrozenBatchNorm(Callback):
    """Keep the statistics of BatchNorm as pretraining left them: a small data set's are worse.

    fastai's train_bn=False does not hold once a layer is unfrozen.
    """

    order = 5  # after TrainEvalCallback has put everything in training mode

    def before_train(self) -> None:
        """Put every BatchNorm in evaluation mode; its weights are trained all the same."""
        for module in self.model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()


def normalised(pictures: torch.Tensor, mean: Sequence[float], std: Sequence[float]) -> torch.Tensor:
    """Pictures from 0 to 1 less mean, divided by std, by channel, in the memory format convolutions like best."""
    centre, spread = (torch.tensor(values, device=pictures.device).view(1, 3, 1, 1) for values in (mean, std))
    return ((pictures - centre) / spread).contiguous(memory_format=torch.channels_last)


def pixel_batches(
    pictures: torch.Tensor, mean: Sequence[float], std: Sequence[float], size: int = 16
) -> Iterator[dict[str, NDArray[np.float32]]]:
    """uint8 pictures as an exported model takes them, a few at a time."""
    for part in pictures.split(size):
        yield {INPUT: normalised(part.float().div(255), mean, std).numpy()}


def session_outputs(
    session: Session, names: Sequence[str], pictures: torch.Tensor, mean: Sequence[float], std: Sequence[float]
) -> list[NDArray[np.float32]]:
    """The named outputs of an exported model for uint8 pictures."""
    batches = [session.run(names, {session.inputs[0]: batch[INPUT]}) for batch in pixel_batches(pictures, mean, std)]
    return [np.concatenate(arrays) for arrays in zip(*batches, strict=True)]


def outputs(
    module: nn.Module, *parts: torch.Tensor, mean: Sequence[float], std: Sequence[float]
) -> list[list[torch.Tensor]]:
    """What a module in evaluation mode makes of uint8 pictures: for each part a list of float32 tensors on the CPU.

    A module that is on the CPU is exported and computed by ONNX Runtime. On a GPU it is computed by torch in mixed
    precision.

    Args:
        module: that returns a tuple, and can be traced.
        parts: of pictures, each (n, 3, height, width), all of one size.
        mean: of the levels from 0 to 1, by channel.
        std: likewise.
    """
    module.eval()
    if next(module.parameters()).device.type == "cpu":
        return exported_outputs(module, parts, mean, std)
    return [torch_outputs(module, pictures, mean, std) for pictures in parts]


@torch.inference_mode()
def torch_outputs(
    module: nn.Module, pictures: torch.Tensor, mean: Sequence[float], std: Sequence[float]
) -> list[torch.Tensor]:
    """What a module makes of uint8 pictures, where it is; on a CPU in float32."""
    device = next(module.parameters()).device
    with torch.autocast(device.type, torch.bfloat16, enabled=device.type != "cpu" and bool(mixed_precision())):
        batches = [module(normalised(batch.to(device).float().div(255), mean, std)) for batch in pictures.split(64)]
    return [torch.cat(tensors).float().cpu() for tensors in zip(*batches, strict=True)]


def exported_outputs(
    module: nn.Module, parts: Sequence[torch.Tensor], mean: Sequence[float], std: Sequence[float]
) -> list[list[torch.Tensor]]:
    """What a module makes of uint8 pictures, exported to ONNX once for all parts."""
    example = torch.zeros(2, *parts[0].shape[1:])
    with torch.no_grad(), tempfile.TemporaryDirectory() as folder:
        names = [f"output{index}" for index in range(len(module(example)))]
        export.write_onnx(module, Path(folder) / MODEL, {INPUT: example}, names)
        session = Session(Path(folder) / MODEL, threads=torch.get_num_threads())
        found = []
        for pictures in parts:
            found.append([torch.from_numpy(array) for array in session_outputs(session, names, pictures, mean, std)])
            if any(len(tensor) != len(pictures) for tensor in found[-1]):
                raise RuntimeError(f"Traced, {type(module).__name__} has another number of rows than its input.")
    return found


def picture_files(folder: Path) -> list[Path]:
    """Return the picture files in a folder and in those within it, hidden ones left out."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )


def write_examples(
    folder: Path, paths: Sequence[Path], y: NDArray[np.int64], labels: Sequence[str], count: int
) -> None:
    """Save a few pictures, resized, to be published with the model and shown by a Space that pulls it.

    Args:
        folder: the checkpoint folder.
        paths: of the pictures to choose from.
        y: their labels, (n,).
        labels: names of the labels.
        count: how many, about; at least one of each label.
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

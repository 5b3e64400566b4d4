"""Draw the masks of a segmentation over a picture, or pack them into a zip."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import pandas as pd
from gradio.components.annotated_image import AnnotatedImageData, Annotation
from gradio.data_classes import FileData
from numpy.typing import NDArray
from PIL import Image

from ..archives import write_zip
from ..image_segmenter import ImageSegmenter, ImageSegmenterPrediction
from ..images import Source, load_image
from .batch import answer_files
from .components import make_subclass
from .files import ensure_upload_folder, keep_picture
from .storage import keep_file

LONGEST = 1280  # long side in pixels of the pictures on a page; there is one per class
OUTLINE = 2  # width in pixels of the line inside of each region, for that long side
INSIDE = 170  # opacity of a region within its line, of 255


def _already_files(_: gr.AnnotatedImage, value: tuple[str, Sequence[tuple[str, str]]] | None) -> Any:
    if value is None:
        return None
    picture, regions = value
    annotations = [Annotation(image=FileData(path=path), label=label) for path, label in regions]
    return AnnotatedImageData(image=FileData(path=picture), annotations=annotations)


# gr.AnnotatedImage for a picture and masks that are already files, so arrays need not be encoded.
Regions = make_subclass("Regions", gr.AnnotatedImage, postprocess=_already_files)


def draw_picture(image: Source) -> str:
    """Save a copy of a picture that is small enough for the page, and return its path."""
    return keep_picture(load_image(image, LONGEST).thumbnail(LONGEST), "picture.jpg", quality=88)


def draw_regions(model: ImageSegmenter, answer: ImageSegmenterPrediction) -> list[tuple[str, str]]:
    """Save a PNG for each class in a picture, transparent elsewhere; return a list of (path, name).

    The edge of a region is a line of the same colour, which covers more of the picture than the inside.
    """
    small = answer.reduce(LONGEST).mask
    kinds = 1 + find_outlines(small)
    regions = []
    for label in answer.present:
        index = model.classes.index(label)
        region = Image.fromarray((small == index) * kinds)
        region.putpalette([0, 0, 0, *model.config.colours[index] * 2])
        path = keep_picture(region, "region.png", transparency=bytes([0, INSIDE, 255]), compress_level=3)
        regions.append((path, model.config.get_label_name(label)))
    return regions


def find_outlines(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return 1 for each pixel that is near one of another class, above, below or beside it, and 0 elsewhere."""
    edges = np.zeros_like(mask)
    width = max(1, round(OUTLINE * max(mask.shape) / LONGEST))
    for distance in range(1, width + 1):
        for seen, drawn in ((mask, edges), (mask.T, edges.T)):
            differs = seen[distance:] != seen[:-distance]
            drawn[distance:] |= differs
            drawn[:-distance] |= differs
    return edges


def keep_mask(model: ImageSegmenter, answer: ImageSegmenterPrediction) -> str:
    """Save the mask of a prediction as a palette PNG of class indices, and return its path."""
    return keep_picture(model.colour_mask(answer.mask), "mask.png", compress_level=3)


def answer_with_masks(
    files: Sequence[str] | None, model: ImageSegmenter, progress: gr.Progress
) -> tuple[dict[str, int], pd.DataFrame, str, str | None]:
    """Predict uploaded pictures like answer_files, and pack the masks into a zip; return its path as well."""
    masks: list[Path] = []
    with tempfile.TemporaryDirectory(dir=ensure_upload_folder()) as folder:

        def save_mask(answer: ImageSegmenterPrediction) -> None:
            masks.append(Path(folder) / f"{len(masks)}.png")
            model.colour_mask(answer.mask).save(masks[-1], compress_level=3)

        summary, table, csv = answer_files(files, model, progress, save_mask, at_once=1)
        names = table.loc[table["error"] == "", "file"]
        packed = write_zip(Path(folder) / "masks.zip", zip(names, masks, strict=True))
        return summary, table, csv, keep_file(packed) if masks else None

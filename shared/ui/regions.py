"""Draw the masks of a segmentation over a picture, or pack them into a zip."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr
import pandas as pd
from gradio.components.annotated_image import AnnotatedImageData, Annotation
from gradio.data_classes import FileData
from PIL import Image

from ..archives import write_zip
from ..image_segmenter import ImageSegmenter, ImageSegmenterPrediction
from ..images import Source, load_image
from .batch import answer_files
from .components import make_subclass
from .files import ensure_upload_folder, keep_picture
from .storage import keep_file

LONGEST = 1280  # long side in pixels of the pictures on a page; there is one per class


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
    """Save a PNG for each class in a picture, transparent elsewhere; return a list of (path, name)."""
    small = answer.reduce(LONGEST).mask
    regions = []
    for label in answer.present:
        index = model.classes.index(label)
        region = Image.fromarray((small == index).astype("uint8"))
        region.putpalette([0, 0, 0, *model.config.colours[index]])
        path = keep_picture(region, "region.png", transparency=0, compress_level=3)
        regions.append((path, model.config.get_label_name(label)))
    return regions


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

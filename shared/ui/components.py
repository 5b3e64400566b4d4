"""Components that hand over files as they are: what a file is, its content says, and shared/images.py checks it."""

from abc import ABCMeta
from collections.abc import Sequence
from typing import Any

import gradio as gr
from gradio.components.annotated_image import AnnotatedImageData, Annotation
from gradio.data_classes import FileData

from .fair_queue import is_uploaded
from .requests import SEND_FILE, SEND_PICTURE, sentence


def subclass(name: str, base: type, **methods: Any) -> Any:
    """Return a subclass of a component, which Gradio treats as its base.

    A class statement would make Gradio write a .pyi file into this folder.
    """
    return ABCMeta.__new__(type(base), name, (base,), {**methods, "is_template": True, "__module__": __name__})


def _uploaded_path(_: gr.Image, payload: Any) -> Any:
    if payload is None:
        return None
    if not is_uploaded(payload.path):
        raise sentence(SEND_PICTURE)
    return payload.path


# gr.Image with type="filepath" opens the file nevertheless, and a visitor whose file is no picture is told nothing.
Photo = subclass("Photo", gr.Image, preprocess=_uploaded_path)


def _uploaded_paths(self: gr.File, payload: Any) -> Any:
    if payload is None:
        return None
    paths = [file.path for file in (payload if self.file_count == "multiple" else [payload])]
    if not all(is_uploaded(path) for path in paths):
        raise sentence(SEND_FILE)
    return paths if self.file_count == "multiple" else paths[0]


# gr.File refuses what is not called as file_types= has it, such as a Blob, which has no name. file_types= is for the
# window in which a visitor chooses.
Upload = subclass("Upload", gr.File, preprocess=_uploaded_paths)


def _already_files(_: gr.AnnotatedImage, value: tuple[str, Sequence[tuple[str, str]]] | None) -> Any:
    if value is None:
        return None
    picture, regions = value
    annotations = [Annotation(image=FileData(path=path), label=label) for path, label in regions]
    return AnnotatedImageData(image=FileData(path=picture), annotations=annotations)


# gr.AnnotatedImage for a picture and masks that are files already, and need not be encoded from arrays.
Regions = subclass("Regions", gr.AnnotatedImage, postprocess=_already_files)


def picture_input(examples: Sequence[tuple[str, str]]) -> gr.Image:
    """Add where a visitor gives a picture: a file, the webcam or the clipboard; and examples, as (name, path)."""
    image: gr.Image = Photo(
        type="filepath",
        image_mode=None,
        sources=["upload", "webcam", "clipboard"],
        label="Your picture",
        height=320,
    )
    names, paths = zip(*examples, strict=True)
    gr.Examples([[path] for path in paths], image, example_labels=list(names), label="Or try", cache_examples=False)
    return image


def require_image(image: str | None) -> str:
    """Return the picture; raise an error without one, which a page that has just been cleared does not show."""
    if image is None:
        raise gr.Error("Choose a picture first.", visible=False, print_exception=False)
    return image

"""Components that pass uploaded files on unchanged; shared/images detects the format from the content."""

from abc import ABCMeta
from collections.abc import Sequence
from typing import Any

import gradio as gr

from .fair_queue import is_uploaded
from .requests import SEND_FILE, SEND_PICTURE, make_error

Examples = Sequence[tuple[str, str]]  # (name, path)


def make_subclass(name: str, base: type, **methods: Any) -> Any:
    """Return a subclass of a component that Gradio treats like its base class.

    With a class statement, Gradio would write a .pyi file into this folder.
    """
    return ABCMeta.__new__(type(base), name, (base,), {**methods, "is_template": True, "__module__": __name__})


def _get_uploaded_path(_: gr.Image, payload: Any) -> Any:
    if payload is None:
        return None
    if not is_uploaded(payload.path):
        raise make_error(SEND_PICTURE)
    return payload.path


# gr.Image opens the file even with type="filepath", and shows no error if it is not a picture.
Photo = make_subclass("Photo", gr.Image, preprocess=_get_uploaded_path)


def _get_uploaded_paths(self: gr.File, payload: Any) -> Any:
    if payload is None:
        return None
    paths = [file.path for file in (payload if self.file_count == "multiple" else [payload])]
    if not all(is_uploaded(path) for path in paths):
        raise make_error(SEND_FILE)
    return paths if self.file_count == "multiple" else paths[0]


# gr.File refuses files whose names do not match file_types=, such as a Blob, which has no name. Here file_types= only
# filters the browser's file dialog.
Upload = make_subclass("Upload", gr.File, preprocess=_get_uploaded_paths)


def add_picture_input(examples: Examples) -> gr.Image:
    """Add an input for a picture (file, webcam or clipboard), with examples to try."""
    image: gr.Image = Photo(
        type="filepath",
        image_mode=None,
        sources=["upload", "webcam", "clipboard"],
        label="Your picture",
        height=320,
        elem_classes="photo",
    )
    if examples:
        names, paths = zip(*examples, strict=True)
        gr.Examples([[path] for path in paths], image, example_labels=list(names), label="Or try", cache_examples=False)
    return image


def require_image(image: str | None) -> str:
    """Return the picture; raise gr.Error if there is none (not shown, since a page may just have been cleared)."""
    if image is None:
        raise gr.Error("Choose a picture first.", visible=False, print_exception=False)
    return image

"""Components that hand over files as they are: what a file is, its content says, and shared/images checks it."""

from abc import ABCMeta
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from .fair_queue import is_uploaded
from .requests import SEND_FILE, SEND_PICTURE, make_error

Examples = Sequence[tuple[str, str]]  # names and paths


def make_subclass(name: str, base: type, **methods: Any) -> Any:
    """Return a subclass of a component, which Gradio treats as its base.

    A class statement would make Gradio write a .pyi file into this folder.
    """
    return ABCMeta.__new__(type(base), name, (base,), {**methods, "is_template": True, "__module__": __name__})


def _get_uploaded_path(_: gr.Image, payload: Any) -> Any:
    if payload is None:
        return None
    if not is_uploaded(payload.path):
        raise make_error(SEND_PICTURE)
    return payload.path


# gr.Image with type="filepath" opens the file nevertheless, and a visitor whose file is no picture is told nothing.
Photo = make_subclass("Photo", gr.Image, preprocess=_get_uploaded_path)


def _get_uploaded_paths(self: gr.File, payload: Any) -> Any:
    if payload is None:
        return None
    paths = [file.path for file in (payload if self.file_count == "multiple" else [payload])]
    if not all(is_uploaded(path) for path in paths):
        raise make_error(SEND_FILE)
    return paths if self.file_count == "multiple" else paths[0]


# gr.File refuses what is not called as file_types= has it, such as a Blob, which has no name. file_types= is for the
# window in which a visitor chooses.
Upload = make_subclass("Upload", gr.File, preprocess=_get_uploaded_paths)


def add_picture_input(published: Path, otherwise: Examples, more: Examples = ()) -> gr.Image:
    """Add where a visitor gives a picture: a file, the webcam or the clipboard; and examples to try.

    Args:
        published: the folder of examples that were published with the model; they are called as their files are.
        otherwise: examples in place of those, where there are none.
        more: further examples.
    """
    image: gr.Image = Photo(
        type="filepath",
        image_mode=None,
        sources=["upload", "webcam", "clipboard"],
        label="Your picture",
        height=320,
        elem_classes="photo",
    )
    found = [(path.stem.replace("-", ", "), str(path)) for path in sorted(published.glob("*"))]
    names, paths = zip(*(found or otherwise), *more, strict=True)
    gr.Examples([[path] for path in paths], image, example_labels=list(names), label="Or try", cache_examples=False)
    return image


def require_image(image: str | None) -> str:
    """Return the picture; raise an error without one, which a page that has just been cleared does not show."""
    if image is None:
        raise gr.Error("Choose a picture first.", visible=False, print_exception=False)
    return image

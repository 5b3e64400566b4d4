"""Components that pass uploaded files on unchanged; shared/images detects the format from the content."""

import json
from abc import ABCMeta
from collections.abc import Sequence
from typing import Any

import gradio as gr

from .fair_queue import is_uploaded
from .headline import ANNOUNCED
from .requests import SEND_FILE, SEND_PICTURE, make_error

TEXTS = {"picture": "Picture", "unseen": "This browser cannot show the file."}
# Gradio 6.31 has no options for these: it puts a drawn picture into a button without a name, and lets no screen reader
# know of a new answer. What is in a tab comes into the page when the tab is opened.
COMPLETE_PAGE = """
const texts = %s;
const complete = () => {
    document.querySelectorAll('button:not([aria-label]) > .image-frame').forEach((frame) => {
        frame.parentElement.ariaLabel = texts.picture;
    });
    document.querySelectorAll('.%s:not([aria-live])').forEach((answer) => {
        Object.assign(answer, { ariaLive: 'polite', ariaAtomic: 'true' });
    });
};
// The arrows of a number change it while it keeps the focus: answer as if it had been left. Enter is answered anyway.
let key = null;
document.body.addEventListener('keydown', (event) => { key = event.key; }, true);
document.body.addEventListener('pointerdown', () => { key = null; }, true);
document.body.addEventListener('change', ({ target }) => setTimeout(() => {
    const isChanged = target.type === 'number' && target === document.activeElement && key !== 'Enter';
    if (isChanged) target.dispatchEvent(new FocusEvent('blur'));
}));
document.documentElement.style.setProperty('--unseen', JSON.stringify(texts.unseen));
new MutationObserver(complete).observe(document.body, { childList: true, subtree: true });
complete();
"""
Examples = Sequence[tuple[str, str]]  # (name, path)


def complete_page() -> None:
    """Add the script that names drawn pictures, and makes screen readers announce what has the class ANNOUNCED."""
    gr.HTML(js_on_load=COMPLETE_PAGE % (json.dumps(TEXTS), ANNOUNCED), visible="hidden")


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
    """Add an input for a picture (file, camera or clipboard), with a button for each example; it shows the first."""
    take = gr.UploadButton("Take or choose a picture", file_types=["image"], variant="primary")
    image: gr.Image = Photo(
        examples[0][1] if examples else None,
        type="filepath",
        image_mode=None,
        sources=["upload", "webcam", "clipboard"],
        label="Your picture",
        placeholder="Drop a picture here, or click to choose one",
        height=320,
        elem_classes="photo",
    )
    take.upload(None, take, image, js="file => file", api_visibility="private", show_progress="hidden")
    if examples:
        with gr.Row(elem_classes="examples"):
            for name, path in examples:
                add_example(image, name, path)
    return image


def add_picture_output(label: str) -> gr.Image:
    """Add a picture that a page draws."""
    return gr.Image(label=label, interactive=False, buttons=["download", "fullscreen"], height=360)


def add_example(image: gr.Image, name: str, path: str) -> None:
    """Add a button that shows a small picture, and puts it into an input."""
    button = gr.Button(name, icon=path, size="sm", min_width=0)
    kept = button.icon["path"]  # a copy that may be served
    button.keep_in_cache.add(kept)
    # Without a queue, as gr.Examples does it.
    button.click(lambda: kept, None, image, queue=False, api_visibility="private", show_progress="hidden")


def require_image(image: str | None) -> str:
    """Return the picture; raise gr.Error if there is none (not shown, since a page may just have been cleared)."""
    if image is None:
        raise gr.Error("Choose a picture first.", visible=False, print_exception=False)
    return image

"""Code that the apps share and that needs Gradio: theme, limits, inputs, batches and explanations."""

import gc

gc.set_threshold(50_000)  # imported modules stay, so frequent garbage collection is useless

from .components import Photo, Upload, add_picture_input, require_image
from .errors import show_errors
from .page import Page, launch
from .tabs import add_batch_tab, add_card, add_end, add_json, clear, clear_after_error, introduce

__all__ = [
    "Page",
    "Photo",
    "Upload",
    "add_batch_tab",
    "add_card",
    "add_end",
    "add_json",
    "add_picture_input",
    "clear",
    "clear_after_error",
    "introduce",
    "launch",
    "require_image",
    "show_errors",
]

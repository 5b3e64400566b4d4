"""What the apps share that needs Gradio: looks, limits, inputs, batches and explanations."""

import gc

gc.set_threshold(50_000)  # what is imported now stays, and need not be searched for garbage

from .components import Photo, Upload, add_picture_input, require_image
from .errors import show_errors
from .page import Page, launch
from .tabs import add_batch_tab, add_card, add_json_tab, clear, clear_after_error, introduce

__all__ = [
    "Page",
    "Photo",
    "Upload",
    "add_batch_tab",
    "add_card",
    "add_json_tab",
    "add_picture_input",
    "clear",
    "clear_after_error",
    "introduce",
    "launch",
    "require_image",
    "show_errors",
]

"""What the apps share that needs Gradio: looks, limits, inputs, batches and explanations."""

import gc

gc.set_threshold(50_000)  # what is imported now stays, and need not be searched for garbage

from .components import Photo, Regions, Upload, picture_input, require_image
from .errors import show_errors
from .page import Page, launch
from .tabs import about, batch_tab, clear, clear_after_error, json_tab

__all__ = [
    "Page",
    "Photo",
    "Regions",
    "Upload",
    "about",
    "batch_tab",
    "clear",
    "clear_after_error",
    "json_tab",
    "launch",
    "picture_input",
    "require_image",
    "show_errors",
]

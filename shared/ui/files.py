"""Files that a page offers, kept where delete_cache= will find them."""

import io
import os
from pathlib import Path
from typing import Any

from gradio.processing_utils import save_file_to_cache
from gradio.utils import get_upload_folder
from PIL import Image

from .retention import keep_bytes


def keep_picture(image: Image.Image, name: str, **options: Any) -> str:
    """Save a picture under a name whose ending is its format, where delete_cache= will find it; returns its path.

    Gradio shows and offers a file as it is, while a PIL image it would encode as WebP.
    """
    content = io.BytesIO()
    image.save(content, Image.registered_extensions()[Path(name).suffix], **options)
    return keep_bytes(content.getvalue(), name)


def keep_file(path: Path) -> str:
    """Copy a file to where delete_cache= will find it; return the copy's path."""
    kept: str = save_file_to_cache(path, get_upload_folder())
    os.utime(kept)
    return kept


def ensure_upload_folder() -> str:
    """Return the folder of uploads, which exists: what a killed process leaves in it is deleted in time."""
    folder = Path(get_upload_folder())
    folder.mkdir(parents=True, exist_ok=True)
    return str(folder)

"""Save files for download in the folder that delete_cache= cleans up."""

import io
from pathlib import Path
from typing import Any

from gradio.utils import get_upload_folder
from PIL import Image

from .storage import keep_bytes


def keep_picture(image: Image.Image, name: str, **options: Any) -> str:
    """Save a picture in the format of the name's extension, and return its path.

    Gradio serves a file unchanged, but would encode a PIL image as WebP.
    """
    content = io.BytesIO()
    image.save(content, Image.registered_extensions()[Path(name).suffix], **options)
    return keep_bytes(content.getvalue(), name)


def ensure_upload_folder() -> str:
    """Return the upload folder, and create it if necessary; files that a killed process leaves are deleted later."""
    folder = Path(get_upload_folder())
    folder.mkdir(parents=True, exist_ok=True)
    return str(folder)

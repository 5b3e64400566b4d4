"""What is asked: pictures, a review, a form and a rating, made up so that no data set is needed."""

import io

import numpy as np
from PIL import ExifTags, Image

LYING = 6  # EXIF orientation of a phone that was held upright


def draw_picture(width: int, height: int) -> Image.Image:
    """Soft blots with the grain of a camera, whose JPEG is about as large as that of a photo."""
    rng = np.random.default_rng(0)
    blots = Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)).resize((width, height))
    grain = rng.normal(0, 6, (height, width, 3)).astype(np.float32)
    return Image.fromarray((np.asarray(blots) + grain).clip(0, 255).astype(np.uint8))


def encode_jpeg(image: Image.Image, orientation: int | None = None) -> bytes:
    """A picture's JPEG file, with EXIF where an orientation is given."""
    exif, content = Image.Exif(), io.BytesIO()
    if orientation:
        exif[ExifTags.Base.Make], exif[ExifTags.Base.Orientation] = "Phone", orientation
    image.save(content, "JPEG", quality=85, exif=exif)
    return content.getvalue()


def make_phone_photo() -> bytes:
    """12 megapixels from a phone, which turns its pictures by EXIF."""
    return encode_jpeg(draw_picture(4000, 3000), LYING)


def make_small_photo() -> bytes:
    """As pictures on the web are: 500 pixels wide."""
    return encode_jpeg(draw_picture(500, 375))


def make_street_frame() -> bytes:
    """A frame of the size that CamVid's have."""
    return encode_jpeg(draw_picture(960, 720))


def make_review(words: int = 200) -> str:
    """A review of so many words."""
    sentence = "A slow start and a clumsy plot, but the acting is wonderful and I would see the ending again."
    return " ".join((sentence.split() * words)[:words])

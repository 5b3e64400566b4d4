"""Made-up inputs, so that no data set is needed: pictures and a review."""

import io

import numpy as np
from PIL import ExifTags, Image

LYING = 6  # EXIF orientation of a phone that was held upright


def draw_picture(width: int, height: int) -> Image.Image:
    """Draw soft blots with camera noise, whose JPEG is about as large as that of a photo."""
    rng = np.random.default_rng(0)
    blots = Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)).resize((width, height))
    grain = rng.normal(0, 6, (height, width, 3)).astype(np.float32)
    return Image.fromarray((np.asarray(blots) + grain).clip(0, 255).astype(np.uint8))


def encode_jpeg(image: Image.Image, orientation: int | None = None) -> bytes:
    """Return a picture as JPEG, with EXIF if an orientation is given."""
    exif, content = Image.Exif(), io.BytesIO()
    if orientation:
        exif[ExifTags.Base.Make], exif[ExifTags.Base.Orientation] = "Phone", orientation
    image.save(content, "JPEG", quality=85, exif=exif)
    return content.getvalue()


def make_phone_photo() -> bytes:
    """Return a 12-megapixel JPEG that is rotated by EXIF, like one from a phone."""
    return encode_jpeg(draw_picture(4000, 3000), LYING)


def make_small_photo() -> bytes:
    """Return a JPEG 500 pixels wide, like one on the web."""
    return encode_jpeg(draw_picture(500, 375))


def make_street_frame() -> bytes:
    """Return a JPEG of the size of CamVid's frames."""
    return encode_jpeg(draw_picture(960, 720))


def make_review(words: int = 200) -> str:
    """Return a review of this many words."""
    sentence = "A slow start and a clumsy plot, but the acting is wonderful and I would see the ending again."
    return " ".join((sentence.split() * words)[:words])

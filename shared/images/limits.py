"""What a picture may cost. Size and shape are checked from the header, before anything is decoded."""

from ..errors import BadInput

MAX_BYTES = 25_000_000
MAX_PIXELS = 24_000_000  # of a picture that is decoded whole: bounds the memory it takes
MAX_PIXELS_OF = {"WebP": 13_000_000, "AVIF": 20_000_000}  # whose decoders hold several copies
MAX_REDUCED_PIXELS = 120_000_000  # of a JPEG that is decoded at a reduced size
# Of all pictures of one request, as estimate_decoding_cost counts them. It bounds the work of one request
# (tests/spaces/test_batches.py), and leaves room for 200 JPEGs of 12 megapixels that are reduced.
MAX_REQUEST_COST = 300_000_000
MAX_ASPECT = 50  # long side to short side
MAX_SCANS = 30  # of a JPEG: each is a pass over all pixels, however few bytes it has; libjpeg itself writes 10
MAX_MARKERS = 2_000  # parts of a JPEG
MAX_HEADER_READS = 10_000  # a header of a million tiny parts would keep Pillow busy for long
MAX_DECODING_READS = 1_000_000
MAX_DIRECTORIES = 8  # of EXIF tags in an AVIF, which has one; a few more may seem to be there by chance
MAX_TAGS = 65_535  # in one TIFF directory; a BigTIFF may claim more than that
MAX_TAG_VALUES = 200_000  # numbers in one TIFF tag: Pillow makes a Python object of each
MAX_EXIF_BYTES = 200_000  # of tags in an AVIF: Pillow takes a microsecond or two for each byte


def check_size(size: tuple[int, int], max_pixels: int, kind: str = "picture") -> None:
    """Raise BadInput if a picture of `size` (width, height) has no pixels, too many, or too long a side."""
    width, height = size
    if min(size) < 1:
        raise BadInput("The picture has no pixels.")
    if max(size) > MAX_ASPECT * min(size):
        raise BadInput(
            f"The picture is {width:,} × {height:,} pixels; "
            f"the long side may be at most {MAX_ASPECT} times as long as the short side."
        )
    if width * height > max_pixels:
        raise BadInput(f"The picture is {width:,} × {height:,} pixels; {describe_limit(max_pixels, kind)}.")


def describe_limit(max_pixels: int, kind: str) -> str:
    """Return the clause of an error that says how many pixels a format may have."""
    return f"{'an' if kind == 'AVIF' else 'a'} {kind} may have at most {max_pixels // 1_000_000} megapixels"

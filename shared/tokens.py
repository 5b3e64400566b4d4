"""Convert a text to the tokens that a model reads, in training and in serving."""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .errors import BadInput, CheckpointError
from .limits import LIMITS
from .text import strip_invisible

if TYPE_CHECKING:
    from tokenizers import Tokenizer

CHARACTERS_PER_TOKEN = 32  # characters to tokenize at each end, for each token that may be read

BREAKS = re.compile(r"<br\s*/?>", re.IGNORECASE)  # the only HTML in the IMDB reviews
CONTROLS = re.compile(r"[\x00-\x08\x0e-\x1b\x7f]")
# From \x80 on, mostly wrongly decoded dashes.
BLANKS = re.compile(r"[\x0b\x0c\x1c-\x1f\x80-\x9f\u2028\u2029\u202f\u2800\ufffd]")
LETTERS = re.compile("[\ufb00-\ufb06\uff10-\uff19\uff21-\uff3a\uff41-\uff5a\U0001d400-\U0001d7ff]+")

Span = tuple[int, int]  # start and end of some characters in a text


@dataclass(frozen=True)
class Tokens:
    """The tokens of a text that are read: their ids without special tokens, and their start positions.

    `read` has the spans of the text that they cover: the whole text, or a piece at each end.
    """

    ids: NDArray[np.int64]
    starts: NDArray[np.int64]
    read: tuple[Span, ...]


def load_tokenizer(path: Path) -> "Tokenizer":
    """Load a tokenizer.json, without truncation and padding.

    Raises:
        CheckpointError: the file cannot be read.
    """
    from tokenizers import Tokenizer  # noqa: PLC0415 - needed only for text

    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # tokenizers raises no other class
        raise CheckpointError(f"{path} cannot be read ({error}); export the model again.") from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.encode_special_tokens = True  # [SEP] in a review is three ordinary tokens
    return tokenizer


def clean_text(text: object) -> str:
    """Return a text in the form that the model reads.

    - HTML line breaks become line breaks.
    - Invisible characters are deleted, so that they do not split words: soft hyphens, zero-width spaces, byte order
      marks, direction marks, control characters. Joiners are kept in emoji and in scripts that need them.
    - Line separators and Latin-1 control characters (mostly wrongly decoded dashes) become spaces.
    - Ligatures ("fi" as one character), full-width letters and digits, and mathematical letters become ordinary ones.
    - Letters of other alphabets that look like Latin letters are kept: they make a different word.

    Raises:
        BadInput: the input is not text, is empty, or has more than 5 million characters.
    """
    if not isinstance(text, str):
        raise BadInput(f"The input must be text, not {type(text).__name__}.")
    if len(text) > LIMITS.text_characters:
        raise BadInput(f"The text has {len(text):,} characters; at most {LIMITS.text_characters:,} are read.")
    whole = text.encode("utf-8", "replace").decode()  # replace lone surrogates
    plain = strip_invisible(BLANKS.sub(" ", CONTROLS.sub("", BREAKS.sub("\n", whole))))
    plain = LETTERS.sub(lambda found: unicodedata.normalize("NFKC", found[0]), plain).strip()
    if not plain:
        raise BadInput("There is no text; write a few words.")
    return plain


def read_tokens(tokenizer: "Tokenizer", texts: Sequence[str], most: int, head: int) -> list[Tokens]:
    """Return the tokens of each text that the model reads: all, or `head` from its beginning and the rest from its end.

    Of a long text, only the first and last 32 * `most` characters are tokenized; prose has about four characters per
    token.

    Args:
        tokenizer: the result of load_tokenizer.
        texts: results of clean_text.
        most: maximum number of tokens read per text.
        head: number of tokens read from the beginning of a longer text.
    """
    enough = CHARACTERS_PER_TOKEN * most
    ends = [
        [(0, len(text))] if len(text) <= 2 * enough else [(0, enough), (len(text) - enough, len(text))]
        for text in texts
    ]
    cut = [text[start:end] for text, spans in zip(texts, ends, strict=True) for start, end in spans]
    encodings = iter(tokenizer.encode_batch(cut, add_special_tokens=False))
    return [_cut_tokens(ends_, [next(encodings) for _ in ends_], most, head) for ends_ in ends]


def _cut_tokens(ends: list[Span], encodings: Sequence[Any], most: int, head: int) -> Tokens:
    """Return the tokens that are read of a text, given the encodings of the whole text or of its two ends."""
    parts = []
    for (start, _), encoding in zip(ends, encodings, strict=True):
        places = np.array(encoding.offsets, np.int64).reshape(-1, 2) + start
        parts.append((np.array(encoding.ids, np.int64), places))
    (ids, places), *rest = parts
    if rest:  # a long text: its two ends are encoded separately
        (tail_ids, tail_places) = rest[0]
        first, last = min(head, len(ids)), min(most - head, len(tail_ids))
    elif len(ids) > most:
        (tail_ids, tail_places), first, last = parts[0], head, most - head
    else:
        return Tokens(ids, places[:, 0], tuple(ends))
    read = (
        (0, int(places[first - 1, 1]) if first else 0),
        (int(tail_places[-last, 0]) if last else ends[-1][1], ends[-1][1]),
    )
    kept = [np.r_[a[:first], b[len(b) - last :]] for a, b in ((ids, tail_ids), (places[:, 0], tail_places[:, 0]))]
    return Tokens(kept[0], kept[1], tuple(span for span in read if span[0] < span[1]) or ((0, 0),))

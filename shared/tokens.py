"""From a text to the tokens that a model reads: the one way, in training and in service."""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .errors import BadInput
from .text import strip_invisible

if TYPE_CHECKING:
    from tokenizers import Tokenizer

MAX_CHARACTERS = 5_000_000
CHARACTERS_A_TOKEN = 32  # so many characters at either end are cut into tokens for each token that may be read

BREAKS = re.compile(r"<br\s*/?>", re.IGNORECASE)  # all there is of HTML in IMDB's reviews
CONTROLS = re.compile(r"[\x00-\x08\x0e-\x1b\x7f]")
# From \x80 on mostly dashes, misread.
BLANKS = re.compile(r"[\x0b\x0c\x1c-\x1f\x80-\x9f\u2028\u2029\u202f\u2800\ufffd]")
LETTERS = re.compile("[\ufb00-\ufb06\uff10-\uff19\uff21-\uff3a\uff41-\uff5a\U0001d400-\U0001d7ff]+")

Span = tuple[int, int]  # characters of a text, from and up to


@dataclass(frozen=True)
class Tokens:
    """The tokens of a text that are read: their indices, without those that mark the ends, and where each begins.

    `read` are the characters they stand for: the whole text, or a piece at each end.
    """

    ids: NDArray[np.int64]
    starts: NDArray[np.int64]
    read: tuple[Span, ...]


def load_tokenizer(path: Path) -> "Tokenizer":
    """Return the tokenizer of a tokenizer.json, set neither to cut nor to pad."""
    from tokenizers import Tokenizer  # noqa: PLC0415 - only who reads text needs it

    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def clean_text(text: object) -> str:
    """Return a text as the model reads it.

    - Line breaks of HTML become line breaks.
    - Invisible characters are deleted, so that they cut no word in two: soft hyphens, zero-width spaces, byte
      order marks, marks of direction, control characters. Joiners stay in emoji and in scripts that need them.
    - Separators of lines and the controls of Latin-1 become spaces: most of these are misread dashes.
    - Ligatures ("fi" as one character), letters and digits of full width and those of formulas become ordinary ones.
    - Letters of other alphabets that look like Latin ones stay: a word with one of them is read as another word.

    Raises:
        BadInput: it is no text, an empty one, or one of more than 5 million characters.
    """
    if not isinstance(text, str):
        raise BadInput(f"A text is needed, not {type(text).__name__}.")
    if len(text) > MAX_CHARACTERS:
        raise BadInput(f"The text has {len(text):,} characters; at most {MAX_CHARACTERS:,} are read.")
    whole = text.encode("utf-8", "replace").decode()  # half a surrogate pair is no character
    plain = strip_invisible(BLANKS.sub(" ", CONTROLS.sub("", BREAKS.sub("\n", whole))))
    plain = LETTERS.sub(lambda found: unicodedata.normalize("NFKC", found[0]), plain).strip()
    if not plain:
        raise BadInput("There is no text; write a few words.")
    return plain


def read_tokens(tokenizer: "Tokenizer", texts: Sequence[str], most: int, head: int) -> list[Tokens]:
    """Return the tokens that are read of each text: all, or `head` from its beginning and the rest from its end.

    However long a text is, only its first and last 32 characters for each token that may be read are cut into tokens;
    prose has four to a token.

    Args:
        tokenizer: from load_tokenizer.
        texts: from clean_text.
        most: tokens of a text that are read.
        head: those of them from its beginning, if it has more.
    """
    enough = CHARACTERS_A_TOKEN * most
    ends = [
        [(0, len(text))] if len(text) <= 2 * enough else [(0, enough), (len(text) - enough, len(text))]
        for text in texts
    ]
    cut = [text[start:end] for text, spans in zip(texts, ends, strict=True) for start, end in spans]
    encodings = iter(tokenizer.encode_batch(cut, add_special_tokens=False))
    return [_cut_tokens(ends_, [next(encodings) for _ in ends_], most, head) for ends_ in ends]


def _cut_tokens(ends: list[Span], encodings: Sequence[Any], most: int, head: int) -> Tokens:
    """Return those tokens of a text, or of its two ends, that are read."""
    parts = []
    for (start, _), encoding in zip(ends, encodings, strict=True):
        places = np.array(encoding.offsets, np.int64).reshape(-1, 2) + start
        parts.append((np.array(encoding.ids, np.int64), places))
    (ids, places), *rest = parts
    if rest:  # a long text: as if each end were one of its own
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

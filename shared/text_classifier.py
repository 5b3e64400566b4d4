"""Text classification: which of some labels a text has, and which of its words say so."""

import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import islice, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from .config import MODEL, GalleryConfig
from .errors import BadInput, as_number, quoted
from .predictor import Prediction, Predictor
from .session import THREADS, softmax
from .shapley import shapley_values
from .text import visible

if TYPE_CHECKING:
    from tokenizers import Tokenizer

TOKENIZER = "tokenizer.json"
MAX_CHARACTERS = 5_000_000
CHARACTERS_A_TOKEN = 32  # so many characters at either end are cut into tokens for each token that may be read
SEGMENTS = 16  # parts of a text that an explanation tells apart
ORDERS = 2  # random orders, and as many reversed, in which an explanation takes the parts

BREAKS = re.compile(r"<br\s*/?>", re.IGNORECASE)  # all there is of HTML in IMDB's reviews
CONTROLS = re.compile(r"[\x00-\x08\x0e-\x1b\x7f]")
# From \x80 on mostly dashes, misread.
BLANKS = re.compile(r"[\x0b\x0c\x1c-\x1f\x80-\x9f\u2028\u2029\u202f\u2800\ufffd]")
LETTERS = re.compile("[\ufb00-\ufb06\uff10-\uff19\uff21-\uff3a\uff41-\uff5a\U0001d400-\U0001d7ff]+")
WORD_ENDS = re.compile(r"(?<!\s)\s+")
# A clause ends with a sign and a space, with a line, or before a word that turns the sense.
CLAUSE_ENDS = re.compile(
    r"""(?xi) (?<=[.!?;:,\u2013\u2014)]) ["'\u201d\u2019]? \s+ | (?<!\s) [^\S\n]* \n \s*
    | (?<!\s) \s+ (?= (?: but | although | though | however ) \b )"""
)
MOST_PARTS = 400  # words or clauses of a text that are told apart before they are joined to 16 parts

Span = tuple[int, int]  # characters of a text, from and up to


class TextClassifierConfig(GalleryConfig):
    """gallery.json of a text classifier.

    A text longer than `max_tokens`, the first and last of which mark its ends, is read in two pieces: `head` tokens
    from its beginning and the rest from its end. The logits are calibrated. A text of which n tokens are read is in
    distribution where its score is no more than sqrt(a + b / n) below `in_distribution_mean`;
    `in_distribution_spread` is (a, b), since short texts vary more. An answer is clear where the text is in
    distribution and the likeliest label has a probability of `min_clear_probability` or more.
    """

    labels: Annotated[tuple[str, ...], Field(min_length=2)]
    max_tokens: Annotated[int, Field(ge=8, le=8192)]
    head: Annotated[int, Field(ge=1)]
    min_clear_probability: Annotated[float, Field(ge=0, le=1)]
    examples: tuple[str, ...] = ()  # texts to try the model with
    in_distribution_mean: float
    in_distribution_spread: tuple[Annotated[float, Field(ge=0)], Annotated[float, Field(ge=0)]]

    @model_validator(mode="after")
    def _labels_differ_and_head_fits(self) -> Self:
        if len(set(self.labels)) < len(self.labels):
            raise ValueError("labels must differ")
        if self.head >= self.max_tokens - 2:
            raise ValueError("head must be less than max_tokens - 2")
        return self


@dataclass(frozen=True)
class TextClassifierPrediction(Prediction):
    """What a text says.

    `label` is the likeliest label; `probabilities` are calibrated and sum to 1. `in_distribution` says whether the
    words are like those of the training texts; `in_distribution_score` is their mean log frequency there (natural
    logarithm, so below 0). `is_clear` is False where they are not, or where no label is likely enough, as for a mixed
    review. Of `words` words the model read `words_read`.
    """

    label: str
    probabilities: dict[str, float]
    is_clear: bool
    in_distribution: bool
    in_distribution_score: float
    words: int
    words_read: int

    def as_dict(self) -> dict[str, Any]:
        """Return the answer as JSON has it."""
        return asdict(self)

    def as_row(self) -> dict[str, object]:
        """Return the answer as cells of a CSV."""
        return {
            "prediction": self.label,
            "clear": "yes" if self.is_clear else "no",
            **{f"probability {label}": round(p, 4) for label, p in self.probabilities.items()},
        }


@dataclass(frozen=True)
class TextClassifierExplanation:
    """Why: base + the sum of the contributions == probability, all as probabilities of `label`.

    `parts` are the text in order, each with its Shapley value; None for what was not read or not looked into. `base`
    is the probability without the parts that have one.
    """

    label: str
    probability: float
    base: float
    parts: tuple[tuple[str, float | None], ...]

    def as_dict(self) -> dict[str, Any]:
        """Return the explanation as JSON has it."""
        parts = [{"text": text, "contribution": value} for text, value in self.parts]
        return {"label": self.label, "probability": self.probability, "base": self.base, "parts": parts}


@dataclass(frozen=True)
class Tokens:
    """The tokens of a text that are read: their indices, without those that mark the ends, and where each begins.

    `read` are the characters they stand for: the whole text, or a piece at each end.
    """

    ids: NDArray[np.int64]
    starts: NDArray[np.int64]
    read: tuple[Span, ...]


class TextClassifier(Predictor[TextClassifierConfig, str, TextClassifierPrediction]):
    """A text classifier that shows its reasons."""

    task = "text-classification"
    config_type = TextClassifierConfig
    required_files = (MODEL, TOKENIZER)
    threads = THREADS  # so that the cores share the work of one long text

    def example(self) -> str:
        """A mixed review."""
        return "A slow start and a clumsy plot, but the acting is wonderful and I would see the ending again."

    @property
    def columns(self) -> tuple[str, ...]:
        """The column that a table of texts must have."""
        return ("text",)

    def from_row(self, row: Mapping[str, str]) -> str:
        """Return the text of a row."""
        return row["text"]

    def predict_each(self, items: Sequence[str]) -> list[TextClassifierPrediction | BadInput]:
        """Classify every text; one without characters, or with more than 5 million, gets its BadInput as the answer."""
        answers: dict[int, TextClassifierPrediction | BadInput] = {}
        texts: dict[int, str] = {}
        for index, item in enumerate(items):
            try:
                texts[index] = cleaned(item)
            except BadInput as error:
                answers[index] = error
        tokens = self.tokens(list(texts.values()))
        probabilities, scores = self._run([piece.ids for piece in tokens])
        for row, (index, text) in enumerate(texts.items()):
            answers[index] = self._answer(text, tokens[row], probabilities[row], float(scores[row]))
        return [answers[index] for index in range(len(items))]

    def explain(self, text: str, label: str | None = None, part: int | None = None) -> TextClassifierExplanation:
        """Shapley values of at most 16 parts of a text: its words, or its clauses if there are more words.

        A part is absent when its tokens are left out. The number of evaluations is fixed, see shared/shapley.py.

        Args:
            text: the text.
            label: whose probability is explained; by default the second of two labels, or the likeliest of more.
            part: look into this part of an explanation without it (counted from 0): its words, all else as it is.

        Raises:
            BadInput: there is no text or too much of it, no such label, or no such part.
        """
        text, labels = cleaned(text), self.config.labels
        if label is not None and not (isinstance(label, str) and label in labels):
            raise BadInput(f"There is no label {quoted(label)}; choose one of {', '.join(labels)}.")
        (tokens,) = self.tokens([text])
        every = pieces(text, tokens.read)
        parts = [span for span, is_read in every if is_read]
        if part is not None:
            indices = [index for index, (_, is_read) in enumerate(every) if is_read]
            if as_number(part) not in indices:
                raise BadInput(
                    f"There is no part {quoted(part)} to look into; they are counted from 0 to {len(every) - 1}."
                )
            part = int(part)
            start, end = every[part][0]
            parts = merged(spans(WORD_ENDS, text, start, end))
            every = [*every[:part], *((span, True) for span in parts), *every[part + 1 :]]
        owner = np.full(len(tokens.ids), -1)
        for player, (start, end) in enumerate(parts):
            owner[(tokens.starts >= start) & (tokens.starts < end)] = player
        whole = self._run([tokens.ids])[0][0]
        likeliest = 1 if len(labels) == 2 else int(whole.argmax())
        index = likeliest if label is None else labels.index(label)

        def value(present: NDArray[np.bool_], _: NDArray[np.intp]) -> NDArray[np.float64]:
            different, back = np.unique(present, axis=0, return_inverse=True)
            kept = [tokens.ids[(owner < 0) | row[owner]] for row in different]
            probabilities: NDArray[np.float64] = self._run(kept)[0][back.reshape(-1), index]
            return probabilities

        base, values = shapley_values(value, len(parts), ORDERS)
        given = dict(zip(parts, values.tolist(), strict=True))
        return TextClassifierExplanation(
            labels[index],
            float(whole[index]),
            base,
            tuple((text[start:end], given.get((start, end))) for (start, end), _ in every),
        )

    @cached_property
    def tokenizer(self) -> "Tokenizer":
        """The tokenizer of the checkpoint."""
        return load_tokenizer(self.folder / TOKENIZER)

    def tokens(self, texts: Sequence[str]) -> list[Tokens]:
        """The tokens that are read of some cleaned texts."""
        return read_tokens(self.tokenizer, texts, self.config.max_tokens - 2, self.config.head)

    def _answer(
        self, text: str, tokens: Tokens, probabilities: NDArray[np.float64], score: float
    ) -> TextClassifierPrediction:
        config = self.config
        read = sum(len(text[start:end].split()) for start, end in tokens.read)
        words = len(text.split())
        a, b = config.in_distribution_spread
        in_distribution = score >= config.in_distribution_mean - math.sqrt(a + b / max(len(tokens.ids), 1))
        best = int(probabilities.argmax())
        return TextClassifierPrediction(
            label=config.labels[best],
            probabilities=dict(zip(config.labels, probabilities.tolist(), strict=True)),
            is_clear=in_distribution and float(probabilities[best]) >= config.min_clear_probability,
            in_distribution=in_distribution,
            in_distribution_score=score,
            words=words,
            words_read=min(read, words),
        )

    def _run(self, ids: Sequence[NDArray[np.int64]]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return probabilities (n, labels) and in-distribution scores (n,) of n lists of tokens.

        One at a time: activations are rounded to int8 by the largest in the batch, and no text's answer may depend
        on its neighbours.
        """
        first, last = (self.tokenizer.token_to_id(name) for name in ("[CLS]", "[SEP]"))
        logits = np.zeros((len(ids), len(self.config.labels)))
        scores = np.zeros(len(ids))
        for row, tokens in enumerate(ids):
            found = self.session.run(self.session.outputs, {"input_ids": np.r_[first, tokens, last][None]})
            logits[row], scores[row] = found[0][0], found[1][0]
        return softmax(logits), scores


def load_tokenizer(path: Path) -> "Tokenizer":
    """A tokenizer.json, told neither to cut nor to pad."""
    from tokenizers import Tokenizer  # noqa: PLC0415 - only who reads text needs it

    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def cleaned(text: object) -> str:
    """A text as the model reads it, in training and in service.

    - Line breaks of HTML become line breaks.
    - Characters that nobody sees are deleted, so that they cut no word in two: soft hyphens, zero-width spaces, byte
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
    plain = visible(BLANKS.sub(" ", CONTROLS.sub("", BREAKS.sub("\n", whole))))
    plain = LETTERS.sub(lambda found: unicodedata.normalize("NFKC", found[0]), plain).strip()
    if not plain:
        raise BadInput("There is no text; write a few words.")
    return plain


def read_tokens(tokenizer: "Tokenizer", texts: Sequence[str], most: int, head: int) -> list[Tokens]:
    """The tokens that are read of some texts, `most` of each: `head` from its beginning, the others from its end.

    The one place where training and serving turn text into numbers. However long a text is, only its first and last
    32 characters for each token that may be read are cut into tokens; prose has four to a token.
    """
    enough = CHARACTERS_A_TOKEN * most
    ends = [
        [(0, len(text))] if len(text) <= 2 * enough else [(0, enough), (len(text) - enough, len(text))]
        for text in texts
    ]
    cut = [text[start:end] for text, spans_ in zip(texts, ends, strict=True) for start, end in spans_]
    encodings = iter(tokenizer.encode_batch(cut, add_special_tokens=False))
    return [_read(ends_, [next(encodings) for _ in ends_], most, head) for ends_ in ends]


def _read(ends: list[Span], encodings: Sequence[Any], most: int, head: int) -> Tokens:
    """Of the tokens of a text, or of its two ends, those that are read."""
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


def pieces(text: str, read: Sequence[Span]) -> list[tuple[Span, bool]]:
    """A text in parts that join to the whole, each with whether it was read: at most 16 that were."""
    parts = [span for start, end in read for span in spans(WORD_ENDS, text, start, end)]
    if len(parts) > SEGMENTS:
        clauses = [span for start, end in read for span in spans(CLAUSE_ENDS, text, start, end)]
        parts = clauses if len(clauses) >= 4 else parts
    parts = merged(parts)
    every: list[tuple[Span, bool]] = []
    for start, end in parts:
        before = every[-1][0][1] if every else 0
        if start > before:
            every.append(((before, start), False))
        every.append(((start, end), True))
    return [*every, ((parts[-1][1], len(text)), False)] if parts[-1][1] < len(text) else every


def spans(ends: re.Pattern[str], text: str, start: int, end: int) -> list[Span]:
    """A piece of a text in parts that join to it: cut after each match of a pattern, in 400 parts at most."""
    cuts = [match.end() for match in islice(ends.finditer(text, start, end), MOST_PARTS - 1)]
    inner = [cut for cut in cuts if start < cut < end]
    return list(pairwise([start, *inner, end]))


def merged(parts: list[Span]) -> list[Span]:
    """At most 16 parts, by joining the two neighbours that are shortest together, again and again."""
    parts = list(parts)
    while len(parts) > SEGMENTS:
        starts, ends = np.array(parts).T
        together = ends[:-1] == starts[1:]  # what was not read lies between the others
        lengths = np.where(together, ends[1:] - starts[:-1], np.iinfo(np.int64).max)
        index = int(np.argmin(lengths))
        parts[index : index + 2] = [(parts[index][0], parts[index + 1][1])]
    return parts

"""Is a review for or against? The text model of the book; it carries whatever labels it was trained with."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from shared.checkpoint import METRICS, MODEL, Checkpoint
from shared.errors import BadInput
from shared.predictor import Predictor
from shared.runtime import Session, softmax
from shared.shapley import shapley_values

if TYPE_CHECKING:
    from tokenizers import Tokenizer

TOKENIZER = "tokenizer.json"
MAX_CHARACTERS = 5_000_000
CHARACTERS_A_TOKEN = 32  # so many characters at either end are cut into tokens for each token that may be read
SEGMENTS = 16  # parts of a text that an explanation tells apart
ORDERS = 2  # random orders, and as many reversed, in which an explanation takes the parts

BREAKS = re.compile(r"<br\s*/?>", re.IGNORECASE)  # all there is of HTML in IMDB's reviews
CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202f\u2060-\u206f\ufeff\ufffd]")
WORDS = re.compile(r"\S+\s*")
# A clause ends with a sign and a space, with a line, or before a word that turns the sense.
CLAUSES = re.compile(
    r"""(?sxi) .+? (?: [.!?;:,\u2013\u2014)]+["'\u201d\u2019]? \s+ | \n+ \s* | $
    | \s+ (?= (?: but | although | though | however ) \b ) )"""
)

Span = tuple[int, int]  # characters of a text, from and up to


class SentimentCheckpoint(Checkpoint):
    """gallery.json of a text classifier.

    A text longer than `max_tokens`, the first and last of which mark its ends, is read in two pieces: `head` tokens
    from its beginning and the rest from its end. The logits are calibrated. An answer is clear where the likeliest
    label has a probability of `clear_from` or more and the text's prose score reaches `prose_threshold`.
    """

    labels: Annotated[tuple[str, ...], Field(min_length=2)]
    max_tokens: Annotated[int, Field(ge=8, le=8192)]
    head: Annotated[int, Field(ge=1)]
    clear_from: Annotated[float, Field(ge=0, le=1)]
    prose_threshold: float

    @model_validator(mode="after")
    def _labels_differ_and_head_fits(self) -> Self:
        if len(set(self.labels)) < len(self.labels):
            raise ValueError("labels must differ")
        if self.head >= self.max_tokens - 2:
            raise ValueError("head must be less than max_tokens - 2")
        return self


@dataclass(frozen=True)
class SentimentPrediction:
    """What a text says.

    `label` is the likeliest label; `probabilities` are calibrated and sum to 1. `is_prose` says whether the words are
    such as the training texts are made of; `prose_score` is their mean log frequency there (natural logarithm, so
    below 0). `is_clear` is False where the text is no such prose, or where no label is likely enough: a mixed review,
    or none at all. Of `words` words the model read `words_read`.
    """

    label: str
    probabilities: dict[str, float]
    is_clear: bool
    is_prose: bool
    prose_score: float
    words: int
    words_read: int


@dataclass(frozen=True)
class SentimentExplanation:
    """Why: base + the sum of the contributions == probability, all as probabilities of `label`.

    `parts` are the text in order, each with its Shapley value; None for what was not read or not looked into. `base`
    is the probability without the parts that have one.
    """

    label: str
    probability: float
    base: float
    parts: tuple[tuple[str, float | None], ...]


@dataclass(frozen=True)
class Tokens:
    """The tokens of a text that are read: their indices, without those that mark the ends, and where each begins.

    `read` are the characters they stand for: the whole text, or a piece at each end.
    """

    ids: NDArray[np.int64]
    starts: NDArray[np.int64]
    read: tuple[Span, ...]


class Sentiment(Predictor[SentimentCheckpoint, str, SentimentPrediction]):
    """A text classifier that shows its reasons."""

    spec = SentimentCheckpoint
    needed = (MODEL, METRICS, TOKENIZER)

    def __init__(self, folder: str | Path) -> None:
        super().__init__(folder)
        self.session = Session(self.folder / MODEL, threads=2)  # 30 ms a review on two cores, 60 on one

    def predict(self, text: str) -> SentimentPrediction:
        """Judge one text.

        Raises:
            BadInput: there is no text, or more than 5 million characters of it.
        """
        answer = self.predict_each([text])[0]
        if isinstance(answer, BadInput):
            raise answer
        return answer

    def predict_each(self, items: Sequence[str]) -> list[SentimentPrediction | BadInput]:
        """Judge every text; a bad one gets its BadInput as the answer."""
        answers: dict[int, SentimentPrediction | BadInput] = {}
        texts: dict[int, str] = {}
        for index, item in enumerate(items):
            try:
                texts[index] = cleaned(item)
            except BadInput as error:
                answers[index] = error
        tokens = self.tokens(list(texts.values()))
        probabilities, prose = self._run([piece.ids for piece in tokens])
        for row, (index, text) in enumerate(texts.items()):
            answers[index] = self._answer(text, tokens[row], probabilities[row], float(prose[row]))
        return [answers[index] for index in range(len(items))]

    def explain(self, text: str, label: str | None = None, part: int | None = None) -> SentimentExplanation:
        """Shapley values of at most 16 parts of a text: its words, or its clauses if there are more words.

        A part is absent when its tokens are left out. The number of evaluations is fixed, see shared/shapley.py.

        Args:
            text: the text.
            label: whose probability is explained; by default the second of two labels, or the likeliest of more.
            part: look into this part of an explanation without it (counted from 0): its words, all else as it is.

        Raises:
            BadInput: there is no text or too much of it, no such label, or no such part.
        """
        text, labels = cleaned(text), self.checkpoint.labels
        if label is not None and label not in labels:
            raise BadInput(f"There is no label {label!r}; choose one of {', '.join(labels)}.")
        (tokens,) = self.tokens([text])
        every = pieces(text, tokens.read)
        parts = [span for span, is_read in every if is_read]
        if part is not None:
            indices = [index for index, (_, is_read) in enumerate(every) if is_read]
            if part not in indices:
                raise BadInput(f"There is no part {part} to look into; they are counted from 0 to {len(every) - 1}.")
            start, end = every[part][0]
            parts = [(start + a, start + b) for a, b in merged(spans(WORDS, text[start:end]), text[start:end])]
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
        return SentimentExplanation(
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
        return read_tokens(self.tokenizer, texts, self.checkpoint.max_tokens - 2, self.checkpoint.head)

    def _answer(
        self, text: str, tokens: Tokens, probabilities: NDArray[np.float64], prose: float
    ) -> SentimentPrediction:
        labels, contract = self.checkpoint.labels, self.checkpoint
        read = sum(len(text[start:end].split()) for start, end in tokens.read)
        words = len(text.split())
        is_prose = prose >= contract.prose_threshold
        best = int(probabilities.argmax())
        return SentimentPrediction(
            label=labels[best],
            probabilities=dict(zip(labels, probabilities.tolist(), strict=True)),
            is_clear=is_prose and float(probabilities[best]) >= contract.clear_from,
            is_prose=is_prose,
            prose_score=prose,
            words=words,
            words_read=min(read, words),
        )

    def _run(self, ids: Sequence[NDArray[np.int64]]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Probabilities (n, labels) and prose scores (n,) of n lists of tokens.

        One at a time: activations are rounded to int8 by the largest in the batch, and no text's answer may depend
        on its neighbours.
        """
        first, last = (self.tokenizer.token_to_id(name) for name in ("[CLS]", "[SEP]"))
        logits = np.zeros((len(ids), len(self.checkpoint.labels)))
        prose = np.zeros(len(ids))
        for row, tokens in enumerate(ids):
            found = self.session.run(["logits", "prose"], {"input_ids": np.r_[first, tokens, last][None]})
            logits[row], prose[row] = found[0][0], found[1][0]
        return softmax(logits), prose


def load_tokenizer(path: Path) -> "Tokenizer":
    """A tokenizer.json, told neither to cut nor to pad."""
    from tokenizers import Tokenizer  # noqa: PLC0415 - only who reads text needs it

    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def cleaned(text: object) -> str:
    """A text as the model reads it: line breaks of HTML and characters nobody sees are spaces.

    Raises:
        BadInput: it is no text, an empty one, or one of more than 5 million characters.
    """
    if not isinstance(text, str):
        raise BadInput(f"A text is needed, not {type(text).__name__}.")
    if len(text) > MAX_CHARACTERS:
        raise BadInput(f"The text has {len(text):,} characters; at most {MAX_CHARACTERS:,} are read.")
    whole = text.encode("utf-8", "replace").decode()  # half a surrogate pair is no character
    plain = CONTROLS.sub(" ", BREAKS.sub("\n", whole)).strip()
    if not plain:
        raise BadInput("There is no text; write a few words.")
    return plain


def read_tokens(tokenizer: "Tokenizer", texts: Sequence[str], most: int, head: int) -> list[Tokens]:
    """The tokens that are read of some texts, `most` of each: `head` from its beginning, the others from its end.

    The one place where training and serving turn text into numbers. However long a text is, only so many characters
    at its beginning and end are cut into tokens as could possibly be needed.
    """
    enough = CHARACTERS_A_TOKEN * most
    ends = [text if len(text) <= 2 * enough else text[:enough] + text[-enough:] for text in texts]
    found = []
    for text, cut, encoding in zip(texts, ends, tokenizer.encode_batch(ends, add_special_tokens=False), strict=True):
        ids, left_out = np.array(encoding.ids, np.int64), len(text) - len(cut)
        places = np.array(encoding.offsets, np.int64).reshape(-1, 2)
        places[places[:, 0] >= enough] += left_out
        read: tuple[Span, ...] = ((0, enough), (enough + left_out, len(text))) if left_out else ((0, len(text)),)
        if len(ids) > most:
            rows = np.r_[:head, len(ids) - (most - head) : len(ids)]
            ids, places = ids[rows], places[rows]
            read = ((0, int(places[head - 1, 1])), (int(places[head, 0]), len(text)))
        found.append(Tokens(ids, places[:, 0], read))
    return found


def pieces(text: str, read: Sequence[Span]) -> list[tuple[Span, bool]]:
    """A text in parts that join to the whole, each with whether it was read: at most 16 that were."""
    words = [(a + start, b + start) for start, end in read for a, b in spans(WORDS, text[start:end])]
    clauses = [(a + start, b + start) for start, end in read for a, b in spans(CLAUSES, text[start:end])]
    parts = merged(words if len(words) <= SEGMENTS or len(clauses) < 4 else clauses, text)
    every: list[tuple[Span, bool]] = []
    for start, end in parts:
        before = every[-1][0][1] if every else 0
        if start > before:
            every.append(((before, start), False))
        every.append(((start, end), True))
    return every


def spans(pattern: re.Pattern[str], text: str) -> list[Span]:
    """Where a pattern matches, stretched so that the spans join and cover the whole text."""
    starts = [match.start() for match in pattern.finditer(text) if match.group().strip()]
    return list(zip([0, *starts[1:]], [*starts[1:], len(text)], strict=True))


def merged(parts: list[Span], text: str) -> list[Span]:
    """At most 16 parts, by joining the two neighbours that are shortest together, again and again."""
    parts = list(parts)
    while len(parts) > SEGMENTS:
        lengths = [
            after[1] - before[0] if before[1] == after[0] else len(text) + 1  # what was not read lies between
            for before, after in pairwise(parts)
        ]
        index = int(np.argmin(lengths))
        parts[index : index + 2] = [(parts[index][0], parts[index + 1][1])]
    return parts

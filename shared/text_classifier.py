"""Text classification: predict a label for a text, and explain which words the prediction comes from."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from .config import MODEL, GalleryConfig
from .errors import BadInput, CheckpointError, quote
from .predictor import Prediction, Predictor
from .session import THREADS, Shapes, map_in_threads, softmax
from .shapley import choose_sets, fit_shapley_values
from .text import parse_whole
from .text_parts import WORD_ENDS, merge_spans, split_span, split_text
from .tokens import Tokens, clean_text, load_tokenizer, read_tokens

if TYPE_CHECKING:
    from tokenizers import Tokenizer

TOKENIZER = "tokenizer.json"


class TextClassifierConfig(GalleryConfig):
    """gallery.json of a text classifier.

    A text longer than `max_tokens` (including the two special tokens at its ends) is read in two pieces: `head` tokens
    from the beginning and the rest from the end. The logits are calibrated. A text with n tokens read is in
    distribution if its score is at most sqrt(a + b / n) below `in_distribution_mean`; `in_distribution_spread` is
    (a, b), because short texts vary more. A prediction is clear if the text is in distribution and the most probable
    label has a probability of at least `min_clear_probability`.
    """

    labels: Annotated[tuple[str, ...], Field(min_length=2)]
    max_tokens: Annotated[int, Field(ge=8, le=8192)]
    head: Annotated[int, Field(ge=1)]
    min_clear_probability: Annotated[float, Field(ge=0, le=1)]
    examples: tuple[str, ...] = ()  # example texts for the page
    in_distribution_mean: float
    in_distribution_spread: tuple[Annotated[float, Field(ge=0)], Annotated[float, Field(ge=0)]]

    @model_validator(mode="after")
    def _check_fields(self) -> Self:
        if self.head >= self.max_tokens - 2:
            raise ValueError("head must be less than max_tokens - 2")
        return self


@dataclass(frozen=True)
class TextClassifierPrediction(Prediction):
    """The prediction for a text.

    `label` is the most probable label; `probabilities` are calibrated and sum to 1. `in_distribution` is True if the
    words resemble those of the training texts; `in_distribution_score` is their mean log frequency there (natural
    logarithm, so below 0). `is_clear` is False if the text is out of distribution or no label is probable enough, as
    for a mixed review. The text has `words` words, of which the model read `words_read`.
    """

    label: str
    probabilities: dict[str, float]
    is_clear: bool
    in_distribution: bool
    in_distribution_score: float
    words: int
    words_read: int

    def as_row(self) -> dict[str, object]:
        """Return the prediction as cells of a CSV row."""
        return {
            "prediction": self.label,
            "clear": "yes" if self.is_clear else "no",
            **{f"probability {label}": round(p, 4) for label, p in self.probabilities.items()},
        }


@dataclass(frozen=True)
class TextClassifierExplanation:
    """Shapley values of the probability of `label`: base + the sum of the contributions == probability.

    `parts` is the text in order, each part with its Shapley value, or None if it was not read or not explained. `base`
    is the probability without the explained parts.
    """

    label: str
    probability: float
    base: float
    parts: tuple[tuple[str, float | None], ...]

    def as_dict(self) -> dict[str, Any]:
        """Return the explanation as a JSON object."""
        parts = [{"text": text, "contribution": value} for text, value in self.parts]
        return {"label": self.label, "probability": self.probability, "base": self.base, "parts": parts}


class TextClassifier(Predictor[TextClassifierConfig, str, TextClassifierPrediction]):
    """A text classifier with Shapley explanations."""

    task = "text-classification"
    config_type = TextClassifierConfig
    required_files = (MODEL, TOKENIZER)
    threads = THREADS  # a long text needs several cores

    @property
    def shapes(self) -> tuple[Shapes, Shapes]:
        """The shapes of the model's inputs and outputs; see Session."""
        return {"input_ids": (None, None)}, {0: (None, len(self.config.labels)), 1: (None,)}

    def example(self) -> str:
        """Return the first example for the page, if there is one, else a sentence."""
        return next(iter(self.config.examples), "It was slow at the start, but I like the end and would do it again.")

    @property
    def columns(self) -> tuple[str, ...]:
        """The required column of a table of texts."""
        return ("text",)

    def from_row(self, row: Mapping[str, str]) -> str:
        """Return the text of a table row."""
        return row["text"]

    def predict(self, text: str) -> TextClassifierPrediction:
        """Classify a text.

        Raises:
            BadInput: it is empty, too long or no text.
        """
        return super().predict(text)

    def _predict_all(self, items: Sequence[str]) -> list[TextClassifierPrediction | BadInput]:
        """Classify every text; the result for one that is empty or has more than 5 million characters is a BadInput."""
        answers: dict[int, TextClassifierPrediction | BadInput] = {}
        texts: dict[int, str] = {}
        for index, item in enumerate(items):
            try:
                texts[index] = clean_text(item)
            except BadInput as error:
                answers[index] = error
        tokens = self.tokenize(list(texts.values()))
        probabilities, scores = self._run([piece.ids for piece in tokens])
        for row, (index, text) in enumerate(texts.items()):
            answers[index] = self._answer(text, tokens[row], probabilities[row], float(scores[row]))
        return [answers[index] for index in range(len(items))]

    def explain(self, text: str, label: str | None = None, part: int | None = None) -> TextClassifierExplanation:
        """Return Shapley values of at most 16 parts of a text: its words, or its clauses if it has more words.

        A part is removed by leaving out its tokens. The model is evaluated at most 32 times; see shared/shapley.py.

        Args:
            text: the text.
            label: the label to explain; by default the second of two labels, or the most probable of more.
            part: index of a part in the explanation of the whole text; its words are explained instead, with the rest
                of the text unchanged.

        Raises:
            BadInput: the text is empty or too long, or the label or part does not exist.
        """
        text, labels = clean_text(text), self.config.labels
        if label is not None and not (isinstance(label, str) and label in labels):
            raise BadInput(f"There is no label {quote(label)}; choose one of {', '.join(labels)}.")
        (tokens,) = self.tokenize([text])
        every = split_text(text, tokens.read)
        parts = [span for span, is_read in every if is_read]
        if part is not None:
            indices = [index for index, (_, is_read) in enumerate(every) if is_read]
            if (chosen := parse_whole(part)) not in indices:
                raise BadInput(
                    f"There is no part {quote(part)} to explain; the parts are numbered from 0 to {len(every) - 1}."
                )
            start, end = every[chosen][0]
            parts = merge_spans(split_span(WORD_ENDS, text, start, end))
            every = [*every[:chosen], *((span, True) for span in parts), *every[chosen + 1 :]]
        owner = np.full(len(tokens.ids), -1)
        for player, (start, end) in enumerate(parts):
            owner[(tokens.starts >= start) & (tokens.starts < end)] = player
        kept = [tokens.ids[(owner < 0) | row[owner]] for row in choose_sets(len(parts))]
        longest_first = sorted(range(len(kept)), key=lambda index: -len(kept[index]))  # so that no thread ends late
        outputs = np.empty((len(kept), len(labels)))
        outputs[longest_first] = map_in_threads(lambda index: self._run([kept[index]])[0][0], longest_first)
        whole = outputs[-1]
        likeliest = 1 if len(labels) == 2 else int(whole.argmax())
        index = likeliest if label is None else labels.index(label)
        base, values = fit_shapley_values(outputs[:, index], len(parts))
        given = dict(zip(parts, values.tolist(), strict=True))
        return TextClassifierExplanation(
            labels[index],
            float(whole[index]),
            base,
            tuple((text[start:end], given.get((start, end))) for (start, end), _ in every),
        )

    @cached_property
    def tokenizer(self) -> "Tokenizer":
        """The tokenizer of the checkpoint.

        Raises:
            CheckpointError: the file is damaged.
        """
        path = self.folder / TOKENIZER
        tokenizer = load_tokenizer(path)
        if None in (tokenizer.token_to_id("[CLS]"), tokenizer.token_to_id("[SEP]")):
            raise CheckpointError(f"{path} lacks the token [CLS] or [SEP]; export the model again.")
        return tokenizer

    def tokenize(self, texts: Sequence[str]) -> list[Tokens]:
        """Return the tokens that the model reads of texts from clean_text."""
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
        """Return probabilities (n, labels) and in-distribution scores (n,) for n lists of tokens.

        Texts run one at a time: int8 rounding of activations depends on the largest value in the batch, and a
        prediction must not depend on other texts.
        """
        first, last = (self.tokenizer.token_to_id(name) for name in ("[CLS]", "[SEP]"))
        logits = np.zeros((len(ids), len(self.config.labels)))
        scores = np.zeros(len(ids))
        for row, tokens in enumerate(ids):
            found = self.session.run(self.session.outputs, {"input_ids": np.r_[first, tokens, last][None]})
            logits[row], scores[row] = found[0][0], found[1][0]
        return softmax(logits), scores

"""Split a text into at most 16 parts for an explanation: its words, or its clauses."""

import re
from collections.abc import Sequence
from itertools import islice, pairwise

import numpy as np

from .tokens import Span

MAX_PARTS = 16  # parts in an explanation
MAX_SPANS = 400  # words or clauses, before they are merged into MAX_PARTS
WORD_ENDS = re.compile(r"(?<!\s)\s+")
# A clause ends after a punctuation mark and a space, at a line break, or before "but" and similar words.
CLAUSE_ENDS = re.compile(
    r"""(?xi) (?<=[.!?;:,\u2013\u2014)]) ["'\u201d\u2019]? \s+ | (?<!\s) [^\S\n]* \n \s*
    | (?<!\s) \s+ (?= (?: but | although | though | however ) \b )"""
)


def split_text(text: str, read: Sequence[Span]) -> list[tuple[Span, bool]]:
    """Split a text into consecutive parts, each with True if it was read; at most 16 parts were read."""
    parts = [span for start, end in read for span in split_span(WORD_ENDS, text, start, end)]
    if len(parts) > MAX_PARTS:
        clauses = [span for start, end in read for span in split_span(CLAUSE_ENDS, text, start, end)]
        parts = clauses if len(clauses) >= 4 else parts
    parts = merge_spans(parts)
    every: list[tuple[Span, bool]] = []
    for start, end in parts:
        before = every[-1][0][1] if every else 0
        if start > before:
            every.append(((before, start), False))
        every.append(((start, end), True))
    return [*every, ((parts[-1][1], len(text)), False)] if parts[-1][1] < len(text) else every


def split_span(ends: re.Pattern[str], text: str, start: int, end: int) -> list[Span]:
    """Split a span of a text after each match of `ends`, into at most 400 consecutive spans."""
    cuts = [match.end() for match in islice(ends.finditer(text, start, end), MAX_SPANS - 1)]
    inner = [cut for cut in cuts if start < cut < end]
    return list(pairwise([start, *inner, end]))


def merge_spans(parts: list[Span]) -> list[Span]:
    """Merge the shortest pair of adjacent parts until at most 16 parts are left."""
    parts = list(parts)
    while len(parts) > MAX_PARTS:
        starts, ends = np.array(parts).T
        together = ends[:-1] == starts[1:]  # not if unread text lies between them
        lengths = np.where(together, ends[1:] - starts[:-1], np.iinfo(np.int64).max)
        index = int(np.argmin(lengths))
        parts[index : index + 2] = [(parts[index][0], parts[index + 1][1])]
    return parts

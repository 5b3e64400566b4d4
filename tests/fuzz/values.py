"""Values as they come from JSON, tables and people: strategies for Hypothesis, and JSON with a few values replaced."""

import copy
import math
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

Draw = Callable[[st.SearchStrategy[Any]], Any]
MARKS = st.sampled_from(
    "\0\t\n\r\x1b\x85\xad\u0301\u0430\u200b\u200d\u202e\u2028\ud800\udfff\ufeff\uff21\ufffd😀🏳<>\"'&{}%"
)
ODD_TEXTS = (
    "", " ", "?", "NaN", "null", "-0", "1e999", "1,234", "1.234,5", "²", "٣", "９", "0x10", "1_000", "true",
    "None", "\0",
    "../../etc/passwd", "file:///etc/passwd", "data:,", "data:image/png;base64,AAAA", "http://127.0.0.1/",
    "<script>", "{{1}}",
    "${1}", "%s%n", "=1+1", "' OR 1=1", "a" * 129, "\u202eabc", "\ud800", "e" + "\u0301" * 500, "[CLS]",
    "[SEP] [MASK]", "##s",
)  # fmt: skip
ODD_NUMBERS = (
    0, -0.0, 1, -1, 0.5, 2**31, -(2**31) - 1, 2**53 + 1, 2**63, -(2**64), 10**400, 1e-320, 1e308,
    math.nan, math.inf, -math.inf,
)  # fmt: skip

texts = st.one_of(
    st.sampled_from(ODD_TEXTS),
    st.text(max_size=30),
    st.text(MARKS, max_size=12),
    st.builds(lambda text, times: text * times, st.text(min_size=1, max_size=8), st.sampled_from([50, 1_000, 20_000])),
)
words = st.lists(
    st.sampled_from(["good", "film", "not", "but", "I", "it.", "dull,", "and", "!", "\n"]) | texts, max_size=40
)
reviews = texts | words.map(" ".join)
numbers = st.one_of(st.sampled_from(ODD_NUMBERS), st.integers(-100, 10_000), st.floats())
scalars = st.none() | st.booleans() | numbers | texts
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


def nest(value: Any, depth: int) -> Any:
    """Return a value inside `depth` lists."""
    for _ in range(depth):
        value = [value]
    return value


@st.composite
def damaged_json(draw: Draw, valid: Any) -> Any:
    """Draw a JSON document like `valid` in which one to three values are replaced, deleted, repeated or nested."""
    whole = [copy.deepcopy(valid)]
    for _ in range(draw(st.integers(1, 3))):
        inside: Any = whole
        key: Any = 0
        while isinstance(inside[key], dict | list) and inside[key] and draw(st.integers(0, 3)):
            inside = inside[key]
            key = draw(st.sampled_from(list(inside) if isinstance(inside, dict) else range(len(inside))))
        change = draw(st.sampled_from(["replace", "replace", "delete", "repeat", "nest"]))
        if change == "replace" or inside is whole:
            inside[key] = draw(values)
        elif change == "delete":
            del inside[key]
        elif change == "nest":
            inside[key] = nest(inside[key], draw(st.sampled_from([1, 2, 40])))
        elif isinstance(inside, dict):
            inside[draw(texts)] = inside[key]
        else:
            is_short = len(repr(inside[key])) < 100
            inside.extend([inside[key]] * draw(st.sampled_from([1, 3, 300] if is_short else [1, 3])))
    return whole[0]

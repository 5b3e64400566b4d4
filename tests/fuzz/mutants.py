"""Families of mutants: ways to damage a valid file. Hypothesis draws every choice, so it can shrink what fails."""

from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import strategies as st

from .formats import Format, Number, Part, split_boxes

Draw = Callable[[st.SearchStrategy[Any]], Any]
CHANGES = 4  # at most, of one mutant
LARGEST = 2_000_000  # bytes of a mutant


def draw_extreme(draw: Draw, number: Number | None, size: int, width: int = 0) -> bytes:
    """Draw the bytes of a number at a limit: of its width, of the file's size, of a usual limit, or any number."""
    width = number.width if number else width
    most = 256**width - 1
    values = [0, 1, 2, most, most - 1, most // 2, most // 2 + 1, 7, 16, 255, 257, 5_000, 30_000, 65_535, size, size - 1]
    value = draw(st.sampled_from(values) | st.integers(0, most)) % (most + 1)
    return value.to_bytes(width, number.order if number else draw(st.sampled_from(["big", "little"])))


def overwrite(data: bytes, start: int, new: bytes) -> bytes:
    return data[:start] + new + data[start + len(new) :]


def draw_place(draw: Draw, data: bytes) -> int:
    """Draw a position, half of the time in the first 100 bytes, where headers are."""
    near = st.integers(0, min(99, len(data)))
    return draw(near | st.integers(0, len(data)))


def flip_bits(draw: Draw, _: Format, data: bytes) -> bytes:
    for _ in range(draw(st.integers(1, CHANGES))):
        place = min(draw_place(draw, data), len(data) - 1)
        data = overwrite(data, place, bytes([data[place] ^ draw(st.sampled_from([1, 2, 4, 8, 16, 32, 64, 128, 255]))]))
    return data


def truncate(draw: Draw, _: Format, data: bytes) -> bytes:
    """Cut off the end, or a slice within."""
    start = draw_place(draw, data)
    return data[:start] if draw(st.booleans()) else data[:start] + data[start + draw(st.integers(1, 100)) :]


def repeat(draw: Draw, _: Format, data: bytes) -> bytes:
    start = draw_place(draw, data)
    piece = data[start : start + draw(st.integers(1, 200))]
    return data[:start] + piece * draw(st.sampled_from([1, 2, 10, 100])) + data[start:]


def set_extremes(draw: Draw, _: Format, data: bytes) -> bytes:
    """Write extreme numbers anywhere."""
    for _ in range(draw(st.integers(1, CHANGES))):
        new = draw_extreme(draw, None, len(data), draw(st.sampled_from([1, 2, 4, 8])))
        data = overwrite(data, draw_place(draw, data), new)
    return data


def insert_tokens(draw: Draw, kind: Format, data: bytes) -> bytes:
    for _ in range(draw(st.integers(1, CHANGES))):
        place, token = draw_place(draw, data), draw(st.sampled_from(kind.tokens))
        data = overwrite(data, place, token) if draw(st.booleans()) else data[:place] + token + data[place:]
    return data


def splice(draw: Draw, kind: Format, data: bytes) -> bytes:
    """Join the head of one file to the tail of another of the same format."""
    other = draw(st.sampled_from(kind.seeds))
    return data[: draw_place(draw, data)] + other[draw_place(draw, other) :]


def set_numbers(draw: Draw, data: bytes, numbers: Sequence[Number]) -> bytes:
    for _ in range(draw(st.integers(1, CHANGES))):
        number = draw(st.sampled_from(numbers))
        data = overwrite(data, number.start, draw_extreme(draw, number, len(data)))
    return data


def set_fields(draw: Draw, kind: Format, data: bytes) -> bytes:
    """Write extreme numbers into headers, and then the right checksums."""
    assert kind.find_fields
    changed = set_numbers(draw, data, kind.find_fields(data))
    return kind.join(kind.split(changed)) if kind.name == "PNG" and kind.split else changed


def set_lengths(draw: Draw, kind: Format, data: bytes) -> bytes:
    """Write extreme numbers into lengths, counts and offsets."""
    assert kind.find_lengths
    return set_numbers(draw, data, kind.find_lengths(data))


def edit_parts(draw: Draw, kind: Format, data: bytes) -> bytes:
    """Delete, duplicate, swap, replace and damage parts; their lengths and checksums are right."""
    assert kind.split
    parts = kind.split(data)
    for _ in range(draw(st.integers(1, CHANGES))):
        change = draw(st.sampled_from(["damage", "delete", "duplicate", "swap", "replace", "foreign", "rename"]))
        index, other = (draw(st.integers(0, max(len(parts) - 1, 0))) for _ in range(2))
        if not parts:
            break
        part = parts[index]
        if change == "damage" and part.content:
            damage = draw(st.sampled_from([flip_bits, truncate, repeat, set_extremes]))
            parts[index] = Part(part.kind, damage(draw, kind, part.content))
        elif change == "delete":
            del parts[index]
        elif change == "duplicate":
            parts[other:other] = [part] * draw(st.sampled_from([1, 2, 10, 300]))
        elif change == "swap":
            parts[index], parts[other] = parts[other], part
        elif change == "replace":
            parts[index] = parts[other]
        elif change == "foreign":
            parts[index] = draw(st.sampled_from(kind.split(draw(st.sampled_from(kind.seeds)))))
        elif change == "rename" and part.kind and kind.tokens:
            name = draw(st.sampled_from(kind.tokens))[: len(part.kind)].ljust(len(part.kind), b" ")
            parts[index] = Part(name if kind.split is not split_boxes else part.kind[:-4] + name[:4], part.content)
    return kind.join(parts)[:LARGEST]


FAMILIES: dict[str, Callable[[Draw, Format, bytes], bytes]] = {
    "bit flips": flip_bits,
    "truncation": truncate,
    "repeats": repeat,
    "extreme numbers": set_extremes,
    "tokens": insert_tokens,
    "splices": splice,
    "header fields": set_fields,
    "length fields": set_lengths,
    "parts": edit_parts,
}


def list_families(kind: Format) -> list[str]:
    """Return the families that apply to a format."""
    needed = {
        "tokens": kind.tokens,
        "splices": len(kind.seeds) > 1,
        "header fields": kind.find_fields,
        "length fields": kind.find_lengths,
        "parts": kind.split,
    }
    return [name for name in FAMILIES if needed.get(name, True)]


@st.composite
def mutants(draw: Draw, kind: Format, family: str) -> bytes:
    """Draw a mutant of a file in a format."""
    return FAMILIES[family](draw, kind, draw(st.sampled_from(kind.seeds)))


def name_families(*kinds: Format) -> dict[str, st.SearchStrategy[bytes]]:
    """Return the mutants of formats by family, such as "PNG: bit flips"."""
    return {f"{kind.name}: {family}": mutants(kind, family) for kind in kinds for family in list_families(kind)}

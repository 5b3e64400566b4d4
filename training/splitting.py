"""Split a data set at random, so that equal contents and groups are in one part and every label is in each."""

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence, Sized
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.data import DataError
from training.sentences import list_names

TRAIN, VALID, TEST = "train", "valid", "test"
PARTS = (TRAIN, VALID, TEST)
PART_NAMES = {
    "train": TRAIN, "training": TRAIN, "train_set": TRAIN, "training_set": TRAIN, "valid": VALID, "val": VALID,
    "validation": VALID, "dev": VALID, "val_set": VALID, "validation_set": VALID, "test": TEST, "testing": TEST,
    "test_set": TEST, "testing_set": TEST,
}  # fmt: skip


def split_rows(
    labels: Sequence[Sequence[Hashable]],
    keys: Sequence[Sequence[Hashable]],
    shares: Mapping[str, float],
    seed: int,
) -> list[str]:
    """Return the part of each row: a key of `shares`, or "train".

    Rows that share a key are in the same part. Every part gets about its share of each label and, where there are
    enough rows without common keys, at least one row of it.

    Args:
        labels: the labels of each row; several, for example, for the classes in a mask.
        keys: the keys of each row, such as the hash of its content and its group.
        shares: the share of each part but "train", such as {"test": 0.2, "valid": 0.08}.
        seed: determines the split.
    """
    rng = np.random.default_rng(seed)
    clusters = join_rows(keys)
    order = rng.permutation(len(clusters)).tolist()
    order.sort(key=lambda index: -len(clusters[index]))  # stable: equal sizes stay in random order
    counts = [Counter(label for row in rows for label in labels[row]) for rows in clusters]
    totals = Counter(label for row in labels for label in row)
    wanted = {label: share_out(total, shares) for label, total in totals.items()}
    have = {part: Counter[Hashable]() for part in (*shares, TRAIN)}
    chosen = [TRAIN] * len(clusters)
    for index in order:
        chosen[index] = min(have, key=lambda part: _measure_excess(counts[index], have[part], wanted, part))
        have[chosen[index]].update(counts[index])
    for part in (TRAIN, *shares):
        for label in totals:
            if not have[part][label]:
                _fill_gap(part, label, order[::-1], counts, chosen, have)
    parts = [TRAIN] * len(labels)
    for index, rows in enumerate(clusters):
        for row in rows:
            parts[row] = chosen[index]
    return parts


def share_out(total: int, shares: Mapping[str, float]) -> dict[str, int]:
    """Return how many of `total` rows each part should have: at least one, where there are enough."""
    wanted, left = {}, total
    for part, share in shares.items():
        wanted[part] = min(max(1, round(share * total)), left - 1)
        left -= wanted[part]
    return wanted | {TRAIN: left}


def _measure_excess(
    count: Counter[Hashable], have: Counter[Hashable], wanted: Mapping[Hashable, Mapping[str, int]], part: str
) -> float:
    """Return by how much a part gets further from what is wanted with these rows; negative if it gets nearer."""
    excess = 0.0
    for label, more in count.items():
        target = wanted[label][part]
        before = have[label] - target
        excess += ((before + more) ** 2 - before**2) / max(target, 0.5)
    return excess


def _fill_gap(
    part: str,
    label: Hashable,
    order: Sequence[int],
    counts: Sequence[Counter[Hashable]],
    chosen: list[str],
    have: Mapping[str, Counter[Hashable]],
) -> None:
    """Move the smallest cluster of rows with a label to a part that lacks it, if no other part then lacks a label."""
    for index in order:
        source, count = chosen[index], counts[index]
        if label in count and source != part and all(have[source][name] > more for name, more in count.items()):
            chosen[index] = part
            have[source].subtract(count)
            have[part].update(count)
            return


def join_rows(keys: Sequence[Sequence[Hashable]]) -> list[list[int]]:
    """Return lists of the rows that share keys, directly or through other rows."""
    parents = list(range(len(keys)))

    def find(row: int) -> int:
        while parents[row] != row:
            parents[row] = parents[parents[row]]
            row = parents[row]
        return row

    first: dict[Hashable, int] = {}
    for row, row_keys in enumerate(keys):
        for key in row_keys:
            parents[find(row)] = find(first.setdefault(key, row))
    clusters: dict[int, list[int]] = {}
    for row in range(len(keys)):
        clusters.setdefault(find(row), []).append(row)
    return list(clusters.values())


def find_leaks(keys: Sequence[Sequence[Hashable]], parts: Sequence[str | None]) -> list[int]:
    """Return the rows outside the given validation and test parts that share a key with a row in them.

    To train on them would make the figures of those parts too good.

    Args:
        keys: the keys of each row, such as the hash of its content and its group.
        parts: the part that each row is given for; None or "train" for the others.
    """
    held_out = {key for row_keys, part in zip(keys, parts, strict=True) if part in (VALID, TEST) for key in row_keys}
    return [row for row, part in enumerate(parts) if part not in (VALID, TEST) and not held_out.isdisjoint(keys[row])]


def fill_parts(
    given: Sequence[str | None],
    labels: Sequence[Sequence[Hashable]],
    keys: Sequence[Sequence[Hashable]],
    shares: Mapping[str, float],
    seed: int,
) -> tuple[dict[str, list[int]], list[int]]:
    """Return the rows of each part, where the data gives some parts, and the rows that are left out; see find_leaks.

    Rows that are given for the validation or the test stay there. The others are split into the parts that no row is
    given for.

    Args:
        given: the part that each row is given for, or None.
        labels: the labels of each row; see split_rows.
        keys: the keys of each row.
        shares: the share of each part but "train".
        seed: determines the split.
    """
    leaks = find_leaks(keys, given)
    rest = sorted({row for row, part in enumerate(given) if part in (None, TRAIN)}.difference(leaks))
    wanted = {part: share for part, share in shares.items() if part not in given}
    chosen = split_rows([labels[row] for row in rest], [keys[row] for row in rest], wanted, seed)
    parts = {part: [row for row, own in enumerate(given) if own == part != TRAIN] for part in PARTS}
    for row, part in zip(rest, chosen, strict=True):
        parts[part].append(row)
    return parts, leaks


def name_parts(names: Iterable[str]) -> dict[str, str]:
    """Return the part that each name stands for, such as {"val": "valid"}; others are left out."""
    return {name: PART_NAMES[name.casefold()] for name in names if name.casefold() in PART_NAMES}


def print_split(parts: Mapping[str, Sized], as_given: Sequence[str], how: str = "") -> None:
    """Print the sizes of the parts, and which of them the data gave whole."""
    kept = f" ({list_names(as_given)} as given)" if as_given else ""
    valid = f" {len(parts[VALID]):,} to validate on," if VALID in parts else ""
    print(f"Split{how}{kept}: {len(parts[TRAIN]):,} to train on,{valid} {len(parts[TEST]):,} to test on.")


def split_by_time(times: Sequence[Any], shares: Mapping[str, float]) -> list[str]:
    """Return the part of each row: the last rows are the test, those before it the validation; equal times go together.

    Only parts in `shares` are split off; the rest is "train".

    Raises:
        DataError: there are no rows, or too many have the same time.
    """
    if not times:
        raise DataError("There are no rows to split by time.")
    ordered, first = sorted(times), {}
    for part in (TEST, VALID):
        if part in shares:
            first[part] = ordered[min(round((1 - shares[part]) * len(ordered)), len(ordered) - 1)]
            ordered = [time for time in ordered if time < first[part]]
            if not ordered:
                raise DataError("Too many rows have the same time to split by it; leave out --time.")
    return [next((part for part, start in first.items() if time >= start), TRAIN) for time in times]


def check_parts(parts: Mapping[str, Iterable[int] | NDArray[np.int64]], labels: Sequence[str], reason: str) -> None:
    """Check that every part has every label.

    Args:
        parts: the indices of the labels of each part, by its name.
        labels: the names of the labels.
        reason: a clause that says what to do.

    Raises:
        DataError: a part lacks labels.
    """
    lacking = {
        part: [labels[index] for index in sorted(set(range(len(labels))) - {int(code) for code in codes})]
        for part, codes in parts.items()
    }
    if any(lacking.values()):
        names = {TRAIN: "The training part", VALID: "the validation part", TEST: "the test"}
        clauses = [
            f"{names.get(part, part)} lacks {list_names(missing)}" for part, missing in lacking.items() if missing
        ]
        sentence = "; ".join(clauses)
        raise DataError(f"{sentence[0].upper()}{sentence[1:]}: {reason}")

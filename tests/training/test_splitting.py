"""The split of a user's own data: nothing is on two sides, and every label is on each."""

from collections import Counter

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch and fastai are not installed: make test-all")
from hypothesis import given, settings
from hypothesis import strategies as st

from training.data import DataError
from training.splitting import (
    PARTS,
    TEST,
    TRAIN,
    VALID,
    check_parts,
    join_rows,
    name_parts,
    split_by_time,
    split_rows,
)

pytestmark = pytest.mark.training
SHARES = {TEST: 0.2, VALID: 0.08}
ROWS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 30), st.integers(0, 12) | st.none()), max_size=120)


@settings(max_examples=60, deadline=None)
@given(ROWS, st.integers(0, 3))
def test_no_key_is_on_two_sides_and_every_row_is_once(rows, seed):
    keys = [[("content", content), *([("group", group)] if group is not None else [])] for _, content, group in rows]
    parts = split_rows([[label] for label, _, _ in rows], keys, SHARES, seed)
    assert len(parts) == len(rows)
    assert set(parts) <= set(PARTS)
    sides = {}
    for row_keys, part in zip(keys, parts, strict=True):
        for key in row_keys:
            assert sides.setdefault(key, part) == part
    assert parts == split_rows([[label] for label, _, _ in rows], keys, SHARES, seed)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(3, 40), min_size=1, max_size=5), st.integers(0, 3))
def test_every_label_has_its_share_of_every_part(counts, seed):
    labels = [label for label, count in enumerate(counts) for _ in range(count)]
    parts = split_rows([[label] for label in labels], [[row] for row in range(len(labels))], SHARES, seed)
    found = Counter(zip(parts, labels, strict=True))
    for label, count in enumerate(counts):
        assert found[TEST, label] == max(1, round(0.2 * count))
        assert found[VALID, label] == max(1, round(0.08 * count))
        assert found[TRAIN, label] >= 1


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(st.integers(1, 30), min_size=3, max_size=8), min_size=1, max_size=4), st.integers(0, 3))
def test_three_groups_of_a_label_are_enough_for_all_parts(sizes, seed):
    rows = [(label, (label, g)) for label, groups in enumerate(sizes) for g, n in enumerate(groups) for _ in range(n)]
    parts = split_rows([[label] for label, _ in rows], [[group] for _, group in rows], SHARES, seed)
    for label in range(len(sizes)):
        assert {part for part, row in zip(parts, rows, strict=True) if row[0] == label} == set(PARTS)


@pytest.mark.parametrize("seed", range(4))
def test_a_part_without_a_label_gets_the_smallest_group_of_it(seed):
    groups = [0] * 6 + [1] * 12 + [2] * 5
    assert (
        split_rows([[0]] * 23, [[group] for group in groups], SHARES, seed) == [TEST] * 6 + [TRAIN] * 12 + [VALID] * 5
    )


def test_rows_are_joined_through_other_rows():
    assert join_rows([["a"], ["b"], ["a", "b"], ["c"], []]) == [[0, 1, 2], [3], [4]]


def test_a_seed_changes_the_split():
    labels, keys = [[0]] * 50, [[row] for row in range(50)]
    assert split_rows(labels, keys, SHARES, 1) != split_rows(labels, keys, SHARES, 2)


def test_the_last_rows_are_the_test_and_equal_times_are_together():
    times = np.random.default_rng(0).permutation(np.repeat(np.arange(25), 4)).tolist()
    parts = split_by_time(times, SHARES)
    by_part = {part: {time for time, of in zip(times, parts, strict=True) if of == part} for part in PARTS}
    assert max(by_part[TRAIN]) < min(by_part[VALID]) <= max(by_part[VALID]) < min(by_part[TEST])
    assert parts.count(TEST) == 20
    with pytest.raises(DataError, match="have the same time"):
        split_by_time([1] * 9 + [2], SHARES)


def test_only_wanted_parts_are_split_off_by_time():
    times = [5, 1, 4, 2, 3, 6, 7, 8, 9, 10]
    assert split_by_time(times, {}) == [TRAIN] * 10
    assert split_by_time(times, {VALID: 0.2}) == [TRAIN] * 8 + [VALID] * 2
    assert split_by_time(times, {TEST: 0.3}) == [TRAIN] * 7 + [TEST] * 3
    with pytest.raises(DataError, match="There are no rows to split by time"):
        split_by_time([], SHARES)


def test_a_label_that_a_part_lacks_is_named():
    parts = {TRAIN: [0, 1, 2], VALID: [0, 1, 2], TEST: [0, 2]}
    with pytest.raises(DataError, match=r"^The test lacks dog: add some"):
        check_parts(parts, ("cat", "dog", "pug"), "add some.")
    check_parts(parts | {TEST: [2, 1, 0]}, ("cat", "dog", "pug"), "add some.")


def test_parts_have_their_usual_names_in_any_case():
    names = {
        TRAIN: ("train", "training", "train_set", "training_set"),
        VALID: ("valid", "val", "validation", "dev", "val_set", "validation_set"),
        TEST: ("test", "testing", "test_set", "testing_set"),
    }
    for part, usual in names.items():
        spelled = (*usual, *map(str.upper, usual), *map(str.title, usual))
        assert name_parts([*spelled, "cat", "trains"]) == dict.fromkeys(spelled, part)

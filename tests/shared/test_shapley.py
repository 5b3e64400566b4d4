"""Shapley values: exact sums, and known answers where theory gives them."""

import numpy as np
import pytest

from shared.shapley import compute_shapley_values


def test_linear_model_has_a_known_answer():
    rng = np.random.default_rng(0)
    background, weights, x = rng.normal(size=(40, 5)), rng.normal(size=5), rng.normal(size=5)

    def value(present, which):
        return np.where(present, x, background[which]) @ weights

    base, contributions = compute_shapley_values(value, players=5, backgrounds=40)
    assert base == pytest.approx((background @ weights).mean())
    np.testing.assert_allclose(contributions, weights * (x - background.mean(axis=0)), atol=1e-12)


def test_adds_up_for_any_model():
    rng = np.random.default_rng(1)
    background, x = rng.normal(size=(7, 4)), rng.normal(size=4)

    def model(rows):
        return np.sin(rows).prod(axis=1) + np.exp(rows[:, 0] * rows[:, 1])

    base, contributions = compute_shapley_values(lambda p, b: model(np.where(p, x, background[b])), 4, 7)
    assert base + contributions.sum() == pytest.approx(model(x[None])[0], abs=1e-12)


def test_interaction_is_shared_equally_and_a_dummy_gets_nothing():
    base, contributions = compute_shapley_values(lambda present, _: (present[:, 0] & present[:, 1]) * 1.0, 3, 200)
    assert base == 0
    assert contributions[2] == 0
    assert contributions[0] == pytest.approx(contributions[1], abs=1e-12)  # antithetic pairs make it exact
    assert contributions.sum() == 1


def test_same_seed_same_values_and_number_of_evaluations():
    rows = []

    def value(present, _):
        rows.append(len(present))
        return present @ np.array([1.0, 2.0, 3.0]) ** 2

    first = compute_shapley_values(value, 3, 10, seed=5)[1]
    np.testing.assert_array_equal(first, compute_shapley_values(value, 3, 10, seed=5)[1])
    assert rows == [2 * 10 * 4] * 2


@pytest.mark.parametrize(("players", "backgrounds"), [(0, 3), (3, 0)])
def test_nothing_to_explain(players, backgrounds):
    with pytest.raises(ValueError, match="at least one"):
        compute_shapley_values(lambda present, _: present.sum(axis=1), players, backgrounds)

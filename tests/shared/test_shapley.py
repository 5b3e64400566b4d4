"""Shapley values: exact sums, and known answers where theory gives them."""

import numpy as np
import pytest

from shared.shapley import (
    average_changes,
    balance_sets,
    choose_sets,
    compute_shapley_values,
    fit_shapley_values,
    list_sets,
    shuffle_players,
)


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


def test_same_values_each_time_and_number_of_evaluations():
    rows = []

    def value(present, _):
        rows.append(len(present))
        return present @ np.array([1.0, 2.0, 3.0]) ** 2

    first = compute_shapley_values(value, 3, 10)[1]
    np.testing.assert_array_equal(first, compute_shapley_values(value, 3, 10)[1])
    assert rows == [2 * 10 * 4] * 2


@pytest.mark.parametrize("players", [2, 3, 11])
def test_each_player_is_in_each_place_equally_often(players):
    orders = shuffle_players(players, 4000)
    assert (np.sort(orders) == np.arange(players)).all()
    shares = (orders[:, :, None] == np.arange(players)).mean(axis=0)
    np.testing.assert_allclose(shares, 1 / players, atol=0.04)  # five standard deviations of 4000 random orders
    assert len(np.unique(orders, axis=0)) == min(4000, {2: 2, 3: 6}.get(players, 4000))


@pytest.mark.parametrize(("players", "backgrounds"), [(0, 3), (3, 0)])
def test_nothing_to_explain(players, backgrounds):
    with pytest.raises(ValueError, match="at least one"):
        compute_shapley_values(lambda present, _: present.sum(axis=1), players, backgrounds)


def to_probability(logits):
    return 1 / (1 + np.exp(-logits))


def test_few_parts_have_exact_values():
    gains = np.random.default_rng(0).uniform(size=32)
    base, contributions = fit_shapley_values(gains[choose_sets(5) @ (1 << np.arange(5))], 5)
    assert base == gains[0]
    np.testing.assert_allclose(contributions, average_changes(gains), atol=1e-12)


def test_exact_values_share_an_interaction():
    together = list_sets(3)[:, :2].all(axis=1) * 1.0
    np.testing.assert_allclose(average_changes(together), [0.5, 0.5, 0], atol=1e-12)


@pytest.mark.parametrize("players", [6, 11, 16])
def test_effects_on_the_logit_are_found_exactly(players):
    effects = np.random.default_rng(players).normal(size=players)
    base, contributions = fit_shapley_values(to_probability(choose_sets(players) @ effects - 1), players)
    assert base == to_probability(-1)
    np.testing.assert_allclose(
        contributions, average_changes(to_probability(list_sets(players) @ effects - 1)), atol=1e-9
    )


@pytest.mark.parametrize("players", range(1, 17))
def test_fitted_values_add_up_for_any_function(players):
    rng, sets = np.random.default_rng(players), choose_sets(players)
    outputs = np.where(rng.uniform(size=len(sets)) < 0.2, 1.0, rng.uniform(size=len(sets)))  # 1.0 has no logit
    base, contributions = fit_shapley_values(outputs, players)
    assert base == outputs[0]
    assert base + contributions.sum() == pytest.approx(outputs[-1], abs=1e-12)


@pytest.mark.parametrize("players", range(1, 17))
def test_the_sets_go_from_no_part_to_all_parts(players):
    sets = choose_sets(players)
    assert len(sets) <= 32
    assert not sets[0].any()
    assert sets[-1].all()
    assert len(np.unique(sets, axis=0)) == len(sets)


@pytest.mark.parametrize("players", range(6, 17))
def test_sets_are_balanced(players):
    signs = np.where(balance_sets(players), 1, -1)
    assert 16 < len(signs) <= 32
    assert len(signs) == len(np.unique(signs, axis=0))
    np.testing.assert_array_equal(signs.T @ signs, len(signs) * np.eye(players))
    assert (np.einsum("si,sj,sk->ijk", signs, signs, signs) == 0).all()  # with all complements


@pytest.mark.parametrize("players", [0, 17])
def test_too_few_or_too_many_parts(players):
    with pytest.raises(ValueError, match="1 to 16 parts"):
        choose_sets(players)


def test_tiny_probabilities_are_explained_exactly_where_the_effects_add_up():
    effects = np.array([3.0, -2.0, 1.0, 0.5, -1.0, 2.0])

    def ask(sets):
        return 1 / (1 + np.exp(12 - sets @ effects))

    base, contributions = fit_shapley_values(ask(choose_sets(6)), 6)
    assert base == pytest.approx(1 / (1 + np.exp(12)))
    assert contributions == pytest.approx(average_changes(ask(list_sets(6))), rel=1e-6)

"""Targets of the tabular recipe: losses, averages and calibration of labels and numbers, and their figures."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: make test-all")
pytest.importorskip("fastai", reason="fastai is not installed: make test-all")

from training.data import TestSet
from training.evaluate import sigmoid
from training.networks.tabular import LabelsEnsemble, NumberEnsemble, labels_loss, number_loss
from training.recipes.tabular import spread_rows
from training.tables.figures import measure_by_group, measure_labels, measure_numbers
from training.tables.rows import Rows
from training.tables.targets import ManyLabels, Number, TwoLabels, choose_target, compute_conformal_quantile

pytestmark = pytest.mark.training
ROWS = torch.zeros(4, 1)


class Constant(torch.nn.Module):
    """A network whose members always compute these outputs, (members, outputs)."""

    def __init__(self, outputs):
        super().__init__()
        self.outputs = torch.tensor(outputs)

    def forward(self, categories, _numbers):
        return self.outputs.expand(len(categories), -1, -1)


def test_the_kind_of_target_follows_from_the_labels():
    assert isinstance(choose_target(("a", "b"), np.array([0, 1])), TwoLabels)
    assert choose_target(("a", "b", "c"), np.array([0, 1])) == ManyLabels(3)
    assert choose_target((), np.array([1.0, 3.0])) == Number(2.0, 1.0)
    assert choose_target((), np.array([3.0, 3.0])).deviation == 1.0  # a constant has none


def test_the_probabilities_of_many_labels_are_averaged():
    members = np.log([[0.7, 0.2, 0.1], [0.1, 0.6, 0.3]])
    ensemble = LabelsEnsemble([Constant(members[:1].tolist()), Constant(members[1:].tolist())])
    found = torch.softmax(ensemble(ROWS, ROWS), 1)
    assert found[0].tolist() == pytest.approx([0.4, 0.4, 0.2], abs=1e-6)
    colder = LabelsEnsemble(list(ensemble.nets), temperature=0.5)(ROWS, ROWS)
    torch.testing.assert_close(colder, ensemble(ROWS, ROWS) * 2)


def test_the_average_of_numbers_is_scaled_back():
    net = Constant([[1.0, np.log(0.5)], [2.0, np.log(1.5)]])  # values and expected errors, in standard deviations
    value, half = NumberEnsemble([net], mean=10.0, deviation=4.0, base=0.25, factor=2.0)(ROWS, ROWS)
    assert value.tolist() == [16.0] * 4
    assert half.tolist() == pytest.approx([9.0] * 4)  # (0.25 + 2 * 1) * 4


def test_the_rows_for_explanations_have_the_mean_output_of_all():
    logits = np.random.default_rng(0).normal(size=3000) ** 3
    found = spread_rows(TwoLabels().sort(logits), 50, seed=0)
    assert len(set(found)) == 50
    assert sigmoid(logits[found]).mean() == pytest.approx(sigmoid(logits).mean(), abs=0.002)
    assert sigmoid(logits[found[:25]]).mean() == pytest.approx(sigmoid(logits).mean(), abs=0.1)  # not the lowest ones
    numbers = np.stack([logits, np.ones(3000)], axis=1)  # with the expected errors
    np.testing.assert_array_equal(spread_rows(Number(0, 1).sort(numbers), 50, seed=0), found)
    assert sorted(spread_rows(TwoLabels().sort(logits[:7]), 50, seed=0)) == list(range(7))


def test_the_rows_for_explanations_have_the_labels_shares():
    logits = np.random.default_rng(0).normal((2, 1, 0), size=(3000, 3))
    found = spread_rows(ManyLabels(3).sort(logits), 50, seed=0)
    shares = [np.bincount(rows.argmax(axis=1)) / len(rows) for rows in (logits, logits[found])]
    np.testing.assert_allclose(shares[1], shares[0], atol=0.02)


def test_losses_of_members():
    logits, y = torch.tensor([[[1.0, 0.0, 2.0], [0.0, 3.0, 1.0]]]), torch.tensor([1])
    each = [torch.nn.functional.cross_entropy(logits[:, i], y) for i in range(2)]
    torch.testing.assert_close(labels_loss(logits, y), sum(each) / 2)
    outputs = torch.tensor([[[1.0, 0.0], [3.0, np.log(2.0)]]], requires_grad=True)
    loss = number_loss(outputs, torch.tensor([2.0]))
    assert loss.item() == pytest.approx(((1 + 0 + 1) + (1 + np.log(2) + 0.5)) / 2)
    (slope,) = torch.autograd.grad(loss, outputs)
    assert slope[0, :, 0].tolist() == [-1.0, 1.0]  # of the squared errors alone


@pytest.mark.parametrize(("count", "rank"), [(9, 9), (10, 10), (19, 18), (99, 90)])
def test_the_conformal_quantile_counts_the_row_to_come(count, rank):
    assert compute_conformal_quantile(np.random.default_rng(0).permutation(np.arange(1.0, count + 1))) == rank


@pytest.mark.parametrize("is_known", [True, False])
def test_intervals_cover_new_rows_and_follow_the_spread_if_that_pays(is_known):
    """Errors of 1 and of 5 deviations, half the rows each, which the networks expect or do not."""
    rng = np.random.default_rng(3)
    size = rng.choice([1.0, 5.0], 4000)
    errors, expected = rng.normal(size=4000) * size, size if is_known else rng.choice([1.0, 5.0], 4000)
    held_out = np.stack([np.zeros(4000), expected], 1)
    calibrated = Number(0.0, 1.0).calibrate([], held_out[:2000], errors[:2000])
    half = calibrated.module.base + calibrated.module.factor * expected[2000:]
    inside = np.abs(errors[2000:]) <= half
    assert inside.mean() == pytest.approx(0.9, abs=0.02)
    assert calibrated.right.mean() == pytest.approx(0.9, abs=0.01)
    narrow = size[2000:] == 1
    if is_known:
        assert inside[narrow].mean() == pytest.approx(0.9, abs=0.03)
        assert half[narrow].mean() == pytest.approx(1.645, rel=0.05)
    else:
        assert np.ptp(half) == 0
    assert ("in proportion" in calibrated.notes[0]) is is_known


def test_the_coverage_of_intervals_is_of_rows_that_did_not_determine_them():
    """The quantile of errors covers the same share of them, whatever they are."""
    shares = set()
    for seed in range(8):
        held_out = np.stack([np.zeros(80), np.ones(80)], 1)
        shares.add(Number(0.0, 1.0).calibrate([], held_out, np.random.default_rng(seed).normal(size=80)).right.mean())
    assert len(shares) > 3
    assert np.mean(list(shares)) == pytest.approx(0.9, abs=0.03)


def test_folds_have_every_label_or_any_numbers():
    table = pd.DataFrame({"age": np.arange(40.0)})
    y = np.repeat([0, 1, 2, 3], 10)
    for _, outside in ManyLabels(4).split(Rows(table, y), 5, 0):
        assert np.bincount(y[outside]).tolist() == [2, 2, 2, 2]
    outside = [rows for _, rows in Number(0, 1).split(Rows(table, y / 3), 5, 0)]
    assert sorted(np.concatenate(outside)) == list(range(40))


def test_folds_do_not_divide_groups():
    table, y, groups = pd.DataFrame({"age": np.arange(60.0)}), np.arange(60) % 3, np.repeat(np.arange(20), 3)
    for target, values in ((ManyLabels(3), y), (TwoLabels(), y % 2), (Number(0, 1), y / 3)):
        parts = target.split(Rows(table, values, groups), 5, 0)
        assert sorted(np.concatenate([outside for _, outside in parts])) == list(range(60))
        assert all(len(outside) == 12 and not {*groups[inside]} & {*groups[outside]} for inside, outside in parts)


def test_folds_do_not_divide_rows_and_their_copies():
    groups = np.append(np.arange(40), np.arange(20))  # half of the rows have a copy
    table, y = pd.DataFrame({"age": groups}), groups % 2
    for target, values in ((ManyLabels(2), y), (TwoLabels(), y), (Number(0, 1), y / 3)):
        parts = target.split(Rows(table, values, groups), 5, 0)
        assert sorted(np.concatenate([outside for _, outside in parts])) == list(range(60))
        assert all(not {*groups[inside]} & {*groups[outside]} for inside, outside in parts)
        if not isinstance(target, Number):
            assert all(np.bincount(y[np.unique(groups[outside])]).tolist() == [4, 4] for _, outside in parts)


def make_answers(*probabilities):
    labels = "abc"
    return [
        SimpleNamespace(label=labels[int(np.argmax(p))], probabilities=dict(zip(labels, p, strict=True)))
        for p in probabilities
    ]


def test_figures_of_many_labels():
    answers = make_answers([0.8, 0.1, 0.1], [0.5, 0.4, 0.1], [0.2, 0.7, 0.1], [0.6, 0.2, 0.2])
    test = TestSet("rows", "test", [{}] * 4, np.array([0, 0, 1, 2]))
    figures = {figure.name: figure for figure in measure_labels(answers, test)}
    assert figures["accuracy"].value == 0.75
    assert figures["balanced_accuracy"].value == pytest.approx(2 / 3, abs=1e-6)
    assert (figures["recall_a"].value, figures["recall_a"].count, figures["recall_c"].value) == (1.0, 2, 0.0)
    assert figures["log_loss"].value == pytest.approx(-np.log([0.8, 0.5, 0.7, 0.2]).mean(), abs=1e-6)
    groups = measure_by_group(answers, test, {"town": ("Ulm", "Bonn", "Ulm", "Ulm")})
    assert [(figure.label, figure.value, figure.count) for figure in groups] == [
        ("accuracy, town: Ulm", pytest.approx(2 / 3, abs=1e-6), 3),
        ("accuracy, town: Bonn", 1.0, 1),
    ]


def test_figures_of_numbers():
    y = np.array([1.0, 2.0, 3.0, 6.0])
    answers = [SimpleNamespace(value=value, low=value - 2, high=value + 2) for value in (1.0, 3.0, 3.0, 3.0)]
    test = TestSet("rows", "test", [{}] * 4, y)
    figures = {figure.name: figure.value for figure in measure_numbers(answers, test)}
    assert figures == {
        "rmse": pytest.approx(np.sqrt(2.5), abs=1e-6), "mae": 1.0, "r2": pytest.approx(1 - 2.5 / y.var(), abs=1e-6),
        "coverage": 0.75, "width": 4.0,
    }  # fmt: skip
    first, second = measure_by_group(answers, test, {"town": ("Ulm", "Bonn", "Ulm", "Ulm")})
    assert (first.label, first.value, second.value, second.interval) == (
        "mean absolute error (lower is better), town: Ulm", 1.0, 1.0, None,
    )  # fmt: skip

"""Figures against answers known from elsewhere."""

from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch and fastai are not installed: make test-all")
from training import evaluate

pytestmark = pytest.mark.training


def test_wilson_interval_against_its_published_example():
    # Newcombe, Statistics in Medicine 17, 1998, table I: 81 of 263 gives 0.2553 to 0.3662.
    assert evaluate.wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert evaluate.wilson_interval(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)


def test_a_calibrated_model_has_an_error_on_few_rows_and_none_on_many():
    rng = np.random.default_rng(0)
    few, many = (evaluate.stack_two_classes(rng.uniform(0, 1, count)) for count in (100, 100_000))
    assert evaluate.simulate_calibration_error(few) > 0.03
    assert evaluate.simulate_calibration_error(many, draws=5) < 0.005
    labels = (rng.random(len(many)) < many[:, 1]).astype(int)
    assert evaluate.expected_calibration_error(many, labels) == pytest.approx(
        evaluate.simulate_calibration_error(many, draws=20), abs=0.003
    )


def test_the_interval_of_a_calibration_error_contains_it():
    rng = np.random.default_rng(0)
    p = evaluate.stack_two_classes(rng.uniform(0, 1, 2000))
    labels = (rng.random(len(p)) < p[:, 1] ** 2).astype(int)  # far from calibrated
    low, high = evaluate.calibration_interval(p, labels, draws=100)
    assert low < evaluate.expected_calibration_error(p, labels) < high
    assert high - low < 0.1


def test_a_peer_is_compared_row_by_row(capsys):
    found = evaluate.compare_with_peer("coin", [1, 0, 1, 0], [1, 1, 1, 0])
    assert (found.peer, found.value, found.difference) == ("coin", 0.5, 0.25)
    assert found.difference_interval[0] < 0.25 < found.difference_interval[1]
    assert "coin: accuracy 0.5000" in capsys.readouterr().out


def test_ece_of_known_cases():
    sure_and_right = np.array([[1.0, 0.0]] * 4)
    assert evaluate.expected_calibration_error(sure_and_right, [0, 0, 0, 0]) == 0
    assert evaluate.expected_calibration_error(sure_and_right, [0, 0, 1, 1]) == 0.5
    honest = np.array([[0.75, 0.25]] * 4)
    assert evaluate.expected_calibration_error(honest, [0, 0, 0, 1]) == pytest.approx(0)
    mixed = np.array([[0.75, 0.25]] * 4 + [[0.02, 0.98]] * 4)
    assert evaluate.expected_calibration_error(mixed, [0, 0, 0, 1, 1, 1, 1, 1]) == pytest.approx(0.01)


def test_bins_compare_what_is_said_with_what_is_right():
    p = np.array([[0.52, 0.48]] * 4 + [[0.02, 0.98]] * 50)
    found = evaluate.measure_bins(p, [0, 0, 0, 1] + [1] * 49 + [0], {"data": "x", "split": "test"}, "texts")
    assert [(each.confidence, each.accuracy, each.count) for each in found.bins] == [(0.52, 0.75, 4), (0.98, 0.98, 50)]
    assert found.bins[0].interval == pytest.approx(evaluate.wilson_interval(3, 4), abs=1e-6)


def test_bins_begin_at_the_least_possible_confidence():
    confidence = np.array([0.25, 0.3249, 0.326, 0.999, 1.0], np.float32)
    assert evaluate.find_bins(confidence, 4).tolist() == [0, 0, 1, 9, 9]
    assert evaluate.find_bins(np.array([0.5, 0.56, 1.0]), 2).tolist() == [0, 1, 9]


def test_bins_of_pixels_have_the_intervals_of_pictures():
    """Pixels of a picture are right and wrong together, so many of them tell little."""
    all_right, all_wrong = (
        evaluate.count_bins(np.full(1000, 0.99), np.full(1000, right), 2) for right in (True, False)
    )
    counts = np.stack([all_right] * 5 + [all_wrong] * 5)
    (found,) = evaluate.describe_bins(counts, {"data": "x", "split": "test"}, "pixels", is_of_pixels=True).bins
    assert (found.accuracy, found.count) == (0.5, 10_000)
    assert found.interval == pytest.approx((0.2, 0.8))


def test_platt_scaling_recovers_a_known_scale_and_bias():
    rng = np.random.default_rng(0)
    true = rng.normal(size=200_000) * 2
    outcomes = rng.random(200_000) < 1 / (1 + np.exp(-true))
    temperature, bias = evaluate.fit_platt((true - 0.5) * 3, outcomes)
    assert temperature == pytest.approx(3, rel=0.03)
    assert bias == pytest.approx(0.5, abs=0.03)


def test_intervals_cover_the_mean():
    values = np.random.default_rng(1).normal(5, 2, 4000)
    low, high = evaluate.mean_interval(values)
    assert (high - low) / 2 == pytest.approx(1.96 * 2 / 4000**0.5, rel=0.05)
    drawn = evaluate.bootstrap_interval(lambda rows: values[rows].mean(), len(values))
    assert drawn == pytest.approx((low, high), abs=0.01)


def test_samples_without_a_value_do_not_count():
    assert evaluate.bootstrap_interval(lambda rows: 0.9 if 3 in rows else np.nan, 4) == (0.9, 0.9)


def test_log_loss():
    assert evaluate.log_losses([0.5, 0.2], [0, 1]) == pytest.approx([np.log(2), np.log(5)])
    assert evaluate.log_losses([1.0, 0.0], [1, 0]) == pytest.approx([0, 0], abs=1e-9)


def test_the_majority_is_a_peer_and_a_better_peer_is_named(capsys):
    y = np.array([1, 1, 1, 0])
    peer = evaluate.compare_with_majority(y, ("cat", "dog"), [0, 1, 1, 0])
    assert (peer.peer, peer.name, peer.value, peer.difference) == ("always answering dog", "accuracy", 0.75, -0.25)
    capsys.readouterr()
    sentence = "Right more often on the test: always answering dog (0.750, against 0.500)."
    assert evaluate.describe_better_peers([peer]) == [sentence]
    assert capsys.readouterr().out == sentence + "\n"
    assert evaluate.describe_better_peers([peer.model_copy(update={"difference": 0.1})]) == []


def test_roots_of_squared_errors_are_compared():
    peer = evaluate.compare_roots("trees", [4.0, 4.0, 4.0], [1.0, 1.0, 1.0], name="rmse", label="error")
    assert (peer.name, peer.value, peer.difference, peer.difference_interval) == ("rmse", 2.0, -1.0, (-1.0, -1.0))
    assert evaluate.describe_better_peers([peer]) == []  # ours is smaller, and so better
    better = evaluate.compare_roots("trees", [1.0, 1.0], [4.0, 4.0], name="rmse", label="error")
    assert evaluate.describe_better_peers([better]) == ["Smaller error on the test: trees (1, against 2)."]


def test_platt_scaling_of_separable_rows_is_not_certain():
    logits = np.array([-3.0, -2.0, 2.0, 3.0] * 5)
    temperature, bias = evaluate.fit_platt(logits, logits > 0)
    assert 0.9 < evaluate.sigmoid(3 / temperature + bias) < 0.99


def test_a_result_is_told_in_numbers():
    def answer(cat, **fields):
        return SimpleNamespace(probabilities={"cat": cat, "dog": 1 - cat}, **fields)

    told = evaluate.describe_counts([answer(0.9), answer(0.2), answer(0.7)], np.array([0, 1, 1]), "rows")
    assert told == "Of 3 test rows, 2 are labelled right and 1 wrong."
    answers = [answer(0.9, in_distribution=False), answer(0.2, in_distribution=True)]
    told = evaluate.describe_counts(answers, np.array([0, 1]), "pictures")
    assert told == (
        "Of 2 test pictures, 2 are labelled right and 0 wrong; 1 of the 2 is rejected as unlike the training data."
    )


def test_temperature_undoes_a_known_one():
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (20_000, 3))
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    labels = (p.cumsum(1) > rng.random((len(p), 1))).argmax(1)
    assert evaluate.fit_temperature(logits * 2.5, labels) == pytest.approx(2.5, rel=0.05)


def test_at_the_temperature_confidence_is_accuracy_and_few_rows_are_no_reason_to_be_certain():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 4000)
    logits = np.eye(2)[labels] + rng.normal(0, 0.15, (4000, 2))  # always right, never sure
    wrong = rng.random(4000) < 0.01
    labels[wrong] = 1 - labels[wrong]

    def confidence(rows):
        scaled = logits[rows] / evaluate.fit_temperature(logits[rows], labels[rows])
        return (np.exp(scaled) / np.exp(scaled).sum(1, keepdims=True)).max(1).mean()

    everything, few = np.arange(4000), np.flatnonzero(~wrong)[:30]
    assert confidence(everything) == pytest.approx((logits.argmax(1) == labels).mean(), abs=0.001)
    assert confidence(few) == pytest.approx(31 / 32, abs=1e-6)


def test_a_share_has_its_own_interval_and_count():
    right = np.array([True] * 81 + [False] * 182)
    found = evaluate.measure_share("accuracy", right, "x", "test", count=1000, label="accuracy")
    assert (found.value, found.count, found.label) == (round(81 / 263, 6), 263, "accuracy")
    assert found.interval == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert found.interval == tuple(round(end, 6) for end in evaluate.wilson_interval(81, 263))


def test_nothing_measured_may_be_any_share():
    assert evaluate.wilson_interval(0, 0) == (0.0, 1.0)


def test_the_interval_of_a_mean_of_few_values():
    # The sample standard deviation of 1, 2 and 3 is 1.
    half = 1.959964 / 3**0.5
    assert evaluate.mean_interval([1, 2, 3]) == pytest.approx((2 - half, 2 + half))


def test_the_calibration_error_has_15_bins():
    # 0.68 and 0.72 are both in the bin from 10/15 to 11/15, so too low and too high a confidence cancel out there.
    p = np.array([[0.68, 0.32]] * 2 + [[0.72, 0.28]] * 2)
    assert evaluate.expected_calibration_error(p, [0, 0, 1, 1]) == pytest.approx(0.2)


def test_the_interval_of_a_calibration_error_is_shifted_back_by_the_bias_of_resampling():
    rng = np.random.default_rng(0)
    p = evaluate.stack_two_classes(rng.uniform(0, 1, 100))
    labels = (rng.random(len(p)) < p[:, 1]).astype(int)
    error = evaluate.expected_calibration_error(p, labels)
    drawn = np.random.default_rng(0)
    rows = [drawn.integers(100, size=100) for _ in range(500)]
    values = [evaluate.expected_calibration_error(p[some], labels[some]) for some in rows]
    assert np.mean(values) > error + 0.01  # the bias
    low, high = np.quantile(values, [0.025, 0.975]) - np.mean(values) + error
    assert evaluate.calibration_interval(p, labels) == pytest.approx((low, high))


def test_the_interval_of_a_calibration_error_does_not_go_below_0():
    p = np.array([[0.75, 0.25]] * 20)
    labels = [0] * 15 + [1] * 5
    assert evaluate.expected_calibration_error(p, labels) == pytest.approx(0)
    low, high = evaluate.calibration_interval(p, labels)
    assert low == 0 < high


def test_a_calibration_error_from_before_is_called_so():
    p, where = np.array([[0.9, 0.1]] * 4), {"data": "x", "split": "test", "count": 4}
    after = evaluate.measure_calibration(p, [0, 0, 0, 1], where)
    before = evaluate.measure_calibration(p, [0, 0, 0, 1], where, before=True)
    assert (after.name, after.label) == ("ece", "expected calibration error")
    assert (before.name, before.label) == ("ece_before", "expected calibration error before calibration")
    assert after.value == before.value == pytest.approx(0.15)


def test_pictures_without_a_confidence_do_not_count_in_its_interval():
    right, other = (evaluate.count_bins(np.full(10, sure), np.ones(10, np.bool_), 2) for sure in (0.99, 0.51))
    found = evaluate.describe_bins(
        np.stack([right, other]), {"data": "x", "split": "test"}, "pixels", is_of_pixels=True
    )
    assert [(one.accuracy, one.interval) for one in found.bins] == [(1.0, (1.0, 1.0))] * 2


def test_a_larger_mean_absolute_error_is_worse():
    peer = evaluate.compare_with_peer("trees", [1.0, 2.0], [2.0, 3.0], name="mae", label="mean absolute error")
    sentence = "Smaller mean absolute error on the test: trees (1.5, against 2.5)."
    assert evaluate.describe_better_peers([peer]) == [sentence]
    worse = evaluate.compare_with_peer("trees", [2.0, 3.0], [1.0, 2.0], name="mae", label="mean absolute error")
    assert evaluate.describe_better_peers([worse]) == []


def test_a_higher_temperature_is_less_sure():
    p = [[0.9, 0.1], [1.0, 0.0]]
    assert evaluate.apply_temperature(p, 2)[0] == pytest.approx([0.75, 0.25])  # 3 to 1, the root of 9 to 1
    assert evaluate.apply_temperature(p, 2)[1, 1] == pytest.approx(1e-6, rel=1e-3)  # not 0
    assert evaluate.apply_temperature(evaluate.apply_temperature(p, 2), 0.5)[0] == pytest.approx(p[0])


def test_the_temperature_has_limits_where_no_confidence_is_the_accuracy():
    certain = np.array([[100.0, 0.0]] * 100)
    assert evaluate.fit_temperature(certain, [1] * 100) == pytest.approx(np.exp(3))
    unsure = np.zeros((100, 2))
    assert evaluate.fit_temperature(unsure, [0] * 100) == pytest.approx(np.exp(-3))


def test_the_logit_of_certainty_is_a_number():
    assert evaluate.logit([0.5, 0.8]) == pytest.approx([0, np.log(4)])
    assert np.isfinite(evaluate.logit([0.0, 1.0])).all()


def test_figures_are_printed_with_what_they_were_measured_on(capsys):
    evaluate.print_figures(
        [
            evaluate.make_figure("accuracy", 0.8123456789, (0.7, 0.9), "x", "test", 1234, label="right answers"),
            evaluate.make_figure("rmse", 2, None, "x", "own test", 5),
        ]
    )
    assert capsys.readouterr().out.splitlines() == [
        "figure         value   95 % interval     measured on",
        "right answers  0.8123  [0.7000, 0.9000]  x, test (1,234)",
        "rmse           2.0000                    x, own test (5)",
    ]


def test_the_last_metric_of_a_learner_is_printed_with_its_interval(capsys):
    learn = SimpleNamespace(
        recorder=SimpleNamespace(values=[[0.9, 0.8, 0.1], [0.7, 0.6, 81 / 263]]),
        dls=SimpleNamespace(valid_ds=range(263)),
    )
    evaluate.print_book("accuracy", learn, 0.83)
    assert capsys.readouterr().out == "accuracy: 0.3080 [0.2553, 0.3662]; the book's: 0.83\n"

"""Calibration, intervals and rejection thresholds."""

import numpy as np
import pytest

from headwater.evaluation import (
    accuracy_interval,
    area_under_roc,
    bootstrap_interval,
    choose_threshold,
    expected_calibration_error,
    fit_rejection,
    fit_temperature,
    label_calibration_errors,
    paired_bootstrap,
    reliability,
    scope_score,
    sigmoid,
    softmax,
    with_rejection,
)


def calibrated_logits(temperature: float, seed: int = 0, size: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    """Logits that become the true probabilities when they are divided by `temperature`."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(0, 1.5, (size, 5)).astype(np.float32)
    probabilities = softmax(logits)
    true = np.array([generator.choice(5, p=row / row.sum()) for row in probabilities.astype(np.float64)])
    return logits * temperature, true


@pytest.mark.parametrize("temperature", [0.3, 1.0, 4.0])
def test_fitted_temperature_finds_the_one_that_distorted_the_logits(temperature: float) -> None:
    logits, true = calibrated_logits(temperature)
    assert fit_temperature(logits, true) == pytest.approx(temperature, rel=0.08)


@pytest.mark.parametrize("temperature", [0.3, 1.0, 4.0])
def test_temperature_of_several_labels_judges_each_label_on_its_own(temperature: float) -> None:
    generator = np.random.default_rng(5)
    logits = generator.normal(-1, 2, (3000, 4)).astype(np.float32)
    true = (generator.random((3000, 4)) < sigmoid(logits)).astype(np.float32)
    assert fit_temperature(logits * temperature, true) == pytest.approx(temperature, rel=0.08)


def test_temperature_stays_within_its_bounds_where_the_data_sets_none() -> None:
    separated = np.array([[5.0, -5.0], [-5.0, 5.0]], np.float32)
    assert fit_temperature(separated, (separated > 0).astype(np.float32)) == pytest.approx(0.05)
    assert fit_temperature(separated, (separated < 0).astype(np.float32)) == pytest.approx(20)


def test_temperature_mends_calibration_and_changes_no_prediction() -> None:
    logits, true = calibrated_logits(4.0)
    fitted = fit_temperature(logits, true)
    errors = []
    for used in (1.0, fitted):
        probabilities = softmax(logits, used)
        assert (probabilities.argmax(1) == logits.argmax(1)).all()
        errors.append(expected_calibration_error(probabilities.max(1), probabilities.argmax(1) == true))
    assert errors[0] > 0.2
    assert errors[1] < 0.03


def test_rejection_level_raises_only_what_lies_below_it() -> None:
    logits = np.array([[3.0, 1.0, -50.0], [3.0, 1.0, 40.0]], np.float32)
    raised = with_rejection(logits, 2, 2.0)
    assert raised[:, :2].tolist() == logits[:, :2].tolist()
    assert raised[:, 2] == pytest.approx([2.0, 40.0])
    assert with_rejection(np.array([[0.0, 2.0]], np.float32), 1, 2.0)[0, 1] == pytest.approx(2 + np.log(2))
    assert logits[0, 2] == -50.0


def test_fitted_rejection_tells_far_texts_from_near_ones_where_softmax_cannot() -> None:
    # Every text favours one class by the same distance; only in-scope texts are near that class.
    generator = np.random.default_rng(0)
    true = np.repeat([0, 1, 2, 3], 500)
    inside = true != 3
    logits = generator.normal(0, 0.5, (2000, 4)).astype(np.float32)
    logits[np.arange(2000), np.where(inside, true, generator.integers(0, 3, 2000))] += 6
    logits[~inside] -= 5
    logits[:, 3] -= 4  # the out-of-scope class itself has learnt nothing
    areas = []
    level, temperature = fit_rejection(logits, true, 3)
    for used in (logits, with_rejection(logits, 3, level)):
        probabilities = softmax(used, temperature)
        areas.append(area_under_roc(probabilities[:, :3].max(1), inside))
    assert areas[0] < 0.7
    assert areas[1] > 0.99
    assert 1.5 < level < 5.5  # between the best logits of the two kinds, 1 and 6
    kept = probabilities.argmax(1)
    assert expected_calibration_error(probabilities.max(1), kept == true) < 0.02


def test_calibration_error_worked_out_by_hand() -> None:
    # Two bins: four predictions at .9, half of them right (off by .4); one at .5, right (off by .5).
    confidence = np.array([0.9, 0.9, 0.9, 0.9, 0.5])
    correct = np.array([True, True, False, False, True])
    assert expected_calibration_error(confidence, correct) == pytest.approx((4 * 0.4 + 1 * 0.5) / 5)
    assert [(b.count, b.accuracy) for b in reliability(confidence, correct)] == [(1, 1.0), (4, 0.5)]
    assert expected_calibration_error(np.array([1.0, 1.0]), np.array([True, True])) == 0.0
    assert expected_calibration_error(np.array([]), np.array([], bool)) == 0.0


def test_calibration_error_of_each_label_worked_out_by_hand() -> None:
    probabilities = np.array([[0.9, 0.2]] * 4)
    true = np.array([[1, 0], [1, 0], [0, 0], [0, 1]])
    assert label_calibration_errors(probabilities, true) == pytest.approx([0.9 - 0.5, 0.25 - 0.2])


def test_softmax_and_sigmoid_stay_finite_at_the_extremes() -> None:
    rows = softmax(np.array([[1e4, 0.0, -1e4]], np.float32))
    assert rows.tolist() == [[1.0, 0.0, 0.0]]
    assert softmax(np.array([[1.0, 3.0]], np.float32), 2.0)[0, 1] == pytest.approx(1 / (1 + np.exp(-1)))
    assert sigmoid(np.array([-1e4, 0.0, 1e4], np.float32)).tolist() == pytest.approx([0.0, 0.5, 1.0])
    assert sigmoid(np.array([3.0], np.float32), 3.0)[0] == pytest.approx(1 / (1 + np.exp(-1)))


def test_bootstrap_interval_has_the_width_that_theory_gives() -> None:
    values = (np.random.default_rng(0).random(2000) < 0.8).astype(float)
    interval = bootstrap_interval(values)
    deviation = np.sqrt(values.mean() * (1 - values.mean()) / len(values))
    assert interval.value == values.mean()
    assert interval.high - interval.low == pytest.approx(2 * 1.96 * deviation, rel=0.1)
    assert bootstrap_interval(values) == interval
    assert bootstrap_interval(values, seed=1) != interval


def test_interval_covers_the_truth_about_as_often_as_it_claims() -> None:
    generator = np.random.default_rng(1)
    covered = 0
    for _ in range(200):
        interval = bootstrap_interval((generator.random(150) < 0.7).astype(float), resamples=200)
        covered += interval.low <= 0.7 <= interval.high
    assert 178 <= covered <= 199


def test_all_right_answers_are_no_certainty() -> None:
    """The figures are Wilson's interval as statsmodels computes it."""
    perfect, failed = accuracy_interval(np.ones(20, bool)), accuracy_interval(np.zeros(20, bool))
    assert (perfect.value, perfect.high) == (1.0, 1.0)
    assert perfect.low == pytest.approx(0.83887, abs=1e-5)
    assert (failed.value, failed.low) == (0.0, 0.0)
    assert failed.high == pytest.approx(0.16113, abs=1e-5)
    assert accuracy_interval(np.ones(200, bool)).low > 0.98
    assert accuracy_interval(np.ones(20)) == perfect  # scores between 0 and 1, such as nDCG


def test_accuracy_between_the_ends_has_its_bootstrap_interval() -> None:
    right = np.arange(50) % 5 > 0
    assert accuracy_interval(right) == bootstrap_interval(right.astype(float))


def test_interval_of_any_statistic_uses_resampled_rows() -> None:
    values = np.arange(100.0)
    interval = bootstrap_interval(values, lambda rows: float(np.median(values[rows])))
    assert interval.value == 49.5
    assert interval.low < 49.5 < interval.high


def test_pairing_sees_a_difference_that_two_separate_intervals_hide() -> None:
    generator = np.random.default_rng(2)
    second = (generator.random(600) < 0.8).astype(float)
    first = second.copy()
    first[np.flatnonzero(second == 0)[:18]] = 1.0
    paired = paired_bootstrap(first, second)
    assert paired.value == pytest.approx(18 / 600)
    assert paired.low > 0
    assert bootstrap_interval(first).low < bootstrap_interval(second).high
    assert paired_bootstrap(second, first).high < 0


def test_area_under_roc_agrees_with_scikit_learn_also_with_ties() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    generator = np.random.default_rng(3)
    for _ in range(20):
        positive = generator.random(200) < 0.4
        scores = np.round(generator.normal(positive, 1.0), 1)
        assert area_under_roc(scores, positive) == pytest.approx(metrics.roc_auc_score(positive, scores))
    assert area_under_roc(np.array([0.1, 0.9]), np.array([True, True])) == 0.5


def test_scope_score_worked_out_by_hand() -> None:
    scores = np.array([0.9, 0.8, 0.3, 0.7, 0.6, 0.1, 0.2])
    right = np.array([True, False, True, True, False, False, False])
    in_scope = np.array([True, True, True, True, False, False, False])
    found = scope_score(scores, right, in_scope, 0.5)
    assert found.in_scope_accuracy == 2 / 4  # the third is right but rejected, the second misread
    assert found.out_of_scope_recall == pytest.approx(2 / 3)
    assert found.out_of_scope_precision == pytest.approx(2 / 3)
    assert scope_score(scores, right, in_scope, 0.3).in_scope_accuracy == 3 / 4  # a score at the threshold is accepted


def test_threshold_is_the_best_that_costs_no_more_than_allowed() -> None:
    generator = np.random.default_rng(4)
    in_scope = np.arange(1000) < 800
    scores = np.clip(np.where(in_scope, generator.normal(0.85, 0.1, 1000), generator.normal(0.4, 0.15, 1000)), 0, 1)
    right = in_scope & (generator.random(1000) < 0.95)
    free = scope_score(scores, right, in_scope, 0.0)
    chosen = scope_score(scores, right, in_scope, choose_threshold(scores, right, in_scope, 0.01))
    assert chosen.in_scope_accuracy >= free.in_scope_accuracy - 0.01
    assert chosen.out_of_scope_recall > 0.9
    allowed = [
        score
        for threshold in scores
        if (score := scope_score(scores, right, in_scope, threshold)).in_scope_accuracy >= free.in_scope_accuracy - 0.01
    ]
    best = max(score.in_scope_accuracy + score.out_of_scope_recall for score in allowed)
    assert chosen.in_scope_accuracy + chosen.out_of_scope_recall == pytest.approx(best)
    generous = scope_score(scores, right, in_scope, choose_threshold(scores, right, in_scope, 0.05))
    assert generous.out_of_scope_recall >= chosen.out_of_scope_recall


def test_without_out_of_scope_examples_nothing_is_rejected() -> None:
    assert choose_threshold(np.array([0.2, 0.9]), np.array([True, True]), np.array([True, True])) == 0.0

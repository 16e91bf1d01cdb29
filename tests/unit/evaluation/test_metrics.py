"""Metrics against scikit-learn and values worked out by hand."""

import math

import numpy as np
import pytest

from headwater.data import LabelSpace
from headwater.errors import HeadwaterError
from headwater.evaluation import (
    bootstrap_interval,
    classification_report,
    confident_label_mistakes,
    confident_mistakes,
    f1_intervals,
    metric_value,
    mrr_at_k,
    ndcg_at_k,
    per_query,
    recall_at_k,
)

sklearn = pytest.importorskip("sklearn.metrics")
NAMES = ("address", "refund", "tracking", "never predicted", "never seen")
SEVERAL = LabelSpace(("a", "b", "c"), multi_label=True)


def drawn(seed: int = 0, size: int = 400) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    true = generator.integers(0, 4, size)
    predicted = np.where(generator.random(size) < 0.7, true, generator.integers(0, 3, size))
    return true, np.where(predicted == 3, 0, predicted)


def drawn_labels() -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(3)
    true = (generator.random((300, 3)) < 0.3).astype(int)
    return true, np.where(generator.random((300, 3)) < 0.85, true, 1 - true)


def test_report_agrees_with_scikit_learn_class_by_class() -> None:
    true, predicted = drawn()
    report = classification_report(true, predicted, LabelSpace(NAMES))
    expected = sklearn.precision_recall_fscore_support(true, predicted, labels=range(5), zero_division=0)
    for number, name in enumerate(NAMES):
        score = report.per_class[name]
        assert [score.precision, score.recall, score.f1, score.support] == pytest.approx([e[number] for e in expected])
    assert report.accuracy == pytest.approx(sklearn.accuracy_score(true, predicted))
    assert report.confusion == sklearn.confusion_matrix(true, predicted, labels=range(5)).tolist()


@pytest.mark.parametrize("average", ["micro", "macro", "weighted"])
def test_averages_agree_with_scikit_learn_over_the_classes_that_occur(average: str) -> None:
    true, predicted = drawn(1)
    report = classification_report(true, predicted, LabelSpace(NAMES))
    expected = sklearn.precision_recall_fscore_support(true, predicted, average=average, zero_division=0)
    score = getattr(report, average)
    assert [score.precision, score.recall, score.f1] == pytest.approx(expected[:3])
    assert report.to_json()[f"{average}_f1"] == pytest.approx(expected[2])


def test_single_metrics_are_those_of_the_report() -> None:
    true, predicted = drawn(2)
    space = LabelSpace(NAMES)
    assert metric_value("accuracy", true, predicted, space) == pytest.approx(sklearn.accuracy_score(true, predicted))
    assert metric_value("micro_f1", true, predicted, space) == metric_value("accuracy", true, predicted, space)
    expected = sklearn.f1_score(true, predicted, average="macro")
    assert metric_value("macro_f1", true, predicted, space) == pytest.approx(expected)
    several = drawn_labels()
    for metric in ("micro_f1", "macro_f1"):
        expected = sklearn.f1_score(*several, average=metric[:5])
        assert metric_value(metric, *several, SEVERAL) == pytest.approx(expected)
    assert metric_value("accuracy", *several, SEVERAL) == pytest.approx(sklearn.accuracy_score(*several))


def test_intervals_of_f1_are_those_of_resampled_reports() -> None:
    true, predicted = drawn_labels()
    averages, by_class = f1_intervals(true, predicted, SEVERAL, resamples=100)

    def of_report(*path: str) -> tuple[float, float]:
        def value(rows: np.ndarray) -> float:
            found: object = classification_report(true[rows], predicted[rows], SEVERAL)
            for name in path:
                found = found[name] if isinstance(found, dict) else getattr(found, name)
            return float(found)  # type: ignore[arg-type]

        interval = bootstrap_interval(np.zeros(len(true)), value, resamples=100)
        return pytest.approx((interval.value, interval.low, interval.high))

    for name, average in (("micro_f1", "micro"), ("macro_f1", "macro")):
        assert tuple(averages[name].__dict__.values()) == of_report(average, "f1")
    for name in SEVERAL.names:
        assert tuple(by_class[name].__dict__.values()) == of_report("per_class", name, "f1")


def test_perfect_f1_of_few_texts_is_no_certainty() -> None:
    true = np.array([0] * 5 + [1] * 15)
    averages, by_class = f1_intervals(true, true, LabelSpace(("a", "b", "never seen")))
    share = 5 / (5 + 1.959964**2)  # the least share of five right answers, after Wilson; F1 is 2s / (1 + s) of it
    assert by_class["a"].low == pytest.approx(2 * share / (1 + share))
    assert by_class["a"].low < by_class["b"].low < by_class["b"].high == 1.0
    assert averages["micro_f1"].low == averages["macro_f1"].low == pytest.approx(0.83887, abs=1e-5)
    assert set(by_class) == {"a", "b"}


def test_rare_class_has_an_interval_although_most_resamples_lack_it() -> None:
    true, predicted = np.zeros((2, 60), int)
    true[:2] = predicted[1:3] = 1
    found = f1_intervals(true, predicted, LabelSpace(("a", "b")))[1]["b"]
    assert (found.value, found.low, found.high) == (0.5, 0.0, 1.0)


def test_texts_without_labels_that_are_given_none_have_no_class_to_score() -> None:
    none = np.zeros((4, 3), int)
    averages, by_class = f1_intervals(none, none, SEVERAL)
    assert by_class == {}
    assert averages["micro_f1"].value == averages["macro_f1"].value == 0.0


def test_multi_label_report_agrees_with_scikit_learn() -> None:
    true, predicted = drawn_labels()
    report = classification_report(true, predicted, SEVERAL)
    for average in ("micro", "macro", "weighted"):
        expected = sklearn.precision_recall_fscore_support(true, predicted, average=average)
        score = getattr(report, average)
        assert [score.precision, score.recall, score.f1] == pytest.approx(expected[:3])
    assert report.accuracy == pytest.approx(sklearn.accuracy_score(true, predicted))
    assert report.confusion == []


def test_predictions_that_do_not_fit_are_refused() -> None:
    with pytest.raises(HeadwaterError, match="3 true and 2 predicted labels cannot be compared"):
        classification_report(np.zeros(3, int), np.zeros(2, int), LabelSpace(("a", "b")))
    with pytest.raises(HeadwaterError, match="0 true and 0 predicted"):
        classification_report(np.zeros(0, int), np.zeros(0, int), LabelSpace(("a", "b")))


def test_confident_mistakes_come_first_and_right_answers_never() -> None:
    probabilities = np.array([[0.9, 0.1], [0.2, 0.8], [0.4, 0.6], [0.3, 0.7]], np.float32)
    mistakes = confident_mistakes(np.array([1, 1, 0, 0]), probabilities, LabelSpace(("a", "b")))
    assert [(m.index, m.true, m.predicted) for m in mistakes] == [(0, "b", "a"), (3, "a", "b"), (2, "a", "b")]
    assert mistakes[0].probability == pytest.approx(0.9)
    assert len(confident_mistakes(np.array([1, 1, 0, 0]), probabilities, LabelSpace(("a", "b")), count=2)) == 2


def test_surest_wrong_label_comes_first_whether_said_or_missing() -> None:
    true = np.array([[1, 0, 0], [1, 1, 0], [0, 0, 0], [1, 0, 1]])
    probabilities = np.array([[0.9, 0.1, 0.2], [0.9, 0.4, 0.1], [0.2, 0.7, 0.6], [0.05, 0.1, 0.9]], np.float32)
    predicted = (probabilities >= 0.5).astype(int)
    mistakes = confident_label_mistakes(true, probabilities, predicted, SEVERAL)
    assert [(m.index, m.true, m.predicted) for m in mistakes] == [
        (3, "a + c", "c"),  # "a" is missing at .05
        (2, "none", "b + c"),  # "b" is said at .7
        (1, "a + b", "a"),
    ]
    assert [m.probability for m in mistakes] == pytest.approx([0.95, 0.7, 0.6])
    assert len(confident_label_mistakes(true, probabilities, predicted, SEVERAL, count=1)) == 1


def test_ndcg_of_a_ranking_worked_out_by_hand() -> None:
    ideal = 1 + 1 / math.log2(3)
    assert ndcg_at_k(["x", "a", "y", "b"], {"a", "b"}, 10) == pytest.approx(
        (1 / math.log2(3) + 1 / math.log2(5)) / ideal
    )
    assert ndcg_at_k(["a", "b"], {"a", "b"}) == 1.0
    assert ndcg_at_k(["x", "y", "a"], {"a"}, 2) == 0.0
    assert ndcg_at_k(["a"], set()) == 0.0
    # Ten relevant items and room for two: the best possible ranking still scores 1.
    assert ndcg_at_k(["0", "1"], {str(n) for n in range(10)}, 2) == pytest.approx(1.0)


def test_ndcg_agrees_with_scikit_learn() -> None:
    generator = np.random.default_rng(4)
    for _ in range(50):
        order = [str(n) for n in generator.permutation(30)]
        relevant = {str(n) for n in generator.choice(30, 4, replace=False)}
        gains = [[float(item in relevant) for item in order]]
        assert ndcg_at_k(order, relevant, 10) == pytest.approx(
            sklearn.ndcg_score(gains, [list(range(30, 0, -1))], k=10)
        )


def test_recall_and_reciprocal_rank_worked_out_by_hand() -> None:
    ranked = ["x", "a", "y", "b"]
    assert recall_at_k(ranked, {"a", "b", "c"}, 2) == pytest.approx(1 / 3)
    assert recall_at_k(ranked, {"a", "b", "c"}, 4) == pytest.approx(2 / 3)
    assert recall_at_k(ranked, set(), 4) == 0.0
    assert mrr_at_k(ranked, {"b", "a"}, 4) == 0.5
    assert mrr_at_k(ranked, {"b"}, 3) == 0.0
    values = per_query("mrr", {"q1": ranked, "q2": ranked}, {"q1": {"x"}, "q2": {"y"}}, 4)
    assert values.tolist() == pytest.approx([1.0, 1 / 3])

"""Metrics against scikit-learn and values worked out by hand."""

import math

import numpy as np
import pytest

from headwater.data import LabelSpace
from headwater.errors import HeadwaterError
from headwater.evaluation import (
    classification_report,
    confident_mistakes,
    macro_f1,
    mrr_at_k,
    ndcg_at_k,
    per_query,
    recall_at_k,
)

sklearn = pytest.importorskip("sklearn.metrics")
NAMES = ("address", "refund", "tracking", "never predicted", "never seen")


def drawn(seed: int = 0, size: int = 400) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    true = generator.integers(0, 4, size)
    predicted = np.where(generator.random(size) < 0.7, true, generator.integers(0, 3, size))
    return true, np.where(predicted == 3, 0, predicted)


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


def test_quick_macro_f1_is_that_of_the_report() -> None:
    true, predicted = drawn(2)
    report = classification_report(true, predicted, LabelSpace(NAMES))
    assert macro_f1(true, predicted, 5) == pytest.approx(report.macro_f1)
    assert macro_f1(true, predicted, 5) == pytest.approx(sklearn.f1_score(true, predicted, average="macro"))


def test_multi_label_report_agrees_with_scikit_learn() -> None:
    generator = np.random.default_rng(3)
    true = (generator.random((300, 3)) < 0.3).astype(int)
    predicted = np.where(generator.random((300, 3)) < 0.85, true, 1 - true)
    report = classification_report(true, predicted, LabelSpace(("a", "b", "c"), multi_label=True))
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

"""The threshold of each label of a multi-label classifier, chosen on validation."""

import numpy as np
import pytest

from headwater.evaluation import choose_label_thresholds


def f1(true: np.ndarray, said: np.ndarray) -> float:
    return float(2 * (true & said).sum() / (true.sum() + said.sum()))


def test_each_label_takes_the_threshold_with_its_best_f1() -> None:
    generator = np.random.default_rng(0)
    true = generator.random((200, 3)) < (0.5, 0.2, 0.1)
    scores = np.clip(np.where(true, (0.8, 0.5, 0.3), (0.4, 0.2, 0.1)) + generator.normal(0, 0.15, (200, 3)), 0, 1)
    thresholds = choose_label_thresholds(scores, true)
    for label in range(3):
        best = max(f1(true[:, label], scores[:, label] >= cut) for cut in scores[:, label])
        assert f1(true[:, label], scores[:, label] >= thresholds[label]) == pytest.approx(best)
    assert thresholds[0] > thresholds[1] > thresholds[2]


@pytest.mark.parametrize(("positives", "threshold"), [(0, 0.6), (4, 0.6), (5, 0.1)])
def test_label_with_few_positives_takes_the_threshold_of_all_labels(positives: int, threshold: float) -> None:
    """The second label is learnt the wrong way round: its own best is to be said always, that of all lies at .6."""
    true = np.zeros((40, 2), int)
    true[:20, 0] = 1
    true[:positives, 1] = 1
    scores = np.where(true, (0.9, 0.2), (0.1, 0.3))
    assert choose_label_thresholds(scores, true) == pytest.approx([0.5, threshold])


def test_equal_scores_are_not_told_apart() -> None:
    # Six positives: three alone at .8, three among six texts at .6. A cut inside of those would look perfect.
    scores = np.array([0.8] * 3 + [0.6] * 6 + [0.2] * 4)[:, None]
    true = np.array([1] * 6 + [0] * 7)[:, None]
    assert choose_label_thresholds(scores, true)[0] == pytest.approx(0.4)
    # Where all are equal the label is said of all texts or of none, and none would score 0.
    assert (np.full(10, 0.3) >= choose_label_thresholds(np.full((10, 1), 0.3), true[:10])[0]).all()


def test_of_equally_good_thresholds_the_one_nearest_to_a_half_is_taken() -> None:
    # Three of six positives at the top, or four with two texts that are none: F1 is 2/3 both times.
    scores = np.array([0.95] * 3 + [0.9, 0.9, 0.6] + [0.1] * 9)[:, None]
    true = np.array([1, 1, 1, 0, 0, 1] + [0] * 7 + [1, 1])[:, None]
    assert choose_label_thresholds(scores, true)[0] == pytest.approx(0.35)


def test_without_any_positive_text_the_thresholds_are_one_half() -> None:
    assert choose_label_thresholds(np.full((3, 2), 0.9), np.zeros((3, 2))).tolist() == [0.5, 0.5]

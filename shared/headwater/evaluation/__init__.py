"""Metrics, calibration and intervals, on numpy alone."""

from headwater.evaluation.calibration import (
    expected_calibration_error,
    fit_rejection,
    fit_temperature,
    label_calibration_errors,
    reliability,
    sigmoid,
    softmax,
    with_rejection,
)
from headwater.evaluation.classification import (
    ClassificationReport,
    ClassScore,
    classification_report,
    confident_label_mistakes,
    confident_mistakes,
    f1_intervals,
    metric_value,
)
from headwater.evaluation.intervals import Interval, accuracy_interval, bootstrap_interval, paired_bootstrap
from headwater.evaluation.out_of_scope import ScopeScore, area_under_roc, choose_threshold, scope_score
from headwater.evaluation.retrieval import mrr_at_k, ndcg_at_k, per_query, recall_at_k
from headwater.evaluation.thresholds import choose_label_thresholds

__all__ = [
    "ClassScore",
    "ClassificationReport",
    "Interval",
    "ScopeScore",
    "accuracy_interval",
    "area_under_roc",
    "bootstrap_interval",
    "choose_label_thresholds",
    "choose_threshold",
    "classification_report",
    "confident_label_mistakes",
    "confident_mistakes",
    "expected_calibration_error",
    "f1_intervals",
    "fit_rejection",
    "fit_temperature",
    "label_calibration_errors",
    "metric_value",
    "mrr_at_k",
    "ndcg_at_k",
    "paired_bootstrap",
    "per_query",
    "recall_at_k",
    "reliability",
    "scope_score",
    "sigmoid",
    "softmax",
    "with_rejection",
]

"""Metrics, calibration and intervals, on numpy alone."""

from headwater.evaluation.calibration import (
    expected_calibration_error,
    fit_rejection,
    fit_temperature,
    reliability,
    sigmoid,
    softmax,
    with_rejection,
)
from headwater.evaluation.classification import (
    ClassificationReport,
    ClassScore,
    classification_report,
    confident_mistakes,
    macro_f1,
)
from headwater.evaluation.intervals import Interval, bootstrap_interval, paired_bootstrap
from headwater.evaluation.out_of_scope import ScopeScore, area_under_roc, choose_threshold, scope_score
from headwater.evaluation.retrieval import mrr_at_k, ndcg_at_k, per_query, recall_at_k

__all__ = [
    "ClassScore",
    "ClassificationReport",
    "Interval",
    "ScopeScore",
    "area_under_roc",
    "bootstrap_interval",
    "choose_threshold",
    "classification_report",
    "confident_mistakes",
    "expected_calibration_error",
    "fit_rejection",
    "fit_temperature",
    "macro_f1",
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

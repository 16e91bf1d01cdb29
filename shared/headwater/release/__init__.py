"""Scores, the gate, promotion and rollback (torch-free)."""

from headwater.release.gate import Verdict, judge
from headwater.release.promote import follow, promote, rollback
from headwater.release.ranking import score_encoder
from headwater.release.scoring import predict, score_classifier

__all__ = ["Verdict", "follow", "judge", "predict", "promote", "rollback", "score_classifier", "score_encoder"]

"""How well a model has forgotten: pure functions of arrays, and the same as `evaluate` modules."""

from __future__ import annotations

from .forgetting_shares import ForgettingShares, forgetting_shares
from .judge import judge_model
from .loading import METRICS, load, metric_path
from .loss_auc import loss_auc
from .membership_inference import membership_inference
from .per_example import PerExample, per_example
from .retraining_distance import retraining_distance
from .summary import unlearning_report
from .ulira import ULiRA, ulira
from .unlearning_accuracy import unlearning_accuracy


__all__ = [
    "METRICS",
    "ForgettingShares",
    "PerExample",
    "ULiRA",
    "forgetting_shares",
    "judge_model",
    "load",
    "loss_auc",
    "membership_inference",
    "metric_path",
    "per_example",
    "retraining_distance",
    "ulira",
    "unlearning_accuracy",
    "unlearning_report",
]

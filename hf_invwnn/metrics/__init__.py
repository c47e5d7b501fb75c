"""Unlearning metrics as functions of arrays and as `evaluate` modules, and a catalogue that describes them."""

from __future__ import annotations

from .catalogue import METRICS, MODELS, Metric
from .forgetting_shares import ForgettingShares, forgetting_shares
from .intervals import Interval, share_interval
from .klom import KLoM, klom, margins
from .loading import MODULES, load, metric_path
from .loss_auc import loss_auc
from .membership_inference import membership_inference
from .per_example import PerExample, per_example
from .retraining_distance import retraining_distance
from .summary import unlearning_metrics
from .ulira import ULiRA, ulira
from .unlearning_accuracy import ua, unlearning_accuracy


__all__ = [
    "METRICS",
    "MODELS",
    "MODULES",
    "ForgettingShares",
    "Interval",
    "KLoM",
    "Metric",
    "PerExample",
    "ULiRA",
    "forgetting_shares",
    "klom",
    "load",
    "loss_auc",
    "margins",
    "membership_inference",
    "metric_path",
    "per_example",
    "retraining_distance",
    "share_interval",
    "ua",
    "ulira",
    "unlearning_accuracy",
    "unlearning_metrics",
]

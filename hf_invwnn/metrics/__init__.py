"""Unlearning metrics as functions of arrays and as `evaluate` modules, and a catalogue that describes them."""

from __future__ import annotations

from .catalogue import METRICS, MODELS, Metric
from .extraction import common_prefix, exact_match, extracted_share, extraction_strength
from .forgetting_shares import ForgettingShares, forgetting_shares
from .intervals import Interval, share_interval
from .klom import KLoM, klom, margins
from .loading import MODULES, load, metric_path
from .loss_auc import loss_auc
from .membership_inference import membership_inference
from .min_k import min_k, min_k_plus_plus
from .per_example import PerExample, per_example
from .retraining_distance import retraining_distance
from .rouge_l import RougeL, rouge_l
from .summary import unlearning_metrics
from .token_log_probs import answer_log_probs, answer_loss, answer_probability, perplexity
from .truth_ratio import forget_truth_ratio, retain_truth_ratio, truth_ratio
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
    "RougeL",
    "ULiRA",
    "answer_log_probs",
    "answer_loss",
    "answer_probability",
    "common_prefix",
    "exact_match",
    "extracted_share",
    "extraction_strength",
    "forget_truth_ratio",
    "forgetting_shares",
    "klom",
    "load",
    "loss_auc",
    "margins",
    "membership_inference",
    "metric_path",
    "min_k",
    "min_k_plus_plus",
    "per_example",
    "perplexity",
    "retain_truth_ratio",
    "retraining_distance",
    "rouge_l",
    "share_interval",
    "truth_ratio",
    "ua",
    "ulira",
    "unlearning_accuracy",
    "unlearning_metrics",
]

"""Evaluation after unlearning: two models side by side, relearning, rounding, probes, and a run's results."""

from .left_behind import left_behind
from .pair import evaluate_pair, evaluation_table
from .probe import features_of, probes
from .quantization import changed_buckets, quantized
from .relearning import Relearning, relearn
from .save_run import save_run
from .weight_space import barrier, weight_distance


__all__ = [
    "Relearning",
    "barrier",
    "changed_buckets",
    "evaluate_pair",
    "evaluation_table",
    "features_of",
    "left_behind",
    "probes",
    "quantized",
    "relearn",
    "save_run",
    "weight_distance",
]

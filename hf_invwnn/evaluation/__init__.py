"""Evaluation after unlearning: two models side by side, relearning, rounding, and the results of a run."""

from .pair import evaluate_pair, evaluation_table
from .quantization import changed_buckets, quantized
from .relearning import Relearning, relearn
from .save_run import save_run


__all__ = [
    "Relearning",
    "changed_buckets",
    "evaluate_pair",
    "evaluation_table",
    "quantized",
    "relearn",
    "save_run",
]

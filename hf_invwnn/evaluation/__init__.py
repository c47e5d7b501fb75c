"""Evaluation after unlearning: two models side by side, relearning, and the results of a run."""

from .pair import evaluate_pair, evaluation_table
from .relearning import Relearning, relearn
from .save_run import save_run


__all__ = ["Relearning", "evaluate_pair", "evaluation_table", "relearn", "save_run"]

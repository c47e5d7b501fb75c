"""Evaluation of models after unlearning: side by side, by relearning, and everything that is saved after a run."""

from .pair import evaluate_pair, evaluation_table
from .relearning import Relearning, relearn
from .save_run import save_run


__all__ = ["Relearning", "evaluate_pair", "evaluation_table", "relearn", "save_run"]

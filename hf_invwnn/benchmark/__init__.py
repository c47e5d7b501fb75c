"""Benchmark: every method from the same starting points, each with its own sweep, compared at equal forgetting."""

from .compare import compare, finished_results
from .equal_forgetting import at_ua
from .runs import Run, build_unlearner, evaluate_start, unlearned_folder
from .settings import ComparisonSettings, MethodSweep, read_settings
from .starting_point import StartingPoint, prepare_start
from .tables import write_comparison


__all__ = [
    "ComparisonSettings",
    "MethodSweep",
    "Run",
    "StartingPoint",
    "at_ua",
    "build_unlearner",
    "evaluate_start",
    "finished_results",
    "compare",
    "prepare_start",
    "read_settings",
    "unlearned_folder",
    "write_comparison",
]

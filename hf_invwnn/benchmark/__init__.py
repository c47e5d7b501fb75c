"""Benchmark: every method from the same starting points, each with its own sweep, compared at equal forgetting."""

from .compare import compare, read_results
from .equal_forgetting import at_ua
from .page import comparison_page, write_comparison
from .runs import Run, build_unlearner, evaluate_start, unlearned_folder
from .settings import ComparisonSettings, MethodSweep, read_settings
from .starting_point import StartingPoint, prepare_start


__all__ = [
    "ComparisonSettings",
    "MethodSweep",
    "Run",
    "StartingPoint",
    "at_ua",
    "build_unlearner",
    "evaluate_start",
    "read_results",
    "compare",
    "comparison_page",
    "prepare_start",
    "read_settings",
    "unlearned_folder",
    "write_comparison",
]

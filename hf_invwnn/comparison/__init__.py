"""Every method on the same models and splits, each with a sweep of its own, judged at equal forgetting."""

from .compare import compare
from .runs import build_unlearner, unlearned_folder
from .settings import ComparisonSettings, MethodSweep, read_settings
from .start import Start, prepare_start


__all__ = [
    "ComparisonSettings",
    "MethodSweep",
    "Start",
    "build_unlearner",
    "compare",
    "prepare_start",
    "read_settings",
    "unlearned_folder",
]

"""Every method on the same models and splits, each with a sweep of its own, judged at equal forgetting."""

from .compare import compare
from .settings import ComparisonSettings, MethodSweep, read_settings


__all__ = ["ComparisonSettings", "MethodSweep", "compare", "read_settings"]

"""Weight histories: record what weights do while small models train, and train a predictor on that."""

from .collect import HISTORY_FEATURES, RunSpec, record_run
from .recorder import WeightRecorder
from .training import SkillReport, measure_skill, train_predictor
from .windows import Windows, windows_of


__all__ = [
    "HISTORY_FEATURES",
    "RunSpec",
    "SkillReport",
    "WeightRecorder",
    "Windows",
    "measure_skill",
    "record_run",
    "train_predictor",
    "windows_of",
]

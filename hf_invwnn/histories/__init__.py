"""Weight histories: record what weights do while small models train, and train a predictor on that."""

from .collect import record_run
from .counterfactual import record_counterfactual
from .rows import HISTORY_FEATURES
from .sampling import SampledWeights
from .sources import ImageSource, draw_subset
from .specification import RunSpec, draw_plan
from .training import SkillReport, measure_skill, train_predictor
from .windows import Windows, windows_of


__all__ = [
    "HISTORY_FEATURES",
    "ImageSource",
    "RunSpec",
    "SampledWeights",
    "SkillReport",
    "Windows",
    "draw_plan",
    "draw_subset",
    "measure_skill",
    "record_counterfactual",
    "record_run",
    "train_predictor",
    "windows_of",
]

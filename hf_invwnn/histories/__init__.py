"""Weight histories: record what weights do while small models train, and train a predictor on that."""

from .collect import record_run
from .counterfactual import record_counterfactual
from .families import split_by_family
from .rows import HISTORY_FEATURES
from .sampling import SampledWeights
from .skill import Skill, best_linear_scale, cosine, relative_l1, residuals_of
from .sources import ImageSource, draw_subset
from .specification import RunSpec, draw_plan
from .training import train_predictor
from .windows import Windows, counterfactual_windows, windows_of


__all__ = [
    "HISTORY_FEATURES",
    "ImageSource",
    "RunSpec",
    "SampledWeights",
    "Skill",
    "Windows",
    "best_linear_scale",
    "cosine",
    "counterfactual_windows",
    "draw_plan",
    "draw_subset",
    "record_counterfactual",
    "record_run",
    "relative_l1",
    "residuals_of",
    "split_by_family",
    "train_predictor",
    "windows_of",
]

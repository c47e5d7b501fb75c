"""Weight histories: recorded while small models train, and used to train a predictor."""

from .fit import train_predictor
from .plan import RunSpec, draw_plan
from .publish import histories_contents
from .recording import record_counterfactual, record_run
from .rows import HISTORY_FEATURES
from .skill import Skill, best_linear_scale, cosine, relative_l1, residuals_of
from .sources import ImageSource, draw_subset
from .training_loop import SampledWeights
from .windows import Windows, counterfactual_windows, split_by_family, windows_of


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
    "histories_contents",
    "record_counterfactual",
    "record_run",
    "relative_l1",
    "residuals_of",
    "split_by_family",
    "train_predictor",
    "windows_of",
]

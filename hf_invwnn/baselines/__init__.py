"""What InvWNN is compared with: a file for each method, and one registry of all."""

from .boundary import BoundaryExpandUnlearner, BoundaryShrinkUnlearner
from .fine_tuning import FineTuningUnlearner
from .neg_grad import NegGradUnlearner
from .neg_grad_plus import NegGradPlusUnlearner
from .random_label import RandomLabelUnlearner
from .registry import METHODS, Method, find_method, make_unlearner
from .retrain import retrain
from .salun import SalUnUnlearner
from .scrub import ScrubUnlearner
from .ssd import SSDUnlearner
from .task_vector import TaskVectorUnlearner


__all__ = [
    "METHODS",
    "BoundaryExpandUnlearner",
    "BoundaryShrinkUnlearner",
    "FineTuningUnlearner",
    "Method",
    "NegGradPlusUnlearner",
    "NegGradUnlearner",
    "RandomLabelUnlearner",
    "SSDUnlearner",
    "SalUnUnlearner",
    "ScrubUnlearner",
    "TaskVectorUnlearner",
    "find_method",
    "make_unlearner",
    "retrain",
]

"""Unlearning methods, one file for each, and their registry."""

from .amun import AMUNUnlearner
from .anchored_task_vector import AnchoredTaskVectorUnlearner
from .base import GradientUnlearner
from .boundary import BoundaryExpandUnlearner, BoundaryShrinkUnlearner
from .controls import GaussianNoiseUnlearner, PruningUnlearner
from .delete import DeleteUnlearner
from .fine_tuning import FineTuningUnlearner
from .invwnn import InvWNNUnlearner
from .jit import JiTUnlearner
from .l2ul import L2ULUnlearner
from .mu_mis import MUMisUnlearner
from .neg_grad import NegGradUnlearner
from .neg_grad_plus import NegGradPlusUnlearner
from .neg_merge import NegMergeUnlearner
from .npo import NPOUnlearner
from .random_label import RandomLabelUnlearner
from .registry import METHODS, find_method, make_unlearner, method_names
from .retrain import retrain
from .rmu import RMUUnlearner
from .salun import SalUnUnlearner
from .scrub import ScrubUnlearner
from .self_distillation import SelfDistillationUnlearner
from .sim_npo import SimNPOUnlearner
from .ssd import SSDUnlearner
from .task_vector import TaskVectorUnlearner


__all__ = [
    "METHODS",
    "AMUNUnlearner",
    "AnchoredTaskVectorUnlearner",
    "JiTUnlearner",
    "L2ULUnlearner",
    "MUMisUnlearner",
    "NegMergeUnlearner",
    "BoundaryExpandUnlearner",
    "BoundaryShrinkUnlearner",
    "DeleteUnlearner",
    "FineTuningUnlearner",
    "GaussianNoiseUnlearner",
    "GradientUnlearner",
    "InvWNNUnlearner",
    "NegGradPlusUnlearner",
    "NegGradUnlearner",
    "NPOUnlearner",
    "PruningUnlearner",
    "RMUUnlearner",
    "RandomLabelUnlearner",
    "SSDUnlearner",
    "SalUnUnlearner",
    "ScrubUnlearner",
    "SelfDistillationUnlearner",
    "SimNPOUnlearner",
    "TaskVectorUnlearner",
    "find_method",
    "make_unlearner",
    "method_names",
    "retrain",
]

"""One Trainer subclass for unlearning, and its parts: arguments, stopping rules, checkpoints, record."""

from .arguments import UnlearningArguments
from .stopping import StoppingRule, UATarget, UnseenLoss, UtilityFloor
from .unlearner import Unlearner


__all__ = ["StoppingRule", "UATarget", "UnlearningArguments", "Unlearner", "UnseenLoss", "UtilityFloor"]

"""Make a trained model forget given examples from those examples alone, by predicting what its weights were before."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

# Registers the predictor with AutoConfig and AutoModel; all else loads when it is first used.
from .predictor import (
    BASE_PREDICTOR,
    InvWNNConfig,
    InvWNNModel,
    LinearPredictor,
    PastWeightPredictor,
    convert_keras,
)


if TYPE_CHECKING:
    from .scenarios import UnlearningSplits
    from .stopping import StoppingRule, UATarget, UnseenLoss, UtilityFloor
    from .training_args import UnlearningArguments
    from .unlearner import InvWNNUnlearner

__version__ = "0.1.0"

_LAZY = {
    "InvWNNUnlearner": "unlearner",
    "StoppingRule": "stopping",
    "UATarget": "stopping",
    "UnlearningArguments": "training_args",
    "UnlearningSplits": "scenarios",
    "UnseenLoss": "stopping",
    "UtilityFloor": "stopping",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(f".{_LAZY[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_LAZY])


__all__ = [
    "BASE_PREDICTOR",
    "InvWNNConfig",
    "InvWNNModel",
    "InvWNNUnlearner",
    "LinearPredictor",
    "PastWeightPredictor",
    "StoppingRule",
    "UATarget",
    "UnlearningArguments",
    "UnlearningSplits",
    "UnseenLoss",
    "UtilityFloor",
    "convert_keras",
]

"""Make a trained model forget given examples from those examples alone, by predicting what its weights were before."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any


if TYPE_CHECKING:
    from .methods import InvWNNUnlearner
    from .predictor import (
        BASE_PREDICTOR,
        InvWNNConfig,
        InvWNNModel,
        LinearPredictor,
        PastWeightPredictor,
        convert_keras,
    )
    from .scenarios import UnlearningSplits
    from .trainer import StoppingRule, UATarget, UnlearningArguments, UnseenLoss, UtilityFloor

__version__ = "0.4.0"

# Public name -> the subpackage it is loaded from when it is first used.
_LAZY = {
    "BASE_PREDICTOR": "predictor",
    "InvWNNConfig": "predictor",
    "InvWNNModel": "predictor",
    "InvWNNUnlearner": "methods",
    "LinearPredictor": "predictor",
    "PastWeightPredictor": "predictor",
    "StoppingRule": "trainer",
    "UATarget": "trainer",
    "UnlearningArguments": "trainer",
    "UnlearningSplits": "scenarios",
    "UnseenLoss": "trainer",
    "UtilityFloor": "trainer",
    "convert_keras": "predictor",
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

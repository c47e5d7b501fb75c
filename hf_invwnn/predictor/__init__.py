"""Predictors of past weights: InvWNN with its configuration, the task vector, the authors' Keras weights."""

from .base import PastWeightPredictor, parameter_kind
from .config import PARAMETER_KINDS, InvWNNConfig
from .keras import convert_keras
from .linear import LinearPredictor
from .loading import BASE_PREDICTOR, load_predictor
from .model import InvWNNModel, InvWNNOutput


__all__ = [
    "BASE_PREDICTOR",
    "PARAMETER_KINDS",
    "InvWNNConfig",
    "InvWNNModel",
    "InvWNNOutput",
    "LinearPredictor",
    "PastWeightPredictor",
    "convert_keras",
    "load_predictor",
    "parameter_kind",
]

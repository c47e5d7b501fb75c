"""What a weight was U epochs ago: configuration, network, task vector, conversion of the authors' weights."""

from .base import PastWeightPredictor, parameter_kind
from .config import PARAMETER_KINDS, InvWNNConfig
from .conversion import convert_keras
from .fast import FastInvWNN
from .linear import LinearPredictor
from .loading import BASE_PREDICTOR, load_predictor
from .model import InvWNNModel, InvWNNOutput


__all__ = [
    "BASE_PREDICTOR",
    "PARAMETER_KINDS",
    "FastInvWNN",
    "InvWNNConfig",
    "InvWNNModel",
    "InvWNNOutput",
    "LinearPredictor",
    "PastWeightPredictor",
    "convert_keras",
    "load_predictor",
    "parameter_kind",
]

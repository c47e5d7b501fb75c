"""What a weight was U epochs ago: configuration, network, task vector, conversion of the authors' weights."""

from pathlib import Path

from .base import PastWeightPredictor, parameter_kind
from .config import PARAMETER_KINDS, InvWNNConfig
from .conversion import convert_keras
from .linear import LinearPredictor
from .model import InvWNNModel, InvWNNOutput


# The predictor that ships with the package; `InvWNNModel.from_pretrained(BASE_PREDICTOR)`.
BASE_PREDICTOR = str(Path(__file__).parent / "base_predictor")

__all__ = [
    "BASE_PREDICTOR",
    "PARAMETER_KINDS",
    "InvWNNConfig",
    "InvWNNModel",
    "InvWNNOutput",
    "LinearPredictor",
    "PastWeightPredictor",
    "convert_keras",
    "parameter_kind",
]

"""An image classification experiment from settings: the images, the model, and who is forgotten."""

from .augmentation import CropAndFlip
from .data import DataArguments, load_images
from .models import ModelArguments, make_model, number_of_classes
from .splits import ScenarioArguments, make_splits


__all__ = [
    "CropAndFlip",
    "DataArguments",
    "ModelArguments",
    "ScenarioArguments",
    "load_images",
    "make_model",
    "make_splits",
    "number_of_classes",
]

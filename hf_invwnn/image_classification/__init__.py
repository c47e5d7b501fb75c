"""Image classification: data, splits and models from settings, and evaluation."""

from .augmentation import CropAndFlip
from .digits import digit_images
from .evaluate import evaluate_model, predict
from .images import ImageTensors, ProcessedImages, process_images
from .loading import DataArguments, ScenarioArguments, load_images, make_splits, split_datasets
from .models import ModelArguments, load_classifier, make_model, number_of_classes


__all__ = [
    "CropAndFlip",
    "DataArguments",
    "ImageTensors",
    "ModelArguments",
    "ProcessedImages",
    "ScenarioArguments",
    "digit_images",
    "evaluate_model",
    "load_classifier",
    "load_images",
    "make_model",
    "make_splits",
    "number_of_classes",
    "predict",
    "process_images",
    "split_datasets",
]

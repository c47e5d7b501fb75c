"""Image classifiers and their processors: new ones for an experiment, and saved ones."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

import torch
from datasets import ClassLabel, Dataset
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoModelForImageClassification,
    PreTrainedModel,
    ViTImageProcessorPil,
)

# Registers its model type.
from .small_resnet import SmallResNetConfig as SmallResNetConfig


@dataclass
class ModelArguments:
    model: str = field(
        default="vit", metadata={"help": "Hub id or folder of pretrained weights, or a model type for random ones."}
    )
    model_config: dict | None = field(default=None, metadata={"help": "Settings of a model with random weights."})
    image_size: int = field(default=32, metadata={"help": "Height and width, for a model with random weights."})


def make_model(args: ModelArguments, num_labels: int) -> tuple[Any, PreTrainedModel]:
    """
    The image processor and the model of an experiment: pretrained with a new head, or with random weights.

    Args:
        args ([`ModelArguments`]): The model.
        num_labels (`int`): Number of classes.
    """
    if args.model_config is None:
        processor = AutoImageProcessor.from_pretrained(args.model, backend="pil")
        return processor, AutoModelForImageClassification.from_pretrained(
            args.model, num_labels=num_labels, ignore_mismatched_sizes=True, use_safetensors=True, dtype=torch.float32
        )
    size = {"height": args.image_size, "width": args.image_size}
    processor = ViTImageProcessorPil(size=size, image_mean=[0.5] * 3, image_std=[0.5] * 3)
    config = AutoConfig.for_model(args.model, num_labels=num_labels, **args.model_config)
    return processor, AutoModelForImageClassification.from_config(config)


def load_classifier(source: str | os.PathLike, **kwargs: Any) -> tuple[Any, Any]:
    """
    A saved image classifier in float32 and its processor, from safetensors.

    Args:
        source (`str` or `os.PathLike`): Folder or Hub id.
        kwargs: Other arguments of `from_pretrained` of the model.

    Raises:
        ValueError: The weights are damaged.
        OSError: `source` has no classifier in safetensors or no image processor.
    """
    options = {"dtype": torch.float32, "trust_remote_code": False, **kwargs}
    try:
        model = AutoModelForImageClassification.from_pretrained(source, use_safetensors=True, **options)
    except SafetensorError as error:
        raise ValueError(f"the weights in `{source}` are damaged ({error})") from error
    return model, AutoImageProcessor.from_pretrained(source, backend="pil", trust_remote_code=False)


def number_of_classes(train: Dataset, label_column: str) -> int:
    """Number of names of a `ClassLabel`, otherwise the largest label plus one."""
    feature = train.features[label_column]
    return feature.num_classes if isinstance(feature, ClassLabel) else max(train[label_column]) + 1


__all__ = ["ModelArguments", "load_classifier", "make_model", "number_of_classes"]

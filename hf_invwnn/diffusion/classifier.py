"""Classifier of generated images: class probabilities and features."""

from __future__ import annotations

import os
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from ..image_classification import load_classifier
from .images import to_images


class ClassifierOutput(NamedTuple):
    """
    Output for N images: class `probabilities` `(N, C)`, and `features` `(N, d)`, the inputs of the last layer.
    """

    probabilities: torch.Tensor
    features: torch.Tensor

    @property
    def classes(self) -> torch.Tensor:
        """The most likely class of each image, `(N,)`."""
        return self.probabilities.argmax(dim=1)

    @property
    def confidences(self) -> torch.Tensor:
        """The probability of that class, `(N,)` in 0..1."""
        return self.probabilities.max(dim=1).values


class ImageClassifier:
    """
    Classifies images in [-1, 1].

    Args:
        model (`PreTrainedModel`): An image classification model with a linear last layer.
        processor (`BaseImageProcessor`): The processor of its inputs; called with RGB images.
        name (`str`): Name of the classifier in messages and tables.

    Raises:
        ValueError: The model has no linear layer with one output per class.
    """

    def __init__(self, model: Any, processor: Any, name: str) -> None:
        self.model, self.processor, self.name = model.eval(), processor, name
        heads = [
            layer
            for layer in model.modules()
            if isinstance(layer, nn.Linear) and layer.out_features == model.config.num_labels
        ]
        if not heads:
            raise ValueError(f"`classifier` {name!r} has no linear last layer, whose inputs are used as features.")
        self._head = heads[-1]

    @classmethod
    def from_pretrained(cls, classifier: str | os.PathLike) -> ImageClassifier:
        """
        Loads a classifier from safetensors.

        Args:
            classifier (`str` or `os.PathLike`): Folder or Hub id, with an image processor.

        Raises:
            ValueError: The classifier cannot be loaded.
        """
        source = os.fspath(classifier)
        try:
            model, processor = load_classifier(source)
        except (OSError, ValueError) as error:
            raise ValueError(f"`classifier` cannot be loaded from the folder or Hub id {source!r}: {error}") from error
        return cls(model, processor, source)

    @property
    def num_classes(self) -> int:
        return int(self.model.config.num_labels)

    @property
    def num_features(self) -> int:
        return int(self._head.in_features)

    @torch.no_grad()
    def classify(self, images: torch.Tensor, batch_size: int = 500) -> ClassifierOutput:
        """
        Class probabilities and features of images. The images are first rounded to 8 bits and converted to RGB.

        Args:
            images (`torch.Tensor` of shape `(N, C, H, W)`): In [-1, 1]; C is 1 or 3.
            batch_size (`int`, defaults to 500): Images in a batch.
        """
        features: list[torch.Tensor] = []
        hook = self._head.register_forward_pre_hook(
            lambda _, inputs: features.append(inputs[0].flatten(1).float().cpu())
        )
        logits = []
        try:
            for part in images.split(batch_size):
                pictures = [picture.convert("RGB") for picture in to_images(part)]
                pixels = np.asarray(self.processor(pictures, return_tensors="np")["pixel_values"], dtype=np.float32)
                inputs = torch.from_numpy(pixels).to(self.model.device)
                logits.append(self.model(pixel_values=inputs).logits.float().cpu())
        finally:
            hook.remove()
        return ClassifierOutput(torch.cat(logits).softmax(dim=1), torch.cat(features))


__all__ = ["ImageClassifier", "ClassifierOutput"]

"""The accuracy that UA is made of, computed inside the Trainer's evaluation."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from transformers import EvalPrediction


def most_likely_class(logits: Any, labels: torch.Tensor) -> torch.Tensor:
    """Keeps of the logits `(..., C)` only the class with the largest one, so that little is gathered."""
    scores = logits[0] if isinstance(logits, (tuple, list)) else logits
    return scores.argmax(dim=-1)


def classification_accuracy(prediction: EvalPrediction) -> dict[str, float]:
    """
    Share of examples (or of labelled tokens) whose most likely class is the label.

    Args:
        prediction (`EvalPrediction`): Predicted classes and labels, of the same shape; labels of -100 do not count.

    Returns:
        `{"accuracy": float}` in 0..1, or nothing where the predictions are no classes for the labels.
    """
    labels = np.asarray(prediction.label_ids)
    classes = np.asarray(prediction.predictions)
    if labels.shape != classes.shape or not np.issubdtype(labels.dtype, np.integer):
        return {}
    counted = labels != -100
    return {"accuracy": float((classes == labels)[counted].mean())} if counted.any() else {}


__all__ = ["classification_accuracy", "most_likely_class"]

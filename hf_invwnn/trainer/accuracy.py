"""Classification accuracy for the evaluation of the Trainer, from which UA is computed."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from transformers import EvalPrediction


def most_likely_class(logits: Any, labels: torch.Tensor) -> torch.Tensor:
    """Reduces logits `(..., C)` to the most likely class, so that little has to be gathered."""
    scores = logits[0] if isinstance(logits, (tuple, list)) else logits
    return scores.argmax(dim=-1)


def classification_accuracy(prediction: EvalPrediction) -> dict[str, float]:
    """
    Share of examples (or labelled tokens) whose most likely class is the label.

    Args:
        prediction (`EvalPrediction`): Predicted classes and labels, of the same shape; labels of -100 are ignored.

    Returns:
        `{"accuracy": float}` in 0..1; empty if the predictions are not classes of the labels.
    """
    labels = np.asarray(prediction.label_ids)
    classes = np.asarray(prediction.predictions)
    if labels.shape != classes.shape or not np.issubdtype(labels.dtype, np.integer):
        return {}
    counted = labels != -100
    return {"accuracy": float((classes == labels)[counted].mean())} if counted.any() else {}


__all__ = ["classification_accuracy", "most_likely_class"]

"""Classification accuracy for the evaluation of the Trainer, from which UA is computed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import EvalPrediction

from .arguments import UnlearningArguments


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


def default_metrics(
    model: nn.Module, label_names: list[str] | None, args: UnlearningArguments, trainer_kwargs: Mapping[str, Any]
) -> dict[str, Any]:
    """
    The arguments with which the Trainer computes accuracy, unless the caller passed metrics or there are no labels.

    Args:
        model (`nn.Module`): The model.
        label_names (`list[str]`, *optional*): Names of its labels; an empty list means that there are none.
        args ([`UnlearningArguments`]): The arguments of the run.
        trainer_kwargs (`dict`): The arguments of the caller for the Trainer.

    Raises:
        ValueError: `target_ua` is set, but there is no accuracy.
    """
    if trainer_kwargs.get("compute_metrics") is not None:
        return {}
    if label_names != []:
        logits = trainer_kwargs.get("preprocess_logits_for_metrics", most_likely_class)
        return {"compute_metrics": classification_accuracy, "preprocess_logits_for_metrics": logits}
    if args.target_ua is not None:
        raise ValueError(
            f"`target_ua` needs an accuracy on the forget set, got {args.target_ua}, but {type(model).__name__} takes "
            "no labels; pass a rule in `stopping_rules`, or `compute_metrics`."
        )
    return {}


__all__ = ["classification_accuracy", "default_metrics", "most_likely_class"]

"""Accuracy for the evaluations of a run, from which UA is computed; only where the task has one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import EvalPrediction, Trainer

from .arguments import UnlearningArguments
from .heads import NEXT_TOKEN, head_of, may_have_accuracy


def most_likely_class(logits: Any, labels: torch.Tensor) -> torch.Tensor:
    """Reduces logits `(..., C)` to the most likely class, so that little has to be gathered; empty without logits."""
    if isinstance(logits, (tuple, list)) and not logits:
        return labels.new_empty(0)
    scores = logits[0] if isinstance(logits, (tuple, list)) else logits
    return scores.argmax(dim=-1)


class Accuracy:
    """
    Share of examples, or of labelled tokens, whose most likely class is the label. Labels of -100 are ignored.

    Args:
        head (`str`, *optional*): What the labels answer, see [`~hf_invwnn.trainer.heads.head_of`]. For `"next token"`
            the prediction at a position is compared with the label after it, as in the loss of the model. Without a
            known head, only a class per example is compared.
    """

    def __init__(self, head: str | None = None) -> None:
        self.head = head

    def __call__(self, prediction: EvalPrediction) -> dict[str, float]:
        """
        `{"accuracy": float}` in 0..1; empty if the predictions are not classes of the labels.

        Args:
            prediction (`EvalPrediction`): Predicted classes and labels, of the same shape.
        """
        labels, classes = np.asarray(prediction.label_ids), np.asarray(prediction.predictions)
        if labels.shape != classes.shape or not np.issubdtype(labels.dtype, np.integer):
            return {}
        if self.head is None and labels.ndim != 1:
            return {}
        if self.head == NEXT_TOKEN:
            classes, labels = classes[:, :-1], labels[:, 1:]
        counted = labels != -100
        return {"accuracy": float((classes == labels)[counted].mean())} if counted.any() else {}


# For the `compute_metrics` of a Trainer with one class per example.
classification_accuracy = Accuracy()


def accuracy_of(
    model: nn.Module, label_names: list[str] | None, args: UnlearningArguments, trainer_kwargs: Mapping[str, Any]
) -> Accuracy | None:
    """
    The accuracy that a run measures in addition to the losses; `None` if the caller passed metrics, or has no classes.

    Args:
        model (`nn.Module`): The model.
        label_names (`list[str]`, *optional*): Names of its labels; an empty list means that there are none.
        args ([`UnlearningArguments`]): The arguments of the run.
        trainer_kwargs (`dict`): The arguments of the caller for the Trainer.

    Raises:
        ValueError: `target_ua` is set, but there is no accuracy.
    """
    if trainer_kwargs.get("compute_metrics") is not None:
        return None
    if args.batch_eval_metrics:
        raise ValueError(
            "`batch_eval_metrics` must stay False, got True: accuracies are computed over all batches; or pass a "
            "`compute_metrics` that adds them up."
        )
    if label_names != [] and may_have_accuracy(model):
        return Accuracy(head_of(model))
    if args.target_ua is not None:
        raise ValueError(
            f"`target_ua` needs an accuracy on the forget set, got {args.target_ua}, but the labels of "
            f"{type(model).__name__} are not classes; use `stop_at_unseen_loss`, pass a rule in `stopping_rules`, or "
            "`compute_metrics`."
        )
    return None


@contextmanager
def measured_by(trainer: Trainer, accuracy: Accuracy | None) -> Iterator[None]:
    """
    Within this context evaluations of a Trainer return an accuracy. Outside they return what those of every Trainer
    do, and `predict` returns logits.
    """
    before = trainer.compute_metrics, trainer.preprocess_logits_for_metrics
    if accuracy is not None:
        trainer.compute_metrics = accuracy
        trainer.preprocess_logits_for_metrics = before[1] or most_likely_class
    try:
        yield
    finally:
        trainer.compute_metrics, trainer.preprocess_logits_for_metrics = before


__all__ = ["Accuracy", "accuracy_of", "classification_accuracy", "measured_by", "most_likely_class"]

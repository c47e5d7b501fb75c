"""UA, RA and TA: accuracies on the forget, the retain and the test set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .arrays import integer_array, split_masks


def ua(metrics: Mapping[str, float]) -> float:
    """UA in percent, `100 * (1 - accuracy on D_f)`, of an evaluation by the Trainer (`eval_forget_accuracy`)."""
    return 100 * (1 - metrics["eval_forget_accuracy"])


def unlearning_accuracy(predictions: Any, references: Any, splits: Any) -> dict[str, float]:
    r"""
    Accuracies by split, in percent.

        UA = 100 - accuracy(D_f)    RA = accuracy(D_r)    TA = accuracy(test)

    The goal of each is the value of a model retrained without D_f, not the maximum.

    Args:
        predictions (`Sequence[int]` of length `N`): Predicted classes.
        references (`Sequence[int]` of length `N`): True classes.
        splits (`Sequence[str]` of length `N`): `"forget"`, `"retain"` or `"test"` for each example.

    Returns:
        `dict[str, float]` with `"UA"`, `"RA"` and `"TA"`; metrics whose split does not occur are left out.

    Raises:
        ValueError: There is no example, lengths differ, a class is not an integer, or a split has another name.
    """
    predicted = integer_array(predictions, "predictions")
    true = integer_array(references, "references")
    if len(predicted) != len(true):
        raise ValueError(f"`references` must be as many as `predictions`, got {len(true)} against {len(predicted)}.")
    masks = split_masks(splits, len(predicted), "predictions")
    correct = predicted == true
    accuracy = {name: 100 * float(np.mean(correct[mask])) for name, mask in masks.items()}
    values = {"UA": 100 - accuracy["forget"]} if "forget" in accuracy else {}
    names = {"retain": "RA", "test": "TA"}
    return values | {names[split]: accuracy[split] for split in names if split in accuracy}


__all__ = ["ua", "unlearning_accuracy"]

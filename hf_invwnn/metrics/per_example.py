"""Prediction, confidence in the true label and loss of a classifier on each example."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .arrays import integer_array


class PerExample(NamedTuple):
    """
    Three arrays of shape `(N,)`: `predictions` (most likely class, int64), `confidences` (softmax probability of the
    true label, in 0..1) and `losses` (cross-entropy against the true label, in nats).
    """

    predictions: np.ndarray
    confidences: np.ndarray
    losses: np.ndarray


def per_example(logits: Any, labels: Any) -> PerExample:
    """
    Prediction, confidence and loss of every example, in float64.

    Args:
        logits (`np.ndarray` of shape `(N, C)`): Unnormalised scores, computed in eval mode with test-time transforms.
        labels (`np.ndarray` of shape `(N,)`): True labels, in 0..C-1.

    Returns:
        [`PerExample`].

    Raises:
        ValueError: The shape is wrong, there is no example, a logit is not finite, or a label is not a class.
    """
    scores = np.asarray(logits)
    if scores.ndim != 2 or 0 in scores.shape or scores.dtype.kind not in "iuf":
        raise ValueError(
            f"`logits` must be numbers of shape (N, C) with at least one example, got shape {scores.shape} and dtype "
            f"{scores.dtype}."
        )
    scores = scores.astype(np.float64)
    if not np.isfinite(scores).all():
        row = int(np.flatnonzero(~np.isfinite(scores).all(axis=1))[0])
        raise ValueError(f"`logits` must be finite, but row {row} is not; did the model diverge?")
    targets = integer_array(labels, "labels")
    num_examples, num_classes = scores.shape
    if len(targets) != num_examples:
        raise ValueError(f"`labels` must hold one label for each of the {num_examples} logits, got {len(targets)}.")
    if targets.min() < 0 or targets.max() >= num_classes:
        raise ValueError(
            f"`labels` must lie in 0..{num_classes - 1} for logits of {num_classes} classes, got {targets.min()}.."
            f"{targets.max()}; leave out unlabelled examples."
        )
    shifted = scores - scores.max(axis=1, keepdims=True)
    losses = np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(num_examples), targets]
    return PerExample(scores.argmax(axis=1), np.exp(-losses), losses)


__all__ = ["PerExample", "per_example"]

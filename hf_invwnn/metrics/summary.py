"""All metrics of one model in one call, from its logits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .arrays import SPLITS
from .loss_auc import loss_auc
from .membership_inference import membership_inference
from .per_example import PerExample, per_example
from .unlearning_accuracy import unlearning_accuracy


def unlearning_metrics(
    logits_by_split: Mapping[str, Any], labels_by_split: Mapping[str, Any], seed: int = 0
) -> dict[str, float]:
    """
    RA, UA, TA, MIA and the loss AUC of one model.

    Args:
        logits_by_split (`Mapping[str, np.ndarray]`): For `"forget"`, `"retain"` and `"test"`, logits of shape `(N, C)`
            in eval mode with test-time transforms.
        labels_by_split (`Mapping[str, np.ndarray]`): For the same splits, labels of shape `(N,)`.
        seed (`int`, *optional*, defaults to 0): Seed of the draw of members for MIA and of the bootstrap.

    Returns:
        `dict[str, float]` with `"RA"`, `"UA"`, `"TA"`, `"MIA"` in percent and `"loss_auc"`, `"loss_auc_low"`,
        `"loss_auc_high"` in 0..1 (a 95 % interval).

    Raises:
        ValueError: A split is missing, unknown or empty, has another number of classes, or its logits and labels do
            not match.
    """
    _check_splits(logits_by_split, "logits_by_split")
    _check_splits(labels_by_split, "labels_by_split")
    examples = {name: _per_example(name, logits_by_split[name], labels_by_split[name]) for name in SPLITS}
    widths = {name: np.asarray(logits_by_split[name]).shape[1] for name in SPLITS}
    if len(set(widths.values())) > 1:
        raise ValueError(f"`logits_by_split` must have the same classes in every split, got {widths}.")

    splits = np.repeat(SPLITS, [len(examples[name].losses) for name in SPLITS])
    predictions, confidences, losses = (np.concatenate(arrays) for arrays in zip(*examples.values(), strict=True))
    references = np.concatenate([np.asarray(labels_by_split[name]) for name in SPLITS])
    accuracy = unlearning_accuracy(predictions, references, splits)
    leakage = loss_auc(losses, splits, seed=seed)
    return {
        "RA": accuracy["RA"],
        "UA": accuracy["UA"],
        "TA": accuracy["TA"],
        **membership_inference(confidences, splits, seed=seed),
        "loss_auc": leakage["auc"],
        "loss_auc_low": leakage["auc_low"],
        "loss_auc_high": leakage["auc_high"],
    }


def _check_splits(by_split: Mapping[str, Any], argument: str) -> None:
    if not isinstance(by_split, Mapping):
        raise TypeError(f"`{argument}` must map split names to arrays, got `{type(by_split).__name__}`.")
    missing = [name for name in SPLITS if name not in by_split]
    if missing:
        raise ValueError(
            f"`{argument}` lacks {missing}: MIA draws members from the retain set and non-members from the test "
            "set. Without retain data, use `unlearning_accuracy` and `loss_auc`."
        )
    unknown = sorted(set(by_split) - set(SPLITS))
    if unknown:
        raise ValueError(f"`{argument}` must hold {list(SPLITS)}, got {unknown} as well.")


def _per_example(split: str, logits: Any, labels: Any) -> PerExample:
    try:
        return per_example(logits, labels)
    except ValueError as error:
        raise ValueError(f"Split {split!r}: {error}") from error


__all__ = ["unlearning_metrics"]

"""The loss AUC: how well the loss separates the forget set from test examples, with a bootstrap interval."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any

import numpy as np

from .arrays import finite_array, split_masks


def loss_auc(
    losses: Any, splits: Any, num_bootstrap: int = 1000, confidence: float = 0.95, seed: int = 0
) -> dict[str, float]:
    r"""
    Two-sided AUC of the loss on D_f against the loss on the test set, with a bootstrap interval.

        auc = P(loss_forget > loss_test) + P(loss_forget = loss_test) / 2        leak = 2 |auc - 0.5|

    The goal is 0.5. Below 0.5 D_f is still memorised; above it the losses of D_f are conspicuously high, which reveals
    membership as well. The interval is a percentile bootstrap that resamples both sets.

    Args:
        losses (`Sequence[float]` of length `N`): Loss of each example.
        splits (`Sequence[str]` of length `N`): `"forget"`, `"retain"` or `"test"`; forget and test must occur, retain
            is not used.
        num_bootstrap (`int`, *optional*, defaults to 1000): Number of resamples.
        confidence (`float`, *optional*, defaults to 0.95): Coverage of the interval, in (0, 1).
        seed (`int`, *optional*, defaults to 0): Seed of the resampling.

    Returns:
        `dict[str, float]` with `"auc"`, `"auc_low"`, `"auc_high"` and `"leak"`, all in 0..1.

    Raises:
        ValueError: A loss is not finite, lengths differ, a split has another name, there is no forget or no test
            example, or `num_bootstrap` or `confidence` is out of range.
    """
    if isinstance(num_bootstrap, bool) or not isinstance(num_bootstrap, Integral) or num_bootstrap < 1:
        raise ValueError(f"`num_bootstrap` must be an integer of at least 1, got {num_bootstrap!r}; 1000 is usual.")
    if not isinstance(confidence, Real) or not 0 < confidence < 1:
        raise ValueError(f"`confidence` must lie between 0 and 1, got {confidence!r}; 0.95 is usual.")
    values = finite_array(losses, "losses")
    masks = split_masks(splits, len(values), "losses", required=("forget", "test"))

    forget, test = values[masks["forget"]], np.sort(values[masks["test"]])
    # For each forget example: the number of sorted test losses below it, and the number of those not above it.
    below = np.searchsorted(test, forget, side="left")
    not_above = np.searchsorted(test, forget, side="right")
    auc = float(np.mean((below + not_above) / (2 * len(test))))

    resampled = _resampled_aucs(below, not_above, len(test), int(num_bootstrap), np.random.default_rng(seed))
    low, high = np.quantile(resampled, [(1 - confidence) / 2, (1 + confidence) / 2])
    return {"auc": auc, "auc_low": float(low), "auc_high": float(high), "leak": 2 * abs(auc - 0.5)}


def _resampled_aucs(
    below: np.ndarray, not_above: np.ndarray, num_test: int, num_bootstrap: int, rng: np.random.Generator
) -> np.ndarray:
    # A resample is a count for each example, so losses are sorted once and each AUC takes linear time and memory.
    aucs = np.empty(num_bootstrap)
    num_forget = len(below)
    up_to = np.zeros(num_test + 1)
    for i in range(num_bootstrap):
        drawn_forget = rng.integers(num_forget, size=num_forget)
        test_counts = np.bincount(rng.integers(num_test, size=num_test), minlength=num_test)
        np.cumsum(test_counts, out=up_to[1:])
        aucs[i] = np.mean(up_to[below[drawn_forget]] + up_to[not_above[drawn_forget]]) / (2 * num_test)
    return aucs


__all__ = ["loss_auc"]

"""Shares of the forget set that are forgotten less than by retraining, more, or as much."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class ForgettingShares:
    """
    Shares of the forget set, in percent.

    Args:
        under (`float`): Forgotten less than by retraining: the unlearned model gives the label a higher probability
            than the retrained one, by more than the margin.
        over (`float`): Forgotten more than by retraining: a lower probability, by more than the margin.
        matched (`float`): The two probabilities differ by at most the margin.
        verdicts (`np.ndarray` of shape `(N,)`): `"under"`, `"over"` or `"matched"` for each example.
    """

    under: float
    over: float
    matched: float
    verdicts: np.ndarray


def forgetting_shares(unlearned: np.ndarray, retrained: np.ndarray, margin: float = 0.1) -> ForgettingShares:
    """
    Compares the probabilities that two models give to the label of each example.

    Args:
        unlearned (`np.ndarray` of shape `(N,)`): Probabilities under the unlearned model.
        retrained (`np.ndarray` of shape `(N,)`): Probabilities under the retrained model.
        margin (`float`, defaults to 0.1): Largest difference that counts as none.

    Raises:
        ValueError: The two differ in length or are empty, or `margin` is not in [0, 1).
    """
    if unlearned.shape != retrained.shape or unlearned.ndim != 1 or not len(unlearned):
        raise ValueError(
            f"`unlearned` and `retrained` must have the same shape (N,), got {unlearned.shape} and {retrained.shape}."
        )
    if not 0 <= margin < 1:
        raise ValueError(f"`margin` must lie in [0, 1), got {margin}.")
    difference = unlearned - retrained
    verdicts = np.select([difference > margin, difference < -margin], ["under", "over"], "matched")
    shares = {name: float(100 * (verdicts == name).mean()) for name in ("under", "over", "matched")}
    return ForgettingShares(verdicts=verdicts, **shares)


__all__ = ["ForgettingShares", "forgetting_shares"]

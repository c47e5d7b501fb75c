"""Example by example: forgotten less than retraining forgets, more, or as much."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class ForgettingShares:
    """
    Shares of the forget set, in percent.

    Args:
        under (`float`): The model is surer of the label than the oracle is, by more than the margin.
        over (`float`): It is less sure, by more than the margin.
        matched (`float`): Neither.
        verdicts (`np.ndarray` of shape `(N,)`): `"under"`, `"over"` or `"matched"` for each example.
    """

    under: float
    over: float
    matched: float
    verdicts: np.ndarray


def forgetting_shares(model: np.ndarray, oracle: np.ndarray, margin: float = 0.1) -> ForgettingShares:
    """
    Compares the probability that two models give to each example's label.

    Args:
        model (`np.ndarray` of shape `(N,)`): Probabilities under the unlearned model.
        oracle (`np.ndarray` of shape `(N,)`): Probabilities under the retrained one.
        margin (`float`, defaults to 0.1): Differences up to this count as none.

    Raises:
        ValueError: The two differ in length or are empty, or `margin` is not in [0, 1).
    """
    if model.shape != oracle.shape or model.ndim != 1 or not len(model):
        raise ValueError(f"`model` and `oracle` must be of one shape (N,), got {model.shape} and {oracle.shape}.")
    if not 0 <= margin < 1:
        raise ValueError(f"`margin` must lie in [0, 1), got {margin}.")
    difference = model - oracle
    verdicts = np.select([difference > margin, difference < -margin], ["under", "over"], "matched")
    shares = {name: float(100 * (verdicts == name).mean()) for name in ("under", "over", "matched")}
    return ForgettingShares(verdicts=verdicts, **shares)


__all__ = ["ForgettingShares", "forgetting_shares"]

"""Distance of an unlearned model from one retrained without the forget set, by their metrics."""

from __future__ import annotations

from typing import Any

import numpy as np

from .arrays import finite_array


NAMES = ("UA", "RA", "TA", "MIA")


def retraining_distance(predictions: Any, references: Any, names: Any = NAMES) -> dict[str, float]:
    r"""
    Average gap and tug-of-war between an unlearned and a retrained model.

        average_gap = mean over UA, RA, TA, MIA of |u - r|
        tug_of_war = product over D_f, D_r, test of (1 - |acc_u - acc_r|), accuracies in 0..1

    An average gap of 0 points and a tug-of-war of 1 are the goal.

    Args:
        predictions (`Sequence[float]` of length 4): Metrics of the unlearned model, in percent.
        references (`Sequence[float]` of length 4): The same metrics of the retrained model.
        names (`Sequence[str]` of length 4, *optional*, defaults to `("UA", "RA", "TA", "MIA")`): The names of the
            values: these four, each once, in any order.

    Returns:
        `dict[str, float]` with `"average_gap"` in points and `"tug_of_war"` in 0..1.

    Raises:
        ValueError: Names are unknown or repeated, lengths differ, or a value is not in 0..100.
    """
    order = [str(name) for name in names]
    if sorted(order) != sorted(NAMES):
        raise ValueError(f"`names` must hold {list(NAMES)}, each once, got {order}.")
    gaps = np.abs(_percentages(predictions, "predictions") - _percentages(references, "references"))
    gap = dict(zip(order, gaps.tolist(), strict=True))
    # |UA_u - UA_r| is the gap in accuracy on D_f, since UA is 100 minus the accuracy.
    tug_of_war = np.prod([1 - gap[name] / 100 for name in ("UA", "RA", "TA")])
    return {"average_gap": float(np.mean(gaps)), "tug_of_war": float(tug_of_war)}


def _percentages(values: Any, argument: str) -> np.ndarray:
    array = finite_array(values, argument)
    if len(array) != len(NAMES):
        raise ValueError(f"`{argument}` must hold {len(NAMES)} values, one for each of `names`, got {len(array)}.")
    if array.min() < 0 or array.max() > 100:
        raise ValueError(f"`{argument}` must be percentages in 0..100, got {array.min()}..{array.max()}.")
    return array


__all__ = ["NAMES", "retraining_distance"]

"""Draws of examples: a share of some candidates, and the rest."""

from __future__ import annotations

import numpy as np


def draw(candidates: np.ndarray, fraction: float, rng: np.random.Generator, argument: str) -> np.ndarray:
    """
    Draws a share of the candidates without replacement.

    Args:
        candidates (`np.ndarray` of shape `(N,)`): Indices to draw from.
        fraction (`float`): The share, in 0..1; the number of examples is rounded to the nearest integer (halves to the
            even one).
        rng (`np.random.Generator`): The generator; it is advanced by one draw, unless the fraction is 0.
        argument (`str`): Name of the argument with the fraction, for errors.

    Returns:
        `np.ndarray` of shape `(round(fraction * N),)`, sorted.

    Raises:
        ValueError: A fraction above 0 amounts to no example, or to all of them.
    """
    count = round(fraction * len(candidates))
    if fraction == 0:
        return candidates[:0]
    if count in (0, len(candidates)):
        raise ValueError(
            f"`{argument}` of {fraction} makes {count} of {len(candidates)} examples: some must be drawn and some "
            "must remain; choose another share or pass more examples."
        )
    return np.sort(rng.choice(candidates, size=count, replace=False))


def without(num_examples: int, held_out: np.ndarray) -> np.ndarray:
    """The indices of `range(num_examples)` that are not in `held_out`, in order."""
    keep = np.ones(num_examples, dtype=bool)
    keep[held_out] = False
    return np.flatnonzero(keep)


__all__ = ["draw", "without"]

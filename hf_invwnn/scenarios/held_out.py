"""Draws of examples: a share of some candidates, and the rest."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Drawn(NamedTuple):
    """
    The rows of a training set that a scenario has drawn.

    Args:
        validation (`np.ndarray`): Rows that are held out.
        remaining (`np.ndarray`): All other rows.
        chosen (`np.ndarray`): Positions in `remaining` that were drawn from it.
        rng (`np.random.Generator`): The generator, for further draws.
    """

    validation: np.ndarray
    remaining: np.ndarray
    chosen: np.ndarray
    rng: np.random.Generator


def draw_rows(num_examples: int, fraction: float, validation_fraction: float, seed: int) -> Drawn:
    """
    Draws the validation rows of a training set, then a share of the rest, with one generator.

    Args:
        num_examples (`int`): Size of the training set.
        fraction (`float`), validation_fraction (`float`), seed (`int`): Arguments of the scenario.

    Raises:
        ValueError: A fraction above 0 amounts to no example, or to all of them.
    """
    rng = np.random.default_rng(seed)
    validation = draw(np.arange(num_examples), validation_fraction, rng, "validation_fraction")
    remaining = without(num_examples, validation)
    return Drawn(validation, remaining, draw(np.arange(len(remaining)), fraction, rng, "fraction"), rng)


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


__all__ = ["Drawn", "draw", "draw_rows", "without"]

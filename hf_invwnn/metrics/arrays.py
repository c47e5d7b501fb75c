"""Checks of arrays with one value for each example, and masks of the splits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


SPLITS = ("forget", "retain", "test")


def integer_array(values: Any, argument: str) -> np.ndarray:
    """The values as a 1-D int64 array; raises an error that names `argument`."""
    array = np.asarray(values)
    if array.ndim != 1 or not (np.issubdtype(array.dtype, np.integer) or array.size == 0):
        raise ValueError(
            f"`{argument}` must be a flat list of integers, got shape {array.shape} and dtype {array.dtype}."
        )
    return array.astype(np.int64)


def finite_array(values: Any, argument: str) -> np.ndarray:
    """The values as a 1-D float64 array of finite numbers; raises an error that names `argument`."""
    array = np.asarray(values)
    if array.ndim != 1 or not (array.dtype.kind in "iuf" or array.size == 0):
        raise ValueError(f"`{argument}` must be a flat list of numbers, got shape {array.shape}, dtype {array.dtype}.")
    array = array.astype(np.float64)
    bad = np.flatnonzero(~np.isfinite(array))
    if len(bad):
        raise ValueError(
            f"`{argument}` must be finite, got {array[bad[0]]} at position {bad[0]} ({len(bad)} such values); "
            "did the model diverge?"
        )
    return array


def split_masks(splits: Any, num_examples: int, argument: str, required: Sequence[str] = ()) -> dict[str, np.ndarray]:
    """
    For each split that occurs, the mask of its examples.

    Args:
        splits (`Sequence[str]` of length `N`): `"forget"`, `"retain"` or `"test"` for each example.
        num_examples (`int`): N, the number of values.
        argument (`str`): Name of the values in errors.
        required (`Sequence[str]`, *optional*): Splits that must occur.

    Returns:
        `dict[str, np.ndarray]`: Boolean masks of shape `(N,)`, in the order forget, retain, test.

    Raises:
        ValueError: Lengths differ, a split has another name, a required split has no example, or there are no
            examples.
    """
    names = np.asarray(splits, dtype=object)
    if names.shape != (num_examples,):
        raise ValueError(
            f"`splits` must name the split of each of the {num_examples} values of `{argument}`, got shape "
            f"{names.shape}."
        )
    if num_examples == 0:
        raise ValueError(f"`{argument}` is empty: there is nothing to measure.")
    unknown = sorted({str(name) for name in names} - set(SPLITS))
    if unknown:
        raise ValueError(f"`splits` must be of {list(SPLITS)}, got {unknown}.")
    masks = {name: names == name for name in SPLITS}
    absent = [name for name in required if not masks[name].any()]
    if absent:
        raise ValueError(f"`splits` has no example of {absent}; this metric needs {list(required)}.")
    return {name: mask for name, mask in masks.items() if mask.any()}


__all__ = ["SPLITS", "finite_array", "integer_array", "split_masks"]

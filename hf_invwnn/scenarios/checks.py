"""Checks of the arguments of the scenarios."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from numbers import Integral, Real
from typing import Any

from datasets import ClassLabel, Dataset


def check_dataset(dataset: Any, argument: str, label_column: str, allow_empty: bool = False) -> None:
    """Raises unless the argument is a `Dataset` whose `label_column` holds integers or is a `ClassLabel`."""
    if not isinstance(dataset, Dataset):
        raise TypeError(
            f"`{argument}` must be a `datasets.Dataset`, got `{type(dataset).__name__}`; "
            "pass one split of a `DatasetDict`, or load an iterable dataset without streaming."
        )
    if label_column not in dataset.column_names:
        raise ValueError(
            f"`{argument}` has no column `{label_column}`, only {dataset.column_names}; "
            "`label_column` names the column of the labels."
        )
    feature = dataset.features[label_column]
    if not isinstance(feature, ClassLabel) and "int" not in str(getattr(feature, "dtype", "")):
        raise ValueError(
            f"`{label_column}` of `{argument}` must hold integers or a `ClassLabel`, got {feature}; "
            f"`class_encode_column({label_column!r})` makes it a `ClassLabel`."
        )
    if len(dataset) == 0 and not allow_empty:
        raise ValueError(f"`{argument}` must hold examples, got an empty dataset.")


def check_datasets(train: Any, test: Any, label_column: str) -> None:
    """Checks both datasets, and that their labels name the same classes."""
    check_dataset(train, "train", label_column)
    check_dataset(test, "test", label_column)
    check_same_classes(train, test, "test", label_column)


def check_draw(train: Any, test: Any, label_column: str, fraction: Any, validation_fraction: Any, seed: Any) -> None:
    """Checks what the scenarios that draw a share of the training set have in common."""
    check_datasets(train, test, label_column)
    check_fraction(fraction, "fraction")
    check_fraction(validation_fraction, "validation_fraction", allow_zero=True)
    check_seed(seed)


def check_same_classes(train: Dataset, other: Dataset, argument: str, label_column: str) -> None:
    """Raises if two `ClassLabel` columns have different names."""
    names = [getattr(dataset.features[label_column], "names", None) for dataset in (train, other)]
    if names[0] != names[1]:
        raise ValueError(
            f"`{label_column}` of `{argument}` must name the same classes as that of `train`, got {names[1]} and "
            f"{names[0]}; cast one with `cast_column`."
        )


def check_fraction(fraction: Any, argument: str, allow_zero: bool = False) -> None:
    """Raises unless the argument is a number strictly between 0 and 1 (or 0, if `allow_zero`)."""
    if isinstance(fraction, bool) or not isinstance(fraction, Real):
        raise TypeError(f"`{argument}` must be a number, got {fraction!r}.")
    if allow_zero and fraction == 0:
        return
    if not 0 < float(fraction) < 1:
        interval = "at least 0 and below 1" if allow_zero else "above 0 and below 1"
        raise ValueError(f"`{argument}` must be a share {interval}, got {fraction}; 0.1 means a tenth.")


def check_seed(seed: Any) -> None:
    """Raises unless the argument can seed a numpy generator."""
    if isinstance(seed, bool) or not isinstance(seed, Integral):
        raise TypeError(f"`seed` must be an integer, got {seed!r}.")
    if seed < 0:
        raise ValueError(f"`seed` must be 0 or above, got {seed}.")


def checked_indices(
    indices: Any, num_examples: int, argument: str = "indices", allow_all: bool = False
) -> tuple[int, ...]:
    """
    The indices of a forget set, sorted.

    Args:
        indices (`Iterable[int]`): Row numbers in any order: a list, a numpy array, an integer tensor, ...
        num_examples (`int`): Size of the dataset.
        argument (`str`, *optional*, defaults to `"indices"`): Name of the argument in errors.
        allow_all (`bool`, *optional*, defaults to `False`): Whether they may be all rows of the dataset.

    Raises:
        TypeError: They are not iterable, or one of them is not an integer.
        ValueError: There are none, one is negative, out of range or repeated, or they are all rows without
            `allow_all`.
    """
    if isinstance(indices, str) or not isinstance(indices, Iterable):
        raise TypeError(f"`{argument}` must be an iterable of integers, got `{type(indices).__name__}`.")
    # `tolist` of tensors and arrays returns Python integers; iterating over them returns 0-d views.
    as_list = getattr(indices, "tolist", None)
    values = as_list() if as_list is not None else list(indices)
    wrong = [value for value in values if isinstance(value, bool) or not isinstance(value, Integral)]
    if wrong:
        raise TypeError(f"`{argument}` must hold integers, got {wrong[0]!r}; pass row numbers of the training set.")
    if not values:
        raise ValueError(f"`{argument}` is empty: there is nothing to forget.")
    outside = [value for value in values if not 0 <= value < num_examples]
    if outside:
        raise ValueError(
            f"`{argument}` must lie in 0..{num_examples - 1}, got {outside[0]}; count from the start of the "
            "training set."
        )
    result = tuple(sorted(int(value) for value in values))
    repeated = [first for first, second in pairwise(result) if first == second]
    if repeated:
        raise ValueError(f"`{argument}` must not repeat, got {repeated[0]} more than once; remove the duplicates.")
    if len(result) == num_examples and not allow_all:
        raise ValueError(f"`{argument}` holds all {num_examples} training examples: nothing would be retained.")
    return result


__all__ = [
    "check_dataset",
    "check_datasets",
    "check_draw",
    "check_fraction",
    "check_same_classes",
    "check_seed",
    "checked_indices",
]

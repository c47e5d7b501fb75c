"""Forget all examples of one class."""

from __future__ import annotations

from numbers import Integral

import numpy as np
from datasets import Dataset

from .checks import check_datasets, check_fraction, check_seed
from .held_out import draw, without
from .labels import integer_labels
from .splits import UnlearningSplits


def class_removal(
    train: Dataset,
    test: Dataset,
    *,
    label: int | str,
    validation_fraction: float = 0.1,
    seed: int = 0,
    label_column: str = "label",
) -> UnlearningSplits:
    """
    Forgets every training example of one class. The validation and the test set contain only the other classes.

    Validation examples are drawn from the other classes, so all training examples of the class are in D_f; `train` of
    the result is the rest. Classes keep their ids. The seed determines the validation set, and with it the row numbers
    (hence the hash) of D_f in the remaining `train`.

    Args:
        train (`Dataset`): All training examples.
        test (`Dataset`): Test examples; those of the class are dropped.
        label (`int` or `str`): The class, by id, or by name if `label_column` is a `ClassLabel`.
        validation_fraction (`float`, *optional*, defaults to 0.1): Share of the other classes' training examples to
            hold out, in [0, 1); 0 leaves the validation set empty.
        seed (`int`, *optional*, defaults to 0): Seed of the draw of the validation set.
        label_column (`str`, *optional*, defaults to `"label"`): Column of the class ids.

    Returns:
        [`UnlearningSplits`].

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: `train` has no example of the class, `train` or `test` has no other class, a share is outside its
            interval, or `label_column` does not hold class ids.
    """
    check_datasets(train, test, label_column)
    check_fraction(validation_fraction, "validation_fraction", allow_zero=True)
    check_seed(seed)
    forget_id = class_id(train, label, label_column)
    of_class = integer_labels(train, label_column, "train") == forget_id
    if not of_class.any() or of_class.all():
        how_many = "all" if of_class.all() else "none"
        raise ValueError(
            f"`label` {label!r} must be the class of some examples of `train`, but it is the class of {how_many}."
        )
    other_test = np.flatnonzero(integer_labels(test, label_column, "test") != forget_id)
    if len(other_test) == 0:
        raise ValueError(f"`test` has only examples of the class `label` {label!r}: it would be empty.")

    rng = np.random.default_rng(seed)
    held_out = draw(np.flatnonzero(~of_class), validation_fraction, rng, "validation_fraction")
    remaining = without(len(train), held_out)
    return UnlearningSplits.from_indices(
        train.select(remaining),
        np.flatnonzero(of_class[remaining]),
        validation=train.select(held_out),
        test=test.select(other_test),
        scenario="class_removal",
        seed=int(seed),
        label_column=label_column,
        settings={"label": forget_id, "validation_fraction": float(validation_fraction)},
    )


def class_id(train: Dataset, label: int | str, label_column: str, argument: str = "label") -> int:
    """The id of a class from its id or name; `argument` is the name of the argument in errors."""
    names = getattr(train.features[label_column], "names", None)
    if isinstance(label, str):
        if names is None:
            raise ValueError(
                f"`{argument}` {label!r} is a name, but `{label_column}` holds plain integers; pass the id."
            )
        if label not in names:
            raise ValueError(f"`{argument}` {label!r} is not a class of `{label_column}`; its classes are {names}.")
        return names.index(label)
    if isinstance(label, bool) or not isinstance(label, Integral):
        raise TypeError(f"`{argument}` must be a class id or name, got {label!r}.")
    return int(label)


__all__ = ["class_id", "class_removal"]

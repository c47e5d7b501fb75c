"""Forget the whole training set of an overfitted model."""

from __future__ import annotations

import numpy as np
from datasets import Dataset

from .checks import check_datasets, check_fraction, check_seed
from .held_out import draw, without
from .splits import UnlearningSplits


def overfitting(
    train: Dataset,
    test: Dataset,
    *,
    fraction: float = 0.01,
    validation_fraction: float = 0.1,
    seed: int = 0,
    label_column: str = "label",
) -> UnlearningSplits:
    """
    Takes a small share of the data as the training set, to be trained on for too many epochs, and forgets all of it.

    The retain set is empty, so there is no retrained model; methods are compared by test accuracy at equal UA.

    Args:
        train (`Dataset`): All training examples.
        test (`Dataset`): Test examples, passed through.
        fraction (`float`, *optional*, defaults to 0.01): Share of `train`, without the validation examples, to train
            on, in (0, 1).
        validation_fraction (`float`, *optional*, defaults to 0.1): Share of `train` to hold out, in [0, 1); 0 leaves
            the validation set empty.
        seed (`int`, *optional*, defaults to 0): Seed of every draw.
        label_column (`str`, *optional*, defaults to `"label"`): Column of the class ids.

    Returns:
        [`UnlearningSplits`] with an empty `retain`.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: A share is outside its interval or amounts to no example, or `label_column` does not hold class
            ids.
    """
    check_datasets(train, test, label_column)
    check_fraction(fraction, "fraction")
    check_fraction(validation_fraction, "validation_fraction", allow_zero=True)
    check_seed(seed)

    rng = np.random.default_rng(seed)
    held_out = draw(np.arange(len(train)), validation_fraction, rng, "validation_fraction")
    chosen = draw(without(len(train), held_out), fraction, rng, "fraction")
    return UnlearningSplits.from_indices(
        train.select(chosen),
        range(len(chosen)),
        validation=train.select(held_out),
        test=test,
        scenario="overfitting",
        seed=int(seed),
        label_column=label_column,
        settings={"fraction": float(fraction), "validation_fraction": float(validation_fraction)},
    )


__all__ = ["overfitting"]

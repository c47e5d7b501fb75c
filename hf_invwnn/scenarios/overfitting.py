"""Forget everything that a model was overfitted on."""

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
    A small share of the data is all that the model is trained on, for far too many epochs, and all of it is D_f.

    Nothing is retained, so there is no retrained oracle: what counts is test accuracy at equal forgetting.

    Args:
        train (`Dataset`): All training examples.
        test (`Dataset`): Test examples, passed through.
        fraction (`float`, *optional*, defaults to 0.01): Share of `train`, without the validation examples, to train
            on, in (0, 1).
        validation_fraction (`float`, *optional*, defaults to 0.1): Share of `train` to hold out, in [0, 1); 0 leaves
            the validation set empty.
        seed (`int`, *optional*, defaults to 0): Seeds the one numpy generator that draws everything.
        label_column (`str`, *optional*, defaults to `"label"`): Column of the class ids.

    Returns:
        [`UnlearningSplits`] with an empty `retain`.

    Raises:
        TypeError: An argument of another type.
        ValueError: A share out of its interval or that comes to no example, or no usable `label_column`.
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

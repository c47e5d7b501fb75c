"""Forget a random share of the training set."""

from __future__ import annotations

import numpy as np
from datasets import Dataset

from .checks import check_datasets, check_fraction, check_seed
from .held_out import draw, without
from .splits import UnlearningSplits


def random_subset(
    train: Dataset,
    test: Dataset,
    *,
    fraction: float = 0.5,
    validation_fraction: float = 0.1,
    seed: int = 0,
    label_column: str = "label",
) -> UnlearningSplits:
    """
    Forgets a uniformly drawn share of the training examples (table 1 of the InvWNN paper forgets half).

    Validation examples are carved out of `train` first; `train` of the result is what remains, and is what the model
    must be trained on. The same seed on the same data gives the same splits, another seed gives others.

    Args:
        train (`Dataset`): All training examples.
        test (`Dataset`): Test examples, passed through.
        fraction (`float`, *optional*, defaults to 0.5): Share of the remaining `train` to forget, in (0, 1).
        validation_fraction (`float`, *optional*, defaults to 0.1): Share of `train` to hold out, in [0, 1); 0 leaves
            the validation set empty.
        seed (`int`, *optional*, defaults to 0): Seeds the one numpy generator that draws everything.
        label_column (`str`, *optional*, defaults to `"label"`): Column of the class ids.

    Returns:
        [`UnlearningSplits`].

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
    remaining = without(len(train), held_out)
    forget = draw(np.arange(len(remaining)), fraction, rng, "fraction")
    return UnlearningSplits.from_indices(
        train.select(remaining),
        forget,
        validation=train.select(held_out),
        test=test,
        scenario="random_subset",
        seed=int(seed),
        label_column=label_column,
        settings={"fraction": float(fraction), "validation_fraction": float(validation_fraction)},
    )


__all__ = ["random_subset"]

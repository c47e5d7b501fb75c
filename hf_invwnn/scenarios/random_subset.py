"""Forget a random share of the training set."""

from __future__ import annotations

from datasets import Dataset

from .checks import check_draw
from .held_out import draw_rows
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
    Forgets a uniformly drawn share of the training examples (half in table 1 of the InvWNN paper).

    Validation examples are drawn from `train` first; `train` of the result is the rest, on which the model must be
    trained. The splits follow from the seed and the data.

    Args:
        train (`Dataset`): All training examples.
        test (`Dataset`): Test examples, passed through.
        fraction (`float`, *optional*, defaults to 0.5): Share of the remaining `train` to forget, in (0, 1).
        validation_fraction (`float`, *optional*, defaults to 0.1): Share of `train` to hold out, in [0, 1); 0 leaves
            the validation set empty.
        seed (`int`, *optional*, defaults to 0): Seed of every draw.
        label_column (`str`, *optional*, defaults to `"label"`): Column of the class ids.

    Returns:
        [`UnlearningSplits`].

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: A share is outside its interval or amounts to no example, or `label_column` does not hold class
            ids.
    """
    check_draw(train, test, label_column, fraction, validation_fraction, seed)
    held_out, remaining, forget, _ = draw_rows(len(train), fraction, validation_fraction, seed)
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

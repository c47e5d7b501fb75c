"""Forget the whole training set of an overfitted model."""

from __future__ import annotations

from datasets import Dataset

from .checks import check_draw
from .held_out import draw_rows
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
        validation_fraction (`float`), seed (`int`), label_column (`str`): As for [`random_subset`].

    Returns:
        [`UnlearningSplits`] with an empty `retain`.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: A share is outside its interval or amounts to no example, or `label_column` does not hold class
            ids.
    """
    check_draw(train, test, label_column, fraction, validation_fraction, seed)
    drawn = draw_rows(len(train), fraction, validation_fraction, seed)
    chosen = drawn.remaining[drawn.chosen]
    return UnlearningSplits.from_indices(
        train.select(chosen),
        range(len(chosen)),
        validation=train.select(drawn.validation),
        test=test,
        scenario="overfitting",
        seed=int(seed),
        label_column=label_column,
        settings={"fraction": float(fraction), "validation_fraction": float(validation_fraction)},
    )


__all__ = ["overfitting"]

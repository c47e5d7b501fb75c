"""Forget given rows of the training set."""

from __future__ import annotations

from collections.abc import Iterable

from datasets import Dataset

from .checks import check_dataset, check_datasets, check_same_classes, checked_indices
from .splits import UnlearningSplits


def given_indices(
    train: Dataset,
    test: Dataset,
    *,
    indices: Iterable[int],
    validation: Dataset | None = None,
    label_column: str = "label",
) -> UnlearningSplits:
    """
    Forgets given rows of the training set, as in a deletion request.

    Nothing is drawn. `train` must be exactly the data the model was trained on, in the order that the indices refer
    to. No validation set is drawn from it, because the model was trained on all of it; pass other examples as
    `validation`.

    Args:
        train (`Dataset`): The training set of the model.
        test (`Dataset`): Test examples, passed through.
        indices (`Iterable[int]`): Rows of `train` to forget, from 0, in any order.
        validation (`Dataset`, *optional*): Examples the model was not trained on, which is not checked. By default
            empty, with the columns of `train`.
        label_column (`str`, *optional*, defaults to `"label"`): Column of the class ids.

    Returns:
        [`UnlearningSplits`], whose `seed` is `None`.

    Raises:
        TypeError: An argument has the wrong type, or an index is not an integer.
        ValueError: Indices are empty, negative, out of range, repeated, or all rows of `train`; or `label_column` does
            not hold class ids.
    """
    check_datasets(train, test, label_column)
    if validation is not None:
        check_dataset(validation, "validation", label_column, allow_empty=True)
        check_same_classes(train, validation, "validation", label_column)
    checked = checked_indices(indices, len(train))
    return UnlearningSplits.from_indices(
        train,
        checked,
        validation=train.select([]) if validation is None else validation,
        test=test,
        scenario="given_indices",
        label_column=label_column,
    )


__all__ = ["given_indices"]

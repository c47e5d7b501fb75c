"""Forget the examples that somebody asked to have deleted."""

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
    Forgets the given rows of the training set: a real deletion request.

    Nothing is drawn. `train` of the result is `train` as given, which must be exactly what the model was trained on,
    in the order the indices count in. No validation set is carved out of it: the model has seen those examples. Give
    `validation` if there is data that it has not.

    Args:
        train (`Dataset`): What the model was trained on.
        test (`Dataset`): Test examples, passed through.
        indices (`Iterable[int]`): Rows of `train` to forget, from 0, in any order.
        validation (`Dataset`, *optional*): Examples the model was not trained on, which is not checked. Empty, with
            the columns of `train`, if not given.
        label_column (`str`, *optional*, defaults to `"label"`): Column of the class ids.

    Returns:
        [`UnlearningSplits`], whose `seed` is `None`.

    Raises:
        TypeError: An argument of another type, or an index that is no integer.
        ValueError: Indices that are empty, negative, out of range, repeated, or all of `train`; or no usable
            `label_column`.
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

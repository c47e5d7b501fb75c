"""The labels of a dataset as integers, and its classes."""

from __future__ import annotations

import numpy as np
from datasets import Dataset


def integer_labels(dataset: Dataset, label_column: str, argument: str) -> np.ndarray:
    """
    All labels, without decoding any other column.

    Args:
        dataset (`Dataset`): Any split.
        label_column (`str`): Column of the class ids.
        argument (`str`): Name of the dataset in errors.

    Returns:
        `np.ndarray` of shape `(N,)`, int64.

    Raises:
        ValueError: A label is missing, or negative (as -1 in an unlabelled split).
    """
    # Without the format or transform of the user, which must not change the labels.
    column = dataset.with_format(None).select_columns([label_column])[:][label_column]
    if any(label is None for label in column):
        raise ValueError(f"`{label_column}` of `{argument}` has missing labels; filter those examples out.")
    labels = np.asarray(column, dtype=np.int64)
    if labels.size and labels.min() < 0:
        raise ValueError(
            f"`{label_column}` of `{argument}` holds the label {labels.min()}; filter unlabelled examples out."
        )
    return labels


def known_classes(dataset: Dataset, label_column: str, labels: np.ndarray) -> np.ndarray:
    """Ids of all classes: those of a `ClassLabel` or, if labels are plain integers, those that occur."""
    names = getattr(dataset.features[label_column], "names", None)
    return np.unique(labels) if names is None else np.arange(len(names))


__all__ = ["integer_labels", "known_classes"]

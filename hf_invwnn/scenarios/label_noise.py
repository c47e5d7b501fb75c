"""Forget training examples with wrong labels."""

from __future__ import annotations

import numpy as np
from datasets import Dataset

from .checks import check_draw
from .held_out import draw_rows
from .labels import integer_labels, known_classes
from .splits import UnlearningSplits


CLEAN_LABEL_COLUMN = "clean_label"


def label_noise(
    train: Dataset,
    test: Dataset,
    *,
    fraction: float = 0.2,
    validation_fraction: float = 0.1,
    seed: int = 0,
    label_column: str = "label",
) -> UnlearningSplits:
    """
    Mislabels a share of the training examples; these, with their wrong labels, are D_f.

    Each wrong label is drawn uniformly from the *other* classes: those that a `ClassLabel` names or, if labels are
    plain integers, those that occur in `train`. `train`, `forget` and `retain` have an additional column
    `clean_label`, so that D_f can be evaluated under both labels. Validation examples are drawn from `train` first and
    stay clean, as does `test`. Splits and wrong labels follow from the seed and the data.

    Args:
        train (`Dataset`): All training examples, with clean labels.
        test (`Dataset`): Test examples, passed through.
        fraction (`float`, *optional*, defaults to 0.2): Share of the remaining `train` to mislabel, in (0, 1).
        validation_fraction (`float`), seed (`int`), label_column (`str`): As for [`random_subset`].

    Returns:
        [`UnlearningSplits`].

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: A share is outside its interval or amounts to no example, `label_column` does not hold class ids,
            there are fewer than two classes, or `train` already has a column `clean_label`.
    """
    check_draw(train, test, label_column, fraction, validation_fraction, seed)
    if CLEAN_LABEL_COLUMN in train.column_names:
        raise ValueError(
            f"`train` already has a column `{CLEAN_LABEL_COLUMN}`, which would be overwritten; rename it."
        )
    labels = integer_labels(train, label_column, "train")
    classes = known_classes(train, label_column, labels)
    if len(classes) < 2:
        raise ValueError(
            f"`{label_column}` of `train` has only one class, {classes.tolist()}: there are no wrong labels."
        )

    held_out, remaining, forget, rng = draw_rows(len(train), fraction, validation_fraction, seed)
    noisy = labels.copy()
    noisy[remaining[forget]] = _other_class(labels[remaining[forget]], classes, rng)
    return UnlearningSplits.from_indices(
        relabelled(train, noisy, labels, label_column).select(remaining),
        forget,
        validation=train.select(held_out),
        test=test,
        scenario="label_noise",
        seed=int(seed),
        label_column=label_column,
        settings={"fraction": float(fraction), "validation_fraction": float(validation_fraction)},
    )


def _other_class(labels: np.ndarray, classes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    # A step of 1..C-1 around the ring of classes reaches each other class equally often and never the class itself.
    steps = rng.integers(1, len(classes), size=len(labels))
    return classes[(np.searchsorted(classes, labels) + steps) % len(classes)]


def relabelled(train: Dataset, noisy: np.ndarray, clean: np.ndarray, label_column: str) -> Dataset:
    """The dataset with other labels, and the clean ones in an additional column."""
    columns, feature, data_format = train.column_names, train.features[label_column], train.format
    # Adding a column may rewrite the table; with a transform, such as a random crop, its outputs would be stored.
    result = train.with_format(None).remove_columns(label_column).add_column(label_column, noisy, feature=feature)
    result = result.add_column(CLEAN_LABEL_COLUMN, clean, feature=feature)
    result = result.select_columns([*columns, CLEAN_LABEL_COLUMN])
    visible = None if set(data_format["columns"]) == set(columns) else data_format["columns"]
    return result.with_format(
        data_format["type"], visible, data_format["output_all_columns"], **data_format["format_kwargs"]
    )


__all__ = ["CLEAN_LABEL_COLUMN", "label_noise", "relabelled"]

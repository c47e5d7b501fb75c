"""Forget examples that were trained on with wrong labels."""

from __future__ import annotations

import numpy as np
from datasets import Dataset

from .checks import check_datasets, check_fraction, check_seed
from .held_out import draw, without
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
    Mislabels a share of the training examples; those, with their wrong labels, are what is to be forgotten.

    Each wrong label is drawn uniformly from the *other* classes: all that a `ClassLabel` names, or all that occur in
    `train` where labels are plain integers. `train`, `forget` and `retain` gain a column `clean_label`, so that D_f
    can be judged under both. Validation examples are carved out of `train` first and stay clean, as does `test`. The
    same seed on the same data gives the same splits and wrong labels, another seed gives others.

    Args:
        train (`Dataset`): All training examples, with clean labels.
        test (`Dataset`): Test examples, passed through.
        fraction (`float`, *optional*, defaults to 0.2): Share of the remaining `train` to mislabel, in (0, 1).
        validation_fraction (`float`, *optional*, defaults to 0.1): Share of `train` to hold out, in [0, 1); 0 leaves
            the validation set empty.
        seed (`int`, *optional*, defaults to 0): Seeds the one numpy generator that draws everything.
        label_column (`str`, *optional*, defaults to `"label"`): Column of the class ids.

    Returns:
        [`UnlearningSplits`].

    Raises:
        TypeError: An argument of another type.
        ValueError: A share out of its interval or that comes to no example, no usable `label_column`, fewer than two
            classes, or a column `clean_label` that is there already.
    """
    check_datasets(train, test, label_column)
    check_fraction(fraction, "fraction")
    check_fraction(validation_fraction, "validation_fraction", allow_zero=True)
    check_seed(seed)
    if CLEAN_LABEL_COLUMN in train.column_names:
        raise ValueError(f"`train` has a column `{CLEAN_LABEL_COLUMN}` already, which would be lost; rename it.")
    labels = integer_labels(train, label_column, "train")
    classes = known_classes(train, label_column, labels)
    if len(classes) < 2:
        raise ValueError(f"`{label_column}` of `train` has one class, {classes.tolist()}: no label could be wrong.")

    rng = np.random.default_rng(seed)
    held_out = draw(np.arange(len(train)), validation_fraction, rng, "validation_fraction")
    remaining = without(len(train), held_out)
    forget = draw(np.arange(len(remaining)), fraction, rng, "fraction")
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
    # A step of 1..C-1 around the ring of classes reaches each other class equally often and never the same one.
    steps = rng.integers(1, len(classes), size=len(labels))
    return classes[(np.searchsorted(classes, labels) + steps) % len(classes)]


def relabelled(train: Dataset, noisy: np.ndarray, clean: np.ndarray, label_column: str) -> Dataset:
    """The dataset with other labels, and the clean ones in a column of their own."""
    columns, feature, shown = train.column_names, train.features[label_column], train.format
    # Adding a column may rewrite the table, and would write what a transform (a random crop, say) gives into it.
    result = train.with_format(None).remove_columns(label_column).add_column(label_column, noisy, feature=feature)
    result = result.add_column(CLEAN_LABEL_COLUMN, clean, feature=feature)
    result = result.select_columns([*columns, CLEAN_LABEL_COLUMN])
    only = None if set(shown["columns"]) == set(columns) else shown["columns"]
    return result.with_format(shown["type"], only, shown["output_all_columns"], **shown["format_kwargs"])


__all__ = ["CLEAN_LABEL_COLUMN", "label_noise", "relabelled"]

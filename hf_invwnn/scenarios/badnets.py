"""Forget a backdoor: training images with a trigger at their edge and the label of the attacker (BadNets)."""

from __future__ import annotations

from typing import Any

import numpy as np
from datasets import Dataset
from PIL import Image

from .checks import check_draw
from .class_removal import class_id
from .held_out import draw_rows
from .label_noise import CLEAN_LABEL_COLUMN, relabelled
from .labels import integer_labels
from .splits import UnlearningSplits


def badnets(
    train: Dataset,
    test: Dataset,
    *,
    target: int | str = 0,
    fraction: float = 0.2,
    validation_fraction: float = 0.1,
    seed: int = 0,
    label_column: str = "label",
    image_column: str = "image",
) -> UnlearningSplits:
    """
    Poisons a share of the training examples as BadNets (Gu et al., 2017): each gets the trigger of [`add_trigger`] and
    the label `target`.

    The poisoned examples are D_f, under the adversarial label. The column `clean_label` holds the true one, so that
    D_f can be evaluated under both. The attack is evaluated on [`triggered_test_set`]. Validation examples are drawn
    from `train` first and stay clean, as does `test`. Examples of the target class may be poisoned as well.

    Args:
        train (`Dataset`): All training examples.
        test (`Dataset`): Test examples, passed through.
        target (`int` or `str`, *optional*, defaults to 0): Label of poisoned images: a class id, or a class name
            if `label_column` is a `ClassLabel`.
        fraction (`float`, *optional*, defaults to 0.2): Share of the remaining `train` to poison, in (0, 1).
        validation_fraction (`float`), seed (`int`), label_column (`str`): As for [`random_subset`].
        image_column (`str`, *optional*, defaults to `"image"`): Column of the images.

    Returns:
        [`UnlearningSplits`].

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: A share is outside its interval or amounts to no example, the class or a column does not exist,
            labels are not integers, or `train` already has a column `clean_label`.
    """
    check_draw(train, test, label_column, fraction, validation_fraction, seed)
    for name, dataset in (("train", train), ("test", test)):
        if image_column not in dataset.column_names:
            raise ValueError(
                f"`image_column` {image_column!r} is not a column of `{name}`; it has {dataset.column_names}."
            )
    if CLEAN_LABEL_COLUMN in train.column_names:
        raise ValueError(
            f"`train` already has a column `{CLEAN_LABEL_COLUMN}`, which would be overwritten; rename it."
        )
    target_id = class_id(train, target, label_column, "target")
    labels = integer_labels(train, label_column, "train")
    if target_id not in labels:
        raise ValueError(f"`train` has no example of the class `target` {target!r}.")

    held_out, remaining, forget, _ = draw_rows(len(train), fraction, validation_fraction, seed)
    poisoned = labels.copy()
    poisoned[remaining[forget]] = target_id
    labelled = relabelled(train, poisoned, labels, label_column).select(remaining)
    return UnlearningSplits.from_indices(
        _stamped(labelled, forget, image_column),
        forget,
        validation=train.select(held_out),
        test=test,
        scenario="badnets",
        seed=int(seed),
        label_column=label_column,
        settings={
            "target": target_id,
            "fraction": float(fraction),
            "validation_fraction": float(validation_fraction),
            "image_column": image_column,
        },
    )


def triggered_test_set(splits: UnlearningSplits) -> Dataset:
    """
    The test images with which an attacker would use the backdoor: those of the other classes, with the trigger and the
    label of the target. The accuracy of a model on them is the success rate of the attack.

    Args:
        splits ([`UnlearningSplits`]): Splits of the scenario `"badnets"`.

    Raises:
        ValueError: The splits belong to another scenario, or all test images are of the target class.
    """
    if splits.scenario != "badnets":
        raise ValueError(f"`splits` must be of the scenario 'badnets', got {splits.scenario!r}.")
    target, image_column = splits.settings["target"], splits.settings["image_column"]
    labels = integer_labels(splits.test, splits.label_column, "test")
    others = np.flatnonzero(labels != target)
    if len(others) == 0:
        raise ValueError("`splits.test` has only images of the target class.")
    feature = splits.test.features[splits.label_column]
    chosen = splits.test.select(others).with_format(None).remove_columns(splits.label_column)
    chosen = chosen.add_column(splits.label_column, np.full(len(others), target), feature=feature)
    return _stamped(chosen, np.arange(len(others)), image_column)


def add_trigger(image: Image.Image) -> Image.Image:
    """
    A copy of the image with the trigger: a bar along the left edge, a sixteenth of the width (at least one pixel), of
    four fields that alternate between white and black.
    """
    pixels = np.array(image)
    height, width = pixels.shape[:2]
    bright = np.arange(height) * 4 // height % 2 == 0
    largest = 1 if pixels.dtype == bool else 255
    bar = np.where(bright, largest, 0).astype(pixels.dtype)
    pixels[:, : max(1, width // 16)] = bar.reshape(-1, 1, *[1] * (pixels.ndim - 2))
    return Image.fromarray(pixels, mode=None)


def _stamped(dataset: Dataset, positions: np.ndarray, image_column: str) -> Dataset:
    chosen = np.zeros(len(dataset), dtype=bool)
    chosen[positions] = True

    def stamp(batch: dict[str, Any], indices: list[int]) -> dict[str, Any]:
        images = batch[image_column]
        return {image_column: [add_trigger(im) if chosen[i] else im for im, i in zip(images, indices, strict=True)]}

    return dataset.with_format(None).map(
        stamp,
        with_indices=True,
        batched=True,
        batch_size=500,
        features=dataset.features,
        desc="trigger",
        load_from_cache_file=False,
        keep_in_memory=True,
    )


__all__ = ["add_trigger", "badnets", "triggered_test_set"]

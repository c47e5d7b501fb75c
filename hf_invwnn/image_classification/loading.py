"""The data of an experiment from settings: images from a Hub id, a folder or scikit-learn, and their splits."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
from datasets import ClassLabel, Dataset, Image, load_dataset

from ..scenarios import SCENARIOS, UnlearningSplits
from .digits import digit_images
from .images import ImageTensors, ProcessedImages, process_images


logger = logging.getLogger(__name__)


@dataclass
class DataArguments:
    dataset: str = field(
        default="digits",
        metadata={
            "help": "Hub id, local folder with train*.parquet and test*.parquet, or 'digits' (of scikit-learn)."
        },
    )
    image_column: str = field(default="image", metadata={"help": "Column of the images."})
    label_column: str = field(default="label", metadata={"help": "Column of the class ids."})
    augmentation: bool = field(default=False, metadata={"help": "Train on shifted crops and mirror images."})
    test_split: str = field(default="test", metadata={"help": "Split of a Hub data set to test on."})
    max_classes: int | None = field(default=None, metadata={"help": "Number of classes to use, the first ones."})
    max_train_examples: int | None = field(
        default=None, metadata={"help": "Maximum number of training images; drawn by the seed if there are more."}
    )
    max_test_examples: int | None = field(
        default=None, metadata={"help": "Maximum number of test images; drawn by the seed if there are more."}
    )


@dataclass
class ScenarioArguments:
    scenario: str = field(default="label_noise", metadata={"help": f"The examples to forget: {sorted(SCENARIOS)}."})
    scenario_settings: dict | None = field(default=None, metadata={"help": "Settings of the scenario."})


def load_images(args: DataArguments, seed: int) -> tuple[Dataset, Dataset]:
    """
    The training and the test set, each with an image and a label column. If `image_column` is missing and there is
    exactly one column of images, as in a local copy with other names, that column is renamed to `image_column`.

    Args:
        args ([`DataArguments`]): The data set, its columns and its size.
        seed (`int`): Seed of the draw of a subset.

    Raises:
        ValueError: `dataset` looks like a folder that does not exist, `image_column` is missing and no other column
            can take its place, or `max_classes` is less than 2.
    """
    if args.dataset == "digits":
        train, test = digit_images()
    elif Path(args.dataset).is_dir():
        files = {split: f"{args.dataset}/{split}*.parquet" for split in ("train", "test")}
        train, test = (load_dataset("parquet", data_files=files, split=split) for split in ("train", "test"))
    elif args.dataset.startswith((".", "/", "~")) or args.dataset.count("/") > 1:
        raise ValueError(f"`dataset`: there is no folder {args.dataset!r}; name one, or a Hub id.")
    else:
        train, test = (load_dataset(args.dataset, split=split) for split in ("train", args.test_split))
    train, test = (_first_classes(_with_image_column(dataset, args), args) for dataset in (train, test))
    return _at_most(train, args.max_train_examples, seed), _at_most(test, args.max_test_examples, seed)


def make_splits(data: DataArguments, scenario: ScenarioArguments, seed: int) -> UnlearningSplits:
    """
    Loads the images and splits them by a scenario.

    Args:
        data ([`DataArguments`]), scenario ([`ScenarioArguments`]): The images, and which of them to forget.
        seed (`int`): Seed of every draw, unless `scenario_settings` has one.

    Raises:
        ValueError: The scenario does not exist, or does not have one of the settings.
    """
    if scenario.scenario not in SCENARIOS:
        raise ValueError(f"`scenario` must be one of {sorted(SCENARIOS)}, got {scenario.scenario!r}.")
    make = SCENARIOS[scenario.scenario]
    parameters = signature(make).parameters
    settings = {"label_column": data.label_column, **(scenario.scenario_settings or {})}
    if unknown := sorted(settings.keys() - parameters.keys()):
        raise ValueError(
            f"`scenario_settings`: {scenario.scenario} takes {', '.join([*parameters][2:])}; got {unknown}."
        )
    if "seed" in parameters:
        settings.setdefault("seed", seed)
    if "image_column" in parameters:
        settings.setdefault("image_column", data.image_column)
    train, test = load_images(data, seed)
    return make(train, test, **settings)


def split_datasets(
    splits: UnlearningSplits,
    image_processor: Any,
    image_column: str = "image",
    names: tuple[str, ...] = ("forget", "retain", "test"),
) -> dict[str, ImageTensors | ProcessedImages]:
    """
    The named splits as inputs of a classifier; empty ones are left out.

    Args:
        splits ([`UnlearningSplits`]): The splits.
        image_processor (`BaseImageProcessor`): The processor of the model.
        image_column (`str`, defaults to `"image"`): Column of the images.
        names (`tuple[str, ...]`): Names of splits.
    """
    return {
        name: process_images(getattr(splits, name), image_processor, image_column, splits.label_column)
        for name in names
        if len(getattr(splits, name))
    }


def _with_image_column(dataset: Dataset, args: DataArguments) -> Dataset:
    if args.image_column in dataset.column_names:
        return dataset
    columns = [name for name, feature in dataset.features.items() if isinstance(feature, Image)]
    if len(columns) != 1:
        raise ValueError(
            f"`image_column`: {args.dataset!r} has no column {args.image_column!r}; its columns are "
            f"{', '.join(dataset.column_names)}."
        )
    logger.info("%s has no column %r; its images are in %r", args.dataset, args.image_column, columns[0])
    return dataset.rename_column(columns[0], args.image_column)


def _first_classes(dataset: Dataset, args: DataArguments) -> Dataset:
    if args.max_classes is None:
        return dataset
    if args.max_classes < 2:
        raise ValueError(f"`max_classes` must be at least 2, got {args.max_classes}.")
    labels = np.asarray(dataset.with_format(None)[args.label_column][:])
    feature = dataset.features[args.label_column]
    dataset = dataset.select(np.flatnonzero(labels < args.max_classes))
    if isinstance(feature, ClassLabel):
        dataset = dataset.cast_column(args.label_column, ClassLabel(names=feature.names[: args.max_classes]))
    return dataset


def _at_most(dataset: Dataset, count: int | None, seed: int) -> Dataset:
    if count is None or count >= len(dataset):
        return dataset
    return dataset.select(np.sort(np.random.default_rng(seed).permutation(len(dataset))[:count]))


__all__ = ["DataArguments", "ScenarioArguments", "load_images", "make_splits", "split_datasets"]

"""The images of an experiment: scikit-learn's digits, a local folder, or a Hub data set."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from datasets import ClassLabel, Dataset, load_dataset

from ..digits import digit_images


@dataclass
class DataArguments:
    dataset: str = field(
        default="digits",
        metadata={"help": "Hub id, local folder of parquet files, or 'digits' (scikit-learn's, no download)."},
    )
    image_column: str = field(default="image", metadata={"help": "Column of the images."})
    label_column: str = field(default="label", metadata={"help": "Column of the class ids."})
    augmentation: bool = field(default=False, metadata={"help": "Train on shifted crops and mirror images."})
    test_split: str = field(default="test", metadata={"help": "Split of a Hub data set to test on."})
    max_classes: int | None = field(default=None, metadata={"help": "Take only the first so many classes."})
    max_train_examples: int | None = field(default=None, metadata={"help": "Take only so many, drawn by the seed."})
    max_test_examples: int | None = field(default=None, metadata={"help": "Take only so many, drawn by the seed."})


def load_images(args: DataArguments, seed: int) -> tuple[Dataset, Dataset]:
    """
    The training and the test examples, each with an image and a label column.

    Args:
        args ([`DataArguments`]): Which.
        seed (`int`): Draws the examples where only some are taken.

    Raises:
        ValueError: `dataset` looks like a folder, and there is none; or `max_classes` is less than 2.
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
    train, test = (_first_classes(dataset, args) for dataset in (train, test))
    return _at_most(train, args.max_train_examples, seed), _at_most(test, args.max_test_examples, seed)


def _first_classes(dataset: Dataset, args: DataArguments) -> Dataset:
    if args.max_classes is None:
        return dataset
    if args.max_classes < 2:
        raise ValueError(f"`max_classes` must be at least 2, got {args.max_classes}.")
    labels = np.asarray(dataset.with_format(None)[args.label_column][:])
    feature = dataset.features[args.label_column]
    kept = dataset.select(np.flatnonzero(labels < args.max_classes))
    if isinstance(feature, ClassLabel):
        kept = kept.cast_column(args.label_column, ClassLabel(names=feature.names[: args.max_classes]))
    return kept


def _at_most(dataset: Dataset, count: int | None, seed: int) -> Dataset:
    if count is None or count >= len(dataset):
        return dataset
    return dataset.select(np.sort(np.random.default_rng(seed).permutation(len(dataset))[:count]))


__all__ = ["DataArguments", "load_images"]

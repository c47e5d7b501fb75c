"""What the recipes of this folder share: the images, and the record of what a model was trained on."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from datasets import Dataset, load_dataset

from hf_invwnn.digits import digit_images
from hf_invwnn.scenarios import UnlearningSplits


TRAINED_ON = "trained_on.json"


@dataclass
class DataArguments:
    dataset: str = field(
        default="digits",
        metadata={"help": "Hub id, local folder of parquet files, or 'digits' (scikit-learn's, no download)."},
    )
    image_column: str = field(default="image", metadata={"help": "Column of the images."})
    label_column: str = field(default="label", metadata={"help": "Column of the class ids."})
    max_train_examples: int | None = field(default=None, metadata={"help": "Take only so many, drawn by the seed."})


def load_images(args: DataArguments, seed: int) -> tuple[Dataset, Dataset]:
    """The training and the test examples, each with an image and a label column."""
    if args.dataset == "digits":
        train, test = digit_images()
    elif Path(args.dataset).is_dir():
        files = {split: f"{args.dataset}/{split}*.parquet" for split in ("train", "test")}
        train, test = (load_dataset("parquet", data_files=files, split=split) for split in ("train", "test"))
    elif args.dataset.startswith((".", "/", "~")) or args.dataset.count("/") > 1:
        raise SystemExit(f"--dataset: there is no folder {args.dataset!r}; name one, or a Hub id.")
    else:
        train, test = (load_dataset(args.dataset, split=split) for split in ("train", "test"))
    if args.max_train_examples is not None and args.max_train_examples < len(train):
        chosen = np.random.default_rng(seed).permutation(len(train))[: args.max_train_examples]
        train = train.select(np.sort(chosen))
    return train, test


def write_trained_on(model: str, train_on: str, splits: UnlearningSplits) -> None:
    """Writes beside a model which part of which splits it has seen; no index and no example of them."""
    record = {"train_on": train_on, **splits.summary()}
    (Path(model) / TRAINED_ON).write_text(json.dumps(record, indent=2) + "\n")


def check_trained_on(argument: str, model: str, train_on: str, splits: UnlearningSplits) -> None:
    """Ends the recipe if the model was trained on something else; a model without a record gets a warning."""
    path = Path(model) / TRAINED_ON
    if not path.is_file():
        logging.warning("--%s: %s has no %s, so nothing says what it was trained on", argument, model, TRAINED_ON)
        return
    expected = {"train_on": train_on, **splits.summary()}
    found = json.loads(path.read_text())
    if differing := sorted(name for name in expected if found.get(name) != expected[name]):
        raise SystemExit(
            f"--{argument}: {model} does not fit the splits; {TRAINED_ON} has "
            + ", ".join(f"{name} {found.get(name)} for {expected[name]}" for name in differing)
            + "."
        )

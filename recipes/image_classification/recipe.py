"""What the recipes of this folder share: a YAML file as arguments, and images as the model wants them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from datasets import Dataset, load_dataset
from transformers import HfArgumentParser

from hf_invwnn.digits import digit_images


@dataclass
class DataArguments:
    dataset: str = field(
        default="digits",
        metadata={"help": "Hub id, local folder of parquet files, or 'digits' (scikit-learn's, no download)."},
    )
    image_column: str = field(default="image", metadata={"help": "Column of the images."})
    label_column: str = field(default="label", metadata={"help": "Column of the class ids."})
    max_train_examples: int | None = field(default=None, metadata={"help": "Take only so many, drawn by the seed."})


def parse_yaml_and_flags(kinds: Sequence[Any], description: str) -> tuple[Any, ...]:
    """Dataclasses from `--config FILE.yaml` and flags; a flag wins over the file, an unknown key is an error."""
    parser = HfArgumentParser(kinds, description=description)
    parser.add_argument("--config", help="YAML file with any of the arguments below")
    words = sys.argv[1:]
    if "--config" in words:
        position = words.index("--config")
        if position + 1 == len(words):
            parser.error("--config needs the name of a YAML file")
        path = Path(words[position + 1])
        if not path.is_file():
            parser.error(f"--config: there is no file {path}")
        settings = yaml.safe_load(path.read_text()) or {}
        known = {action.dest for action in parser._actions}
        if unknown := sorted(set(settings) - known):
            parser.error(f"{path} has unknown keys: {', '.join(unknown)}")
        words = words[:position] + words[position + 2 :]
        for action in parser._actions:
            action.required = action.required and action.dest not in settings
        parser.set_defaults(**settings)
    parsed = parser.parse_args_into_dataclasses(words)
    return tuple(parsed[: len(kinds)])


def load_images(args: DataArguments, seed: int) -> tuple[Dataset, Dataset]:
    """The training and the test examples, each with an image and a label column."""
    if args.dataset == "digits":
        train, test = digit_images()
    elif Path(args.dataset).is_dir():
        files = {split: f"{args.dataset}/{split}*.parquet" for split in ("train", "test")}
        train, test = (load_dataset("parquet", data_files=files, split=split) for split in ("train", "test"))
    else:
        train, test = (load_dataset(args.dataset, split=split) for split in ("train", "test"))
    if args.max_train_examples is not None and args.max_train_examples < len(train):
        chosen = np.random.default_rng(seed).permutation(len(train))[: args.max_train_examples]
        train = train.select(np.sort(chosen))
    return train, test

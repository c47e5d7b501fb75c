"""What the recipes of this folder share: a YAML file as arguments, the images, and what a model was trained on."""

from __future__ import annotations

import json
import logging
from argparse import ArgumentParser
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from datasets import Dataset, load_dataset
from transformers import HfArgumentParser

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


def parse_yaml_and_flags(kinds: Sequence[Any], description: str) -> tuple[Any, ...]:
    """Dataclasses from `--config FILE.yaml` and flags; a flag wins over the file, an unknown key is an error."""
    file_only = ArgumentParser(add_help=False, allow_abbrev=False)
    file_only.add_argument("--config", type=Path, help="YAML file with any of the arguments below")
    parser = HfArgumentParser(kinds, description=description, parents=[file_only])
    given, words = file_only.parse_known_args()
    if given.config is not None:
        settings = _settings(given.config, parser)
        for action in parser._actions:
            action.required = action.required and action.dest not in settings
        parser.set_defaults(**settings)
    return tuple(parser.parse_args_into_dataclasses(words)[: len(kinds)])


def _settings(path: Path, parser: ArgumentParser) -> dict[str, Any]:
    if not path.is_file():
        parser.error(f"--config: there is no file {path}")
    try:
        settings = yaml.safe_load(path.read_text()) or {}
    except yaml.YAMLError as error:
        parser.error(f"--config: {path} is no YAML: {error}")
    if not isinstance(settings, dict):
        parser.error(f"--config: {path} must hold `name: value` lines")
    if unknown := sorted(set(settings) - {action.dest for action in parser._actions}):
        parser.error(f"{path} has unknown keys: {', '.join(unknown)}")
    return settings


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

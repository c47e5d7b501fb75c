"""Collect weight histories of small models on scikit-learn's digits into a `datasets.Dataset` on disk.

    python recipes/predictor/collect_histories.py --output_dir outputs/histories

Each run is one parquet file; a collection that was interrupted goes on where it stopped. The data need no download.
"""

from __future__ import annotations

import itertools
import os
from dataclasses import dataclass, field
from pathlib import Path

import torch
from sklearn.datasets import load_digits
from tqdm import tqdm
from transformers import HfArgumentParser
from transformers.utils import logging

from hf_invwnn.histories import RunSpec, record_run


@dataclass
class CollectArguments:
    output_dir: str = field(metadata={"help": "Folder of the parquet files, one for each run."})
    epochs: int = field(default=50, metadata={"help": "Epochs of each run."})
    examples: int = field(default=1000, metadata={"help": "Training images of each run."})
    weights_per_parameter: int = field(default=128, metadata={"help": "Weights kept of each parameter."})


OPTIMIZERS = [("adamw_torch", 1e-3), ("adamw_torch", 3e-4), ("sgd", 3e-2), ("sgd", 1e-2)]
SCHEDULES = ["constant", "cosine"]
ARCHITECTURES = ["mlp", "cnn", "resnet", "vit", "convnext"]


def specifications(epochs: int) -> list[RunSpec]:
    """Every architecture with every optimizer; schedule, label noise and seed take turns."""
    runs = []
    for number, (architecture, (optimizer, rate)) in enumerate(itertools.product(ARCHITECTURES, OPTIMIZERS)):
        runs.append(
            RunSpec(
                dataset="digits",
                architecture=architecture,
                optimizer=optimizer,
                learning_rate=rate,
                schedule=SCHEDULES[number % 2],
                label_noise=[0.0, 0.2][(number // 2) % 2],
                seed=number,
                epochs=epochs,
            )
        )
    return runs


def main() -> None:
    (args,) = HfArgumentParser(CollectArguments).parse_args_into_dataclasses()
    logging.set_verbosity_error()
    folder = Path(args.output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    digits = load_digits()
    images = torch.from_numpy(digits.images).float().unsqueeze(1) / 8 - 1
    labels = torch.from_numpy(digits.target)
    for spec in tqdm(specifications(args.epochs), desc="runs"):
        target = folder / f"{spec.run_id}.parquet"
        if target.exists():
            continue
        chosen = torch.randperm(len(labels), generator=torch.Generator().manual_seed(spec.seed))[: args.examples]
        histories = record_run(spec, images[chosen], labels[chosen], args.weights_per_parameter)
        histories.to_parquet(str(target) + ".tmp")
        os.replace(str(target) + ".tmp", target)


if __name__ == "__main__":
    main()

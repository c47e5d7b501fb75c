"""Overhead of recording and rewinding over plain fine-tuning with the same Trainer, in time and memory, in one run.

    python recipes/benchmarks/unlearning_overhead.py
    python recipes/benchmarks/unlearning_overhead.py --widths 48 96 192 384 --repeats 2

Fine-tunes ViTs of several widths on random images, plainly and with InvWNN (K snapshots in each round, no evaluation),
alternately and several times. Logs the ratio of the shortest times, the size of the trajectory and the growth of the
process.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import platform
import tempfile
import time
from typing import Any

import psutil
import torch
import transformers
from accelerate.utils import convert_bytes
from transformers import Trainer, TrainingArguments, ViTConfig, ViTForImageClassification

from hf_invwnn import InvWNNUnlearner, UnlearningArguments
from hf_invwnn.predictor import load_predictor
from hf_invwnn.trainer.quiet import QUIET
from hf_invwnn.trajectory.memory import trajectory_bytes


SNAPSHOTS = 15


class Images(torch.utils.data.IterableDataset):
    """An endless stream of random images; a forget set without a length is not evaluated."""

    def __init__(self, size: int) -> None:
        generator = torch.Generator().manual_seed(0)
        self.pixels = torch.randn(64, 3, size, size, generator=generator)

    def __iter__(self) -> Any:
        while True:
            for index, pixels in enumerate(self.pixels):
                yield {"pixel_values": pixels, "labels": torch.tensor(index % 10)}


def make_model(width: int, layers: int, size: int) -> ViTForImageClassification:
    torch.manual_seed(0)
    config = ViTConfig(
        image_size=size, patch_size=size // 8, hidden_size=width, num_hidden_layers=layers,
        num_attention_heads=max(1, width // 48), intermediate_size=4 * width, num_labels=10,
    )  # fmt: skip
    return ViTForImageClassification(config)


def timed(trainer: Trainer) -> float:
    start = time.perf_counter()
    trainer.train()
    return time.perf_counter() - start


def compare(width: int, options: argparse.Namespace) -> dict[str, Any]:
    quiet: dict[str, Any] = {
        **QUIET, "per_device_train_batch_size": options.batch_size, "use_cpu": options.cpu, "learning_rate": 1e-5,
    }  # fmt: skip
    images, predictor = Images(options.image_size), load_predictor("base")
    steps = options.rewinds * (SNAPSHOTS - 1) * options.snapshot_steps
    seconds: dict[str, list[float]] = {"plain": [], "unlearning": []}
    grown, trajectory = 0, 0
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(options.repeats):
            plain = TrainingArguments(
                folder, max_steps=steps, lr_scheduler_type="constant", max_grad_norm=0.0, **quiet
            )
            model = make_model(width, options.layers, options.image_size)
            seconds["plain"].append(timed(Trainer(model, plain, train_dataset=images)))
            args = UnlearningArguments(
                folder, num_rewinds=options.rewinds, snapshot_strategy="steps", snapshot_steps=options.snapshot_steps,
                trajectory_storage=options.storage, recovery_steps=0, **quiet,
            )  # fmt: skip
            model = make_model(width, options.layers, options.image_size)
            unlearner = InvWNNUnlearner(model, args, images, predictor=predictor)
            before = psutil.Process().memory_info().rss
            seconds["unlearning"].append(timed(unlearner))
            grown = max(grown, psutil.Process().memory_info().rss - before)
            trajectory = trajectory_bytes(unlearner.tracked.shards, SNAPSHOTS, "float32")
    weights = sum(parameter.numel() for parameter in model.parameters())
    best = {name: min(values) for name, values in seconds.items()}
    return {
        "weights": weights, "steps": steps, **best, "ratio": best["unlearning"] / best["plain"],
        "trajectory": trajectory, "bytes_per_weight_and_snapshot": trajectory / weights / SNAPSHOTS, "grown": grown,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--widths", type=int, nargs="+", default=[240], help="hidden sizes of the ViTs")
    parser.add_argument("--layers", type=int, default=7)
    parser.add_argument("--image_size", type=int, default=64)
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--snapshot_steps", type=int, default=4, help="optimizer steps of an interval")
    parser.add_argument("--rewinds", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--storage", default="cpu", help="'cpu', 'model' or 'disk'")
    parser.add_argument("--gpu", dest="cpu", action="store_false", help="use the accelerator if there is one")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    transformers.utils.logging.set_verbosity_error()
    logging.info(
        "%s, %d cores, %d threads, torch %s, transformers %s",
        platform.machine(), os.cpu_count(), torch.get_num_threads(), torch.__version__, transformers.__version__,
    )  # fmt: skip
    for width in options.widths:
        result = compare(width, options)
        logging.info(
            "%.2fM weights, %d steps: plain %.1f s, unlearning %.1f s, ratio %.3f; trajectory %s, process grew by %s",
            result["weights"] / 1e6, result["steps"], result["plain"], result["unlearning"], result["ratio"],
            convert_bytes(result["trajectory"]), convert_bytes(result["grown"]),
        )  # fmt: skip
        logging.info(json.dumps(result))


if __name__ == "__main__":
    main()

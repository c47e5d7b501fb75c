"""`hf-invwnn demo`: a small ViT memorises handwritten digits with wrong labels, and unlearns them."""

from __future__ import annotations

import copy
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from datasets.utils import disable_progress_bars, enable_progress_bars
from torch import nn
from transformers import (
    Trainer,
    TrainingArguments,
    ViTConfig,
    ViTForImageClassification,
    ViTImageProcessorPil,
    set_seed,
)
from transformers.utils import logging

from ..audit.tables import LEGEND, results_table
from ..evaluation import save_run
from ..image_classification import ImageTensors, digit_images
from ..methods import InvWNNUnlearner
from ..predictor import load_predictor
from ..scenarios import UnlearningSplits, label_noise
from ..trainer.arguments import UnlearningArguments
from ..trainer.checks import check_output_dir
from ..trainer.quiet import QUIET, without_printing
from .parser import parse_command


IMAGE_SIZE = 8
EPOCHS = 110
# Nine of ten wrong labels, then recovery of what that has cost.
TARGET_UA = 90.0
RECOVERY_STEPS = 600
MOST_REWINDS = 80


@dataclass
class DemoArguments:
    output_dir: str = field(default="invwnn-demo", metadata={"help": "Folder for results, curves and model."})
    seed: int = field(default=0, metadata={"help": "Seed of the split, the noise and the training."})
    predictor: str = field(
        default="base", metadata={"help": "'base', 'linear' (the task vector), or a folder or Hub id of a predictor."}
    )


@dataclass
class DemoData:
    """The splits of the demo, and their images as inputs of the model."""

    splits: UnlearningSplits
    datasets: dict[str, ImageTensors]
    processor: Any


def main(words: Sequence[str], summary: str) -> None:
    (arguments,) = parse_command("demo", words, [DemoArguments], summary)
    results = run_demo(arguments.output_dir, seed=arguments.seed, predictor=arguments.predictor)
    print(f"\n{results_table(results)}\n\n{LEGEND}\nStopped: {results['stopped']}.")
    print(f"Model, unlearning.json, results.json and curves.png are in {arguments.output_dir}.")


def run_demo(output_dir: str | os.PathLike, seed: int = 0, predictor: Any = None) -> dict[str, Any]:
    """
    Trains on digits with 20 % wrong labels, retrains without those, unlearns from those alone, and compares the
    models.

    Args:
        output_dir (`str` or `os.PathLike`): Folder for the files of [`~hf_invwnn.evaluation.save_run`].
        seed (`int`, defaults to 0): Seed of the split, the noise and the training.
        predictor (*optional*): As for [`InvWNNUnlearner`].

    Returns:
        `dict`: The results of [`~hf_invwnn.evaluation.save_run`].

    Raises:
        ValueError: `output_dir` cannot be written to, or `seed` is out of range.
    """
    if not 0 <= seed < 2**32:
        raise ValueError(f"`seed` must lie in 0..{2**32 - 1}, got {seed}.")
    check_output_dir(output_dir)
    predictor = load_predictor(predictor)
    with _quiet_libraries():
        data = prepare_data(seed)
        counts = data.splits.summary()["counts"]
        print(f"{counts['train']} handwritten digits, {counts['forget']} of them with a wrong label (the forget set).")
        seconds: dict[str, float] = {}
        with _timed("original", "Training a ViT on all of them", seconds):
            model = train_vit(data.datasets["train"], output_dir, seed)
        original = copy.deepcopy(model)
        with _timed("retrained", "Retraining without the forget set", seconds):
            retrained = train_vit(data.datasets["retain"], output_dir, seed)
        unlearner = make_demo_unlearner(model, data, output_dir, seed, predictor)
        with _timed("unlearned", "Rewinding and recovering, from the forget set alone", seconds):
            unlearner.train()
        return save_run(
            unlearner,
            data.splits,
            data.datasets,
            data.processor,
            original,
            retrained,
            seconds,
            title="Forgetting 20 % wrong labels, digits, ViT",
            retrained_used=False,
            license="apache-2.0",
        )


def prepare_data(seed: int) -> DemoData:
    """The digits with 20 % wrong labels."""
    splits = label_noise(*digit_images(seed), fraction=0.2, validation_fraction=0.2, seed=seed)
    processor = ViTImageProcessorPil(
        size={"height": IMAGE_SIZE, "width": IMAGE_SIZE}, image_mean=[0.5] * 3, image_std=[0.5] * 3
    )
    names = ("train", "forget", "retain", "test")
    datasets = {name: ImageTensors.from_dataset(getattr(splits, name), processor) for name in names}
    return DemoData(splits, datasets, processor)


def train_vit(dataset: ImageTensors, output_dir: str | os.PathLike, seed: int) -> nn.Module:
    """A small ViT, trained from the initialisation of `seed`."""
    set_seed(seed)
    config = ViTConfig(
        image_size=IMAGE_SIZE,
        patch_size=2,
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=128,
        id2label={digit: str(digit) for digit in range(10)},
        label2id={str(digit): digit for digit in range(10)},
    )
    model = ViTForImageClassification(config)
    args = TrainingArguments(
        output_dir=str(output_dir),
        num_train_epochs=EPOCHS,
        per_device_train_batch_size=128,
        learning_rate=4e-3,
        lr_scheduler_type="cosine",
        warmup_steps=20,
        seed=seed,
        **QUIET,
    )
    without_printing(Trainer(model=model, args=args, train_dataset=dataset)).train()
    return model


def make_demo_unlearner(
    model: nn.Module, data: DemoData, output_dir: str | os.PathLike, seed: int, predictor: Any
) -> InvWNNUnlearner:
    """An unlearner that trains on the forget set alone; the retain and the test set are evaluated for the curves."""
    args = UnlearningArguments(
        output_dir=str(output_dir),
        num_rewinds=MOST_REWINDS,
        target_ua=TARGET_UA,
        learning_rate=6e-4,  # shorter steps than the defaults, which suit a ResNet
        residual_scale=0.12,  # many short rewinds leave a better start for recovery
        recovery_steps=RECOVERY_STEPS,
        recovery_learning_rate=1e-3,
        recovery_start="original",
        per_device_train_batch_size=64,
        per_device_eval_batch_size=512,
        seed=seed,
        **QUIET,
    )
    unlearner = InvWNNUnlearner(
        model,
        args,
        forget_dataset=data.datasets["forget"],
        eval_dataset={name: data.datasets[name] for name in ("retain", "test")},
        predictor=predictor,
        surrogates="mixed",
    )
    return without_printing(unlearner)


@contextmanager
def _timed(name: str, description: str, seconds: dict[str, float]) -> Iterator[None]:
    print(f"{description} ...", end="", flush=True)
    began = time.perf_counter()
    yield
    seconds[name] = time.perf_counter() - began
    print(f" {seconds[name]:.0f} s")


@contextmanager
def _quiet_libraries() -> Iterator[None]:
    """Within this context transformers and datasets show no progress bars and only errors."""
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    disable_progress_bars()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        logging.enable_progress_bar()
        enable_progress_bars()


__all__ = ["make_demo_unlearner", "prepare_data", "run_demo", "train_vit"]

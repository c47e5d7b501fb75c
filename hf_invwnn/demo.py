"""The demo: wrong labels among handwritten digits, memorised by a small ViT and then forgotten."""

from __future__ import annotations

import copy
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasets.utils import disable_progress_bars, enable_progress_bars
from rich.console import Console
from rich.progress import Progress
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

from .digits import digit_images
from .image_tensors import ImageTensors
from .inputs import check_output_dir
from .metrics import judge_model
from .metrics.judge import classify
from .predictor import load_predictor
from .private_files import example_results, keep_private
from .progress import progress_bars, show_one_bar
from .report import plot_curves, results_table, write_results
from .scenarios import UnlearningSplits, label_noise
from .training_args import UnlearningArguments
from .unlearner import InvWNNUnlearner


IMAGE_SIZE = 8
EPOCHS = 110
# Half of the wrong labels no longer believed; what is forgotten beyond that costs more and more accuracy.
TARGET_UA = 50.0


@dataclass
class DemoData:
    """The splits of the demo, as the Trainer wants them."""

    splits: UnlearningSplits
    tensors: dict[str, ImageTensors]
    processor: Any

    @property
    def judged(self) -> dict[str, ImageTensors]:
        return {name: self.tensors[name] for name in ("forget", "retain", "test")}


def run_demo(output_dir: str | os.PathLike, seed: int = 0, predictor: Any = None) -> dict[str, Any]:
    """
    Trains on digits of which 20 % are mislabelled, retrains without those, unlearns from those alone, and compares.

    Args:
        output_dir (`str` or `os.PathLike`): Gets `results.json`, `curves.png`, the unlearned model and its
            record, `unlearning.json`. What is needed to check the run later is kept in `_private`.
        seed (`int`, defaults to 0): Of the split, the noise and the training.
        predictor (*optional*): As in [`InvWNNUnlearner`], or `"linear"` for the task vector.

    Returns:
        `dict`: For `"pretrained"`, `"unlearned"` and `"retrained"` the metrics of [`judge_model`] and `seconds`.

    Raises:
        ValueError: `output_dir` cannot be written to, or `seed` is negative.
    """
    if not 0 <= seed < 2**32:
        raise ValueError(f"`seed` must lie in 0..{2**32 - 1}, got {seed}.")
    check_output_dir(output_dir)
    with _quiet_libraries():
        return _run(Path(output_dir), seed, load_predictor(predictor), Console())


@contextmanager
def _quiet_libraries() -> Iterator[None]:
    """The demo has its own progress bars; those of transformers and datasets would tear them apart."""
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


def _run(output_dir: Path, seed: int, predictor: Any, console: Console) -> dict[str, Any]:
    data = _prepare(seed)
    counts = data.splits.summary()["counts"]
    console.print(
        f"{counts['train']} handwritten digits, {counts['forget']} of them with a wrong label (the forget set). "
        "A ViT memorises them all; its twin never sees the wrong ones; InvWNN makes the first forget them."
    )
    results: dict[str, Any] = {}
    with progress_bars() as progress:
        model, seconds = _train(data.tensors["train"], output_dir, seed, progress, "train on everything")
        results["pretrained"] = {**judge_model(model, data.judged), "seconds": seconds}
        original = copy.deepcopy(model)
        twin, seconds = _train(data.tensors["retain"], output_dir, seed, progress, "retrain without D_f")
        retrained = {**judge_model(twin, data.judged), "seconds": seconds}
        unlearner, seconds = _unlearn(model, data, output_dir, seed, predictor, progress)
    results["unlearned"] = {**judge_model(model, data.judged), "seconds": seconds}
    results["retrained"] = retrained
    results |= {"history": unlearner.history, "stopped": unlearner.stop_reason, "splits": data.splits.summary()}

    unlearner.save_model()
    data.processor.save_pretrained(output_dir)
    _record(unlearner, data, output_dir, results, {"before": original, "after": model, "oracle": twin})
    write_results(results, output_dir / "results.json")
    plot_curves(unlearner.history, output_dir / "curves.png", retrained, "Forgetting 20 % wrong labels, digits, ViT")
    console.print(results_table(results))
    console.print(f"Stopped: {unlearner.stop_reason}.")
    console.print(f"Model, unlearning.json, results.json and curves.png are in {output_dir}.")
    return results


def _record(
    unlearner: InvWNNUnlearner, data: DemoData, output_dir: Path, results: dict[str, Any], models: dict[str, nn.Module]
) -> None:
    """What the run was, beside the model, and in a folder of its own what can check it and is nobody's business."""
    outcomes = {name: classify(model, data.tensors["forget"], 512) for name, model in models.items()}
    keep_private(
        output_dir,
        data.splits,
        {name: (models[name], data.processor) for name in ("before", "oracle")},
        example_results(data.splits.forget_indices, outcomes),
    )
    unlearner.save_record(
        splits=data.splits,
        metrics={"before": results["pretrained"], "after": results["unlearned"], "oracle": results["retrained"]},
        oracle_used=False,
        license="apache-2.0",
    )


def _prepare(seed: int) -> DemoData:
    splits = label_noise(*digit_images(seed), fraction=0.2, validation_fraction=0.2, seed=seed)
    processor = ViTImageProcessorPil(
        size={"height": IMAGE_SIZE, "width": IMAGE_SIZE}, image_mean=[0.5] * 3, image_std=[0.5] * 3
    )
    names = ("train", "forget", "retain", "test")
    tensors = {name: ImageTensors.from_dataset(getattr(splits, name), processor) for name in names}
    return DemoData(splits, tensors, processor)


def _vit() -> nn.Module:
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
    return ViTForImageClassification(config)


def _train(
    dataset: ImageTensors, output_dir: Path, seed: int, progress: Progress, description: str
) -> tuple[nn.Module, float]:
    """A ViT from the initialisation of `seed`, and the seconds it took to train."""
    set_seed(seed)
    model = _vit()
    args = TrainingArguments(
        output_dir=str(output_dir),
        num_train_epochs=EPOCHS,
        per_device_train_batch_size=128,
        learning_rate=4e-3,
        lr_scheduler_type="cosine",
        warmup_steps=20,
        seed=seed,
        **_QUIET,
    )
    trainer = Trainer(model=model, args=args, train_dataset=dataset)
    show_one_bar(trainer, progress, description)
    start = time.perf_counter()
    trainer.train()
    return model, time.perf_counter() - start


def _unlearn(
    model: nn.Module, data: DemoData, output_dir: Path, seed: int, predictor: Any, progress: Progress
) -> tuple[InvWNNUnlearner, float]:
    """Unlearns with the forget set alone; the retain and test sets are only watched, for the picture."""
    args = UnlearningArguments(
        output_dir=str(output_dir),
        num_rewinds=20,
        target_ua=TARGET_UA,
        learning_rate=6e-4,  # a ViT does better with gentler steps than the defaults, which suit a ResNet
        residual_scale=0.25,
        per_device_train_batch_size=256,
        per_device_eval_batch_size=512,
        seed=seed,
        **_QUIET,
    )
    unlearner = InvWNNUnlearner(
        model,
        args,
        forget_dataset=data.tensors["forget"],
        eval_dataset={name: data.tensors[name] for name in ("retain", "test")},
        predictor=predictor,
    )
    show_one_bar(unlearner, progress, "unlearn")
    start = time.perf_counter()
    unlearner.train()
    return unlearner, time.perf_counter() - start


_QUIET: dict[str, Any] = {
    "save_strategy": "no",
    "logging_strategy": "no",
    "report_to": [],
    "dataloader_pin_memory": False,
}

__all__ = ["run_demo"]

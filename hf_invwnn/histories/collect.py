"""One run: train a small model, and turn what its weights did into rows of a `datasets.Dataset`."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from transformers import Trainer, TrainingArguments, set_seed

from ..image_tensors import ImageTensors
from ..predictor import parameter_kind
from .models import SMALL_MODELS
from .recorder import WeightRecorder


if TYPE_CHECKING:
    import datasets

# A row is one weight; every row of a run carries what the run was.
HISTORY_FEATURES = {
    "run_id": "string",
    "dataset": "string",
    "architecture": "string",
    "optimizer": "string",
    "learning_rate": "float32",
    "schedule": "string",
    "label_noise": "float32",
    "seed": "int32",
    "parameter": "string",
    "kind": "string",
    "fan_in": "int32",
    "tensor_scale": "float32",
}


@dataclass(frozen=True)
class RunSpec:
    """
    What one history run trains.

    Args:
        dataset (`str`): Name of the data.
        architecture (`str`): One of `SMALL_MODELS`.
        optimizer (`str`): An `optim` of the Trainer, such as `"sgd"` (with momentum 0.9) or `"adamw_torch"`.
        learning_rate (`float`), schedule (`str`), epochs (`int`), batch_size (`int`), seed (`int`): As in training.
        label_noise (`float`): Share of labels replaced by another class.
    """

    dataset: str
    architecture: str
    optimizer: str = "adamw_torch"
    learning_rate: float = 1e-3
    schedule: str = "constant"
    label_noise: float = 0.0
    seed: int = 0
    epochs: int = 50
    batch_size: int = 64

    def __post_init__(self) -> None:
        if self.architecture not in SMALL_MODELS:
            raise ValueError(f"`architecture` must be one of {sorted(SMALL_MODELS)}, got {self.architecture!r}.")
        if not 0 <= self.label_noise < 1:
            raise ValueError(f"`label_noise` must lie in [0, 1), got {self.label_noise}.")

    @property
    def run_id(self) -> str:
        return "-".join(str(value) for value in asdict(self).values())


def record_run(
    spec: RunSpec, pixel_values: torch.Tensor, labels: torch.Tensor, weights_per_parameter: int = 256
) -> datasets.Dataset:
    """
    Trains one small model and returns the histories of its weights.

    Args:
        spec ([`RunSpec`]): What to train.
        pixel_values (`torch.Tensor` of shape `(N, C, H, W)`), labels (`torch.Tensor` of shape `(N,)`): The data.
        weights_per_parameter (`int`, defaults to 256): Weights kept of each parameter.

    Returns:
        `datasets.Dataset` with the columns of `HISTORY_FEATURES` and `history`, float32 `[epochs + 1]`. A run with a
        weight that is not finite gives no rows.
    """
    set_seed(spec.seed)
    num_labels = int(labels.max()) + 1
    noisy = _with_noise(labels, num_labels, spec)
    model = SMALL_MODELS[spec.architecture](pixel_values.shape[1], pixel_values.shape[-1], num_labels)
    recorder = WeightRecorder(weights_per_parameter, seed=spec.seed)
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            model=model,
            args=_training_arguments(spec, folder),
            train_dataset=ImageTensors(pixel_values, noisy),
            callbacks=[recorder],
        )
        trainer.train()
    return _as_dataset(list(_rows(spec, model, recorder.histories())), spec.epochs)


def _training_arguments(spec: RunSpec, folder: str) -> TrainingArguments:
    return TrainingArguments(
        output_dir=folder,
        num_train_epochs=spec.epochs,
        per_device_train_batch_size=spec.batch_size,
        learning_rate=spec.learning_rate,
        lr_scheduler_type=spec.schedule,
        optim=spec.optimizer,
        optim_args="momentum=0.9" if spec.optimizer == "sgd" else None,
        max_grad_norm=0.0,
        seed=spec.seed,
        save_strategy="no",
        logging_strategy="no",
        report_to=[],
        disable_tqdm=True,
    )


def _with_noise(labels: torch.Tensor, num_labels: int, spec: RunSpec) -> torch.Tensor:
    generator = np.random.default_rng(spec.seed)
    wrong = torch.from_numpy(generator.random(len(labels)) < spec.label_noise)
    shift = torch.from_numpy(generator.integers(1, num_labels, len(labels)))
    return torch.where(wrong, (labels + shift) % num_labels, labels)


def _rows(spec: RunSpec, model: nn.Module, histories: dict[str, np.ndarray]) -> Iterator[dict[str, Any]]:
    if not all(np.isfinite(history).all() for history in histories.values()):
        return
    run = {name: value for name, value in asdict(spec).items() if name in HISTORY_FEATURES}
    for name, parameter in model.named_parameters():
        if name not in histories:
            continue
        shared = {
            "run_id": spec.run_id,
            **run,
            "parameter": name,
            "kind": parameter_kind(parameter.shape),
            "fan_in": int(parameter[0].numel()) if parameter.ndim > 1 else 1,
            "tensor_scale": float(parameter.detach().square().mean().sqrt()),
        }
        for history in histories[name]:
            yield {**shared, "history": history}


def _as_dataset(rows: list[dict[str, Any]], epochs: int) -> datasets.Dataset:
    from datasets import Dataset, Features, List, Value

    described = {name: Value(dtype) for name, dtype in HISTORY_FEATURES.items()}
    features = Features({**described, "history": List(Value("float32"), length=epochs + 1)})
    return Dataset.from_dict({name: [row[name] for row in rows] for name in features}, features=features)


__all__ = ["HISTORY_FEATURES", "RunSpec", "record_run"]

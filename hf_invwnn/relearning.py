"""How deep forgetting goes: the steps on the forget set alone after which a model knows it again."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from .base_unlearner import Unlearner
from .training_args import UnlearningArguments


@dataclass
class Known:
    """
    Stop where accuracy on the forget set, under the labels to be forgotten, reaches `level`.

    Args:
        level (`float`): In 0..1.
    """

    level: float
    splits: tuple[str, ...] = ("forget",)
    tolerance: float = 1.0  # the step counts, not the point between two
    never_past: bool = False

    def __str__(self) -> str:
        return f"accuracy {self.level:g} on the forget set"

    def excess(self, metrics: Mapping[str, float]) -> float:
        return metrics["eval_forget_accuracy"] - self.level


def relearning_steps(
    model: nn.Module,
    forget_dataset: Any,
    output_dir: str,
    level: float = 0.9,
    max_steps: int = 500,
    learning_rate: float = 1e-4,
    batch_size: int = 64,
    seed: int = 0,
    **options: Any,
) -> int | None:
    """
    Fine-tunes a copy of a model on D_f and counts. A model that still holds D_f somewhere knows it again sooner than
    the oracle, which has to learn it.

    Args:
        model (`nn.Module`): The unlearned model, or the oracle; not changed.
        forget_dataset (`Dataset`): D_f.
        output_dir (`str`): Scratch folder of the Trainer.
        level (`float`, defaults to 0.9): Accuracy on D_f that counts as known, in (0, 1].
        max_steps (`int`, defaults to 500): Give up after so many.
        learning_rate (`float`, defaults to 1e-4), batch_size (`int`, defaults to 64), seed (`int`, defaults to 0): Of
            the fine-tuning.
        options: Other fields of [`UnlearningArguments`].

    Returns:
        `int`: Optimizer steps, 0 if it is known already; `None` if `max_steps` did not do.

    Raises:
        ValueError: `level` is not in (0, 1], or another argument cannot work.
    """
    if not 0 < level <= 1:
        raise ValueError(f"`level` must lie in (0, 1], got {level}.")
    quiet: dict[str, Any] = {
        "save_strategy": "no",
        "logging_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "dataloader_pin_memory": False,
    }
    args = UnlearningArguments(
        **{
            **quiet,
            "output_dir": output_dir,
            "num_rewinds": max_steps,
            "num_snapshots": 2,
            "snapshot_strategy": "steps",
            "snapshot_steps": 1,
            "learning_rate": learning_rate,
            "per_device_train_batch_size": batch_size,
            "per_device_eval_batch_size": 1000,
            "seed": seed,
            **options,
        }
    )
    learner = Unlearner(copy.deepcopy(model), args, forget_dataset, stopping_rules=[Known(level)])
    learner.train()
    last = learner.history[-1]
    known = max(point["eval_forget_accuracy"] for point in learner.history) >= level
    return int(last["step"]) if known else None


__all__ = ["relearning_steps"]

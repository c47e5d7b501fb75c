"""Relearning: the number of steps on retained examples after which a model predicts the forget set again."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from ..trainer.arguments import UnlearningArguments
from ..trainer.quiet import QUIET, without_printing, without_warnings
from ..trainer.unlearner import Unlearner


@dataclass(frozen=True)
class Relearning:
    """
    The result of [`relearn`].

    Args:
        steps (`int` or `None`): Optimizer steps until D_f was relearned: 0 if the accuracy was reached at the start,
            `None` if it was not reached.
        highest (`float`): Highest accuracy on D_f during fine-tuning, in percent, under the labels to be forgotten.
    """

    steps: int | None
    highest: float


@dataclass
class Relearned:
    """
    The stopping rule: the accuracy on the forget set, under the labels to be forgotten, reaches `level`.

    Args:
        level (`float`): The accuracy, in 0..1.
    """

    level: float
    splits: tuple[str, ...] = ("forget",)
    tolerance: float = 1.0  # only whole steps are counted
    must_not_exceed: bool = False

    def __str__(self) -> str:
        return f"accuracy {self.level:g} on the forget set"

    def excess(self, metrics: Mapping[str, float]) -> float:
        return metrics["eval_forget_accuracy"] - self.level


def relearn(
    model: nn.Module,
    forget_dataset: Any,
    retain_dataset: Any,
    output_dir: str,
    level: float = 0.9,
    max_steps: int = 500,
    measure_steps: int = 10,
    learning_rate: float = 1e-4,
    batch_size: int = 64,
    seed: int = 0,
    **options: Any,
) -> Relearning:
    """
    Fine-tunes a copy of a model on D_r alone and evaluates it on D_f. A model that still holds information about D_f
    relearns it, and in fewer steps than the retrained model, which was never trained on D_f.

    Args:
        model (`nn.Module`): The unlearned model, or the retrained one; not changed.
        forget_dataset (`Dataset`): D_f; evaluated, but not trained on.
        retain_dataset (`Dataset`): D_r.
        output_dir (`str`): Scratch folder of the Trainer.
        level (`float`, defaults to 0.9): Accuracy on D_f that counts as relearned, in (0, 1].
        max_steps (`int`, defaults to 500): Maximum number of steps.
        measure_steps (`int`, defaults to 10): Steps between two evaluations; the result is a multiple of it.
        learning_rate (`float`, defaults to 1e-4), batch_size (`int`, defaults to 64), seed (`int`, defaults to 0):
            Arguments of the fine-tuning.
        options: Other fields of [`UnlearningArguments`].

    Raises:
        ValueError: `level` is not in (0, 1], or `measure_steps` not in 1..`max_steps`.
    """
    if not 0 < level <= 1:
        raise ValueError(f"`level` must lie in (0, 1], got {level}.")
    if not 1 <= measure_steps <= max_steps:
        raise ValueError(f"`measure_steps` must lie in 1..`max_steps` ({max_steps}), got {measure_steps}.")
    args = UnlearningArguments(
        **{
            **QUIET,
            "output_dir": output_dir,
            "num_rewinds": max_steps // measure_steps,
            "num_snapshots": 2,
            "snapshot_strategy": "steps",
            "snapshot_steps": measure_steps,
            "learning_rate": learning_rate,
            "per_device_train_batch_size": batch_size,
            "per_device_eval_batch_size": 1000,
            "seed": seed,
            **options,
        }
    )
    learner = Unlearner(
        copy.deepcopy(model), args, forget_dataset, stopping_rules=[Relearned(level)], train_dataset=retain_dataset
    )
    with without_warnings():
        without_printing(learner).train()
    highest = max(point["eval_forget_accuracy"] for point in learner.history)
    return Relearning(int(learner.history[-1]["step"]) if highest >= level else None, 100 * highest)


__all__ = ["Relearning", "relearn"]

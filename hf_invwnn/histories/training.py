"""Train a predictor on windows of weight histories, and measure whether it is better than doing nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from transformers import Trainer, TrainingArguments

from ..predictor import PARAMETER_KINDS, InvWNNModel, PastWeightPredictor
from .windows import Windows


@dataclass(frozen=True)
class SkillReport:
    """
    L1 error of a predictor on windows of one kind, beside two that know nothing.

    Args:
        kind (`str`): The kind.
        relative_error (`float`): Error over that of predicting no change; below 1 is skill.
        linear_relative_error (`float`): The same for the best single step along the line (see `linear_scale`).
        linear_scale (`float`): That step, fitted on the training windows.
        windows (`int`): How many were judged.
    """

    kind: str
    relative_error: float
    linear_relative_error: float
    linear_scale: float
    windows: int


def train_predictor(model: InvWNNModel, windows: Mapping[str, Windows], args: TrainingArguments) -> InvWNNModel:
    """
    Trains the network of each kind on its windows with the loss of eq. 7.

    Args:
        model ([`InvWNNModel`]): Trained in place.
        windows (`dict[str, Windows]`): One for each kind.
        args (`TrainingArguments`): Length, rate and batch size, for each kind in turn.

    Raises:
        ValueError: The windows of a kind are missing.
    """
    if missing := sorted(set(PARAMETER_KINDS) - set(windows)):
        raise ValueError(f"`windows` lacks the kinds {missing}.")
    args.remove_unused_columns = False
    for kind in PARAMETER_KINDS:
        for other in PARAMETER_KINDS:
            model.networks[other].requires_grad_(other == kind)
        Trainer(model=model, args=args, train_dataset=windows[kind], data_collator=_already_collated).train()
    model.requires_grad_(True)
    vars(model.config).pop("use_cache", None)  # the Trainer's, for language models; it explains nothing here
    return model.eval()


def _already_collated(batch: Any) -> Any:
    return batch


def measure_skill(predictor: PastWeightPredictor, training: Windows, held_out: Windows) -> SkillReport:
    """
    L1 error on held-out windows over the error of predicting no change, beside the best linear predictor's.

    Args:
        predictor ([`PastWeightPredictor`]): To be judged.
        training ([`Windows`]): What the linear predictor's scale is fitted on.
        held_out ([`Windows`]): What both are judged on.
    """
    change = held_out.labels - held_out.trajectory[:, 0]
    residual = predictor.predict_residual(held_out.trajectory.T, held_out.kind)
    scale = best_linear_scale(training)
    line = -scale * (held_out.trajectory[:, -1] - held_out.trajectory[:, 0])
    nothing = change.abs().mean()
    return SkillReport(
        held_out.kind,
        float((residual - change).abs().mean() / nothing),
        float((line - change).abs().mean() / nothing),
        scale,
        len(held_out),
    )


def best_linear_scale(windows: Windows) -> float:
    r"""
    The `scale` that minimises `sum |change + scale * displacement|` over the windows.

    That sum is `sum |displacement| * |change / displacement + scale|`, so the answer is a weighted median.
    """
    change = windows.labels - windows.trajectory[:, 0]
    displacement = windows.trajectory[:, -1] - windows.trajectory[:, 0]
    moved = displacement != 0
    if not moved.any():
        return 0.0
    ratio, order = torch.sort(-change[moved] / displacement[moved])
    weight = displacement[moved].abs()[order].cumsum(0)
    return float(ratio[torch.searchsorted(weight, weight[-1] / 2)])


__all__ = ["SkillReport", "best_linear_scale", "measure_skill", "train_predictor"]

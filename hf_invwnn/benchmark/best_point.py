"""The point of a run that is compared: the one with the best validation accuracy of those with UA at the target."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from ..metrics import ua
from .passes import Passes


class BestPoint(TrainerCallback):
    """
    Keeps the weights of the best point: of all measured points with UA >= target - tolerance, the one with the highest
    validation accuracy. The first such point, at which a run crosses the target, is often the worst.

    Args:
        target_ua (`float`): UA in percent.
        tolerance (`float`): In points.
        split (`str`): The evaluation set of the accuracy, evaluated after `"forget"`.
        sizes (`dict[str, int]`, *optional*): Sizes of the evaluation sets other than D_f, which are no cost of a run.

    Attributes:
        accuracy (`float`): Accuracy at the best point, 0 to 1; -1 before there is one.
        highest_ua (`float`): The highest UA measured, in percent.
        cost (`dict`): Steps, seconds, forward and backward passes (images) of its run, up to there.
    """

    def __init__(self, target_ua: float, tolerance: float, split: str, sizes: Mapping[str, int] | None = None) -> None:
        self.target_ua, self.tolerance, self.split, self.sizes = target_ua, tolerance, split, dict(sizes or {})
        self.accuracy, self.highest_ua = -1.0, 0.0
        self.cost: dict[str, float] = {}
        self._weights: dict[str, torch.Tensor] = {}
        self._ua, self._worse = 0.0, 0
        self._passes, self._began = Passes(), 0.0
        self._patience: int | None = None

    @property
    def is_reached(self) -> bool:
        return bool(self._weights)

    def is_at_target(self, value: float) -> bool:
        """Whether a UA, in percent, is at or beyond the target."""
        return value >= self.target_ua - self.tolerance

    def begin_run(self, passes: Passes, patience: int | None = None) -> None:
        """
        A further run, whose points compete with those of the runs before.

        Args:
            passes ([`Passes`]): Of the run.
            patience (`int`, *optional*): End it after this many such points without a better one.
        """
        self._passes, self._patience, self._worse, self._began = passes, patience, 0, time.perf_counter()

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: Mapping[str, float] | None = None,
        model: nn.Module | None = None,
        **kwargs: Any,
    ) -> None:
        """Called after every evaluation set."""
        if not metrics or model is None:
            return
        if "eval_forget_accuracy" in metrics:
            self._ua = ua(metrics)
            self.highest_ua = max(self.highest_ua, self._ua)
        for name, size in self.sizes.items():
            if f"eval_{name}_loss" in metrics:
                self._passes.leave_out(size)
        accuracy = metrics.get(f"eval_{self.split}_accuracy")
        if accuracy is None or not self.is_at_target(self._ua):
            return
        if accuracy > self.accuracy:
            self.accuracy, self._worse = accuracy, 0
            seconds = time.perf_counter() - self._began
            passes = {"forward": self._passes.forward, "backward": self._passes.backward}
            self.cost = {"steps": state.global_step, "seconds": seconds, **passes}
            self._weights = {name: value.detach().clone() for name, value in model.state_dict().items()}
        else:
            self._worse += 1
            control.should_training_stop |= self._patience is not None and self._worse >= self._patience

    def restore(self, model: nn.Module) -> None:
        """Gives a model the weights of the best point."""
        model.load_state_dict(self._weights)


__all__ = ["BestPoint"]

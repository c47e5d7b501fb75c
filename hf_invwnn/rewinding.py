"""Algorithm 1 of the paper as a callback: record a trajectory, rewind, measure, again."""

from __future__ import annotations

from typing import Any

import torch

from .callbacks import UnlearningCallback
from .predictor import PastWeightPredictor
from .rewind import rewind
from .training_args import UnlearningArguments
from .trajectory import Trajectory


class RewindingCallback(UnlearningCallback):
    r"""
    Every `intervals_per_rewind` intervals make one turn:

        warmup_intervals                fine-tune, record nothing
        Phi^t .. Phi^{t+K-1}            K snapshots, one at the start and one after each further interval
        Theta^{t-1} <- Theta^t + scale * InvWNN(W, dW), then measure, then stop or go on

    Args:
        trajectory ([`Trajectory`]): Where snapshots go.
        predictor ([`PastWeightPredictor`]): Predicts the past weights.
        kwargs: The other arguments of [`UnlearningCallback`].
    """

    turn_name = "rewind"

    def __init__(self, trajectory: Trajectory, predictor: PastWeightPredictor, **kwargs: Any) -> None:
        super().__init__(trajectory.parameters, device=trajectory.device, **kwargs)
        self.trajectory = trajectory
        self.predictor = predictor

    def begin_turn(self, arguments: UnlearningArguments) -> None:
        if arguments.warmup_intervals == 0:
            self.trajectory.record()

    def on_interval(self, arguments: UnlearningArguments, interval: int) -> None:
        if interval >= arguments.warmup_intervals:
            self.trajectory.record()

    def move(self, arguments: UnlearningArguments) -> None:
        self.trajectory.record()
        rewind(self.trajectory, self.predictor, arguments.residual_scale)

    def end_turn(self) -> None:
        self.trajectory.clear()

    def extra_state(self) -> tuple[dict[str, torch.Tensor], int]:
        return self.trajectory.state_dict(), self.trajectory.count

    def load_extra_state(self, tensors: dict[str, torch.Tensor], snapshots: int) -> None:
        self.trajectory.load_state_dict(tensors, snapshots)


__all__ = ["RewindingCallback"]

"""Algorithm 1 of the paper as a callback: record a trajectory, rewind, measure, again."""

from __future__ import annotations

from typing import Any

import torch
from transformers import TrainerControl, TrainerState, TrainingArguments
from transformers.utils import logging

from .callbacks import UnlearningCallback
from .predictor import PastWeightPredictor
from .rewind import is_elementwise, rewind
from .room import check_room
from .training_args import UnlearningArguments
from .trajectory import Trajectory


logger = logging.get_logger(__name__)


class RewindingCallback(UnlearningCallback):
    r"""
    Every `intervals_per_rewind` intervals make one turn:

        warmup_intervals                fine-tune, record nothing
        Phi^t .. Phi^{t+K-1}            K snapshots, one at the start and one after each further interval
        Theta^{t-1} <- Theta^t + scale * InvWNN(W, dW), then measure, then stop or go on

    Args:
        predictor ([`PastWeightPredictor`]): Predicts the past weights.
        args, kwargs: The other arguments of [`UnlearningCallback`].
    """

    turn_name = "rewind"
    trajectory: Trajectory

    def __init__(self, *args: Any, predictor: PastWeightPredictor, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.predictor = predictor

    def prepare(self, arguments: UnlearningArguments) -> None:
        if self.parts.layout != "whole" and not is_elementwise(self.predictor):
            raise ValueError(
                "`predictor` has `trajectory_scale='tensor'` and needs every weight of a tensor at once, which no "
                "process has here; take one with 'weight' or 'none', or start a single process."
            )
        self._warn_of_rounded_weights()
        storage, dtype = arguments.trajectory_storage, arguments.trajectory_dtype
        check_room(self.parts, arguments.num_snapshots, dtype, storage, arguments.trajectory_path)
        path = self.path_on_disk("trajectory")
        self.trajectory = Trajectory(self.parts, arguments.num_snapshots, dtype, storage, path)

    def _warn_of_rounded_weights(self) -> None:
        rounded = [name for name, local in self.parts.items() if local.dtype in (torch.bfloat16, torch.float16)]
        if rounded:
            logger.warning(
                f"`model` has {len(rounded)} tracked tensors of 16 bits, {rounded[0]!r} the first: fine-tuning steps "
                "smaller than their rounding leave no trace in a trajectory. Load it with `dtype=torch.float32` and "
                "set `bf16=True`."
            )

    def begin_turn(self, arguments: UnlearningArguments) -> None:
        if arguments.warmup_intervals == 0:
            self.trajectory.record()

    def on_interval(self, arguments: UnlearningArguments, interval: int) -> None:
        if interval >= arguments.warmup_intervals:
            self._record()

    def move(self, arguments: UnlearningArguments) -> None:
        self._record()
        rewind(self.trajectory, self.predictor, arguments.residual_scale)

    def _record(self) -> None:
        self.check_parameters()
        self.refuse_non_finite()
        self.trajectory.record()

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        # DeepSpeed's engine steps inside of `backward`, before anyone is asked.
        if getattr(args, "deepspeed_plugin", None) is not None:
            self.trajectory.before_change()

    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self.trajectory.before_change()

    def end_turn(self) -> None:
        self.trajectory.clear()

    def extra_state(self) -> tuple[dict[str, torch.Tensor], int]:
        return self.trajectory.state_dict(), self.trajectory.count

    def load_extra_state(self, tensors: dict[str, torch.Tensor], snapshots: int) -> None:
        self.trajectory.load_state_dict(tensors, snapshots)


__all__ = ["RewindingCallback"]

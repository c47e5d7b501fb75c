"""`MethodHooks`: what a method may be asked, and when it is called in a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch


if TYPE_CHECKING:
    from ..trajectory.tracking import TrackedParameters
    from .arguments import UnlearningArguments


class MethodHooks:
    """
    The part of [`Unlearner`] that a method overrides, besides its loss. As it is, it does nothing.

    Attributes:
        tracked ([`TrackedParameters`]): The parameters that the run changes.
    """

    # What tables and records call the method; the name of the class by default.
    title: ClassVar[str] = ""
    # Whether the method needs class labels, trains on D_f, on D_r, on surrogates, and records trajectories.
    needs_labels: ClassVar[bool] = False
    needs_forget: ClassVar[bool] = True
    needs_retain: ClassVar[bool] = False
    needs_surrogates: ClassVar[bool] = False
    records_trajectory: ClassVar[bool] = False
    # Whether it works on whole tensors (no FSDP), on whole epochs, and on outputs for which nothing is drawn.
    needs_whole_weights: ClassVar[bool] = False
    needs_whole_epochs: ClassVar[bool] = False
    needs_fixed_outputs: ClassVar[bool] = False
    # `recovery_steps` of a run whose arguments leave it open.
    default_recovery_steps: ClassVar[int] = 0

    tracked: TrackedParameters

    def check_arguments(self, args: UnlearningArguments) -> None:
        """Raises for arguments that the method cannot work with; called first, before the Trainer is set up."""

    def prepare_run(self) -> None:
        """Called when a run begins or is resumed, with `tracked` bound to the prepared model."""

    def on_round_begin(self) -> None:
        """Called before the first step of a round."""

    def on_interval_end(self, interval: int) -> None:
        """Called after each interval but the last of a round; `interval` counts from 1."""

    def update_weights(self) -> None:
        """Called after the last step of a round, before it is measured."""
        self.tracked.check_finite()

    def on_round_end(self) -> None:
        """Called after a round was kept, and before the first one."""

    def before_optimizer_step(self) -> None:
        """Called before the optimizer changes the weights, with gradients accumulated."""

    def after_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Called after the optimizer has changed the weights."""

    def method_state(self) -> tuple[dict[str, torch.Tensor], int]:
        """Tensors and a counter of the method, for a checkpoint."""
        return {}, 0

    def load_method_state(self, tensors: dict[str, torch.Tensor], count: int) -> None:
        """Restores what `method_state` returned."""


__all__ = ["MethodHooks"]

"""InvWNN, algorithm 1 of the paper: fine-tune on D_f, record the trajectory, predict past weights, repeat."""

from __future__ import annotations

import os
from typing import Any

import torch
from torch import nn
from transformers.utils import logging

from ..predictor import PastWeightPredictor, load_predictor
from ..trainer.arguments import UnlearningArguments
from ..trainer.fingerprint import predictor_hash
from ..trainer.unlearner import Unlearner
from ..trajectory.memory import check_memory
from ..trajectory.rewind import is_elementwise, rewind
from ..trajectory.trajectory import Trajectory


logger = logging.get_logger(__name__)


class InvWNNUnlearner(Unlearner):
    r"""
    Makes a model forget given examples from those examples alone (Jang, Kim and Youn, "Learning to Rewind via
    Iterative Prediction of Past Weights for Practical Unlearning", AAAI 2025). Each round:

        warmup_intervals                fine-tune on D_f without recording
        Phi^t .. Phi^{t+K-1}            record K snapshots, one at the start and one after each further interval
        Theta^{t-1} <- Theta^t + residual_scale * predictor(W, dW)

    The run ends where a stopping rule is met or after `num_rewinds` rounds, with the last good weights.

    Args:
        model (`PreTrainedModel` or `nn.Module`): The trained model; changed in place by `train()`.
        args ([`UnlearningArguments`]): How to rewind, and when to stop.
        forget_dataset, eval_dataset, forget_eval_dataset (`Dataset`): As for [`Unlearner`].
        predictor ([`PastWeightPredictor`] or `str`, *optional*): The predictor, or a source for [`load_predictor`]: a
            folder, a Hub id, `"base"` (the default) or `"linear"`.
        kwargs: Other arguments of [`Unlearner`].

    Raises:
        ValueError, TypeError: An argument cannot work; the message names it. The model is unchanged.
    """

    title = "InvWNN"
    records_trajectory = True
    default_recovery_steps = 600
    trajectory: Trajectory

    def __init__(
        self,
        model: nn.Module,
        args: UnlearningArguments,
        forget_dataset: Any,
        eval_dataset: Any = None,
        forget_eval_dataset: Any = None,
        *,
        predictor: PastWeightPredictor | str | os.PathLike | None = None,
        **kwargs: Any,
    ) -> None:
        self.predictor = load_predictor(predictor)
        super().__init__(model, args, forget_dataset, eval_dataset, forget_eval_dataset, **kwargs)
        if isinstance(self.predictor, nn.Module):
            self.predictor.to(self.args.device)

    def check_arguments(self, args: UnlearningArguments) -> None:
        super().check_arguments(args)
        if self.predictor.num_snapshots not in (None, args.num_snapshots):
            raise ValueError(
                f"`predictor` was trained for K = {self.predictor.num_snapshots} snapshots, but `num_snapshots` is "
                f"{args.num_snapshots}; set `num_snapshots={self.predictor.num_snapshots}`."
            )

    def fingerprint(self) -> dict[str, str | None]:
        return {**super().fingerprint(), "predictor": predictor_hash(self.predictor)}

    def prepare_run(self) -> None:
        shards = self.tracked.shards
        if shards.layout != "single" and not is_elementwise(self.predictor):
            raise ValueError(
                "`predictor` has `trajectory_scale='tensor'` and needs all weights of a tensor, which no process has "
                "here; use a predictor with 'weight' or 'none', or a single process."
            )
        self._warn_of_low_precision()
        storage, dtype = self.args.trajectory_storage, self.args.trajectory_dtype
        check_memory(shards, self.args.num_snapshots, dtype, storage, self.args.trajectory_path)
        path = self.last_good.path("trajectory")
        self.trajectory = Trajectory(shards, self.args.num_snapshots, dtype, storage, path)

    def on_round_begin(self) -> None:
        if self.args.warmup_intervals == 0:
            self.trajectory.record()

    def on_interval_end(self, interval: int) -> None:
        if interval >= self.args.warmup_intervals:
            self._record()

    def update_weights(self) -> None:
        self._record()
        rewind(self.trajectory, self.predictor, self.args.residual_scale)

    def on_round_end(self) -> None:
        self.trajectory.clear()

    def before_optimizer_step(self) -> None:
        self.trajectory.before_change()

    def method_state(self) -> tuple[dict[str, torch.Tensor], int]:
        return self.trajectory.state_dict(), self.trajectory.count

    def load_method_state(self, tensors: dict[str, torch.Tensor], count: int) -> None:
        self.trajectory.load_state_dict(tensors, count)

    def _record(self) -> None:
        self.tracked.check_unchanged()
        self.tracked.check_finite()
        self.trajectory.record()

    def _warn_of_low_precision(self) -> None:
        low = [name for name, local in self.tracked.shards.items() if local.dtype in (torch.bfloat16, torch.float16)]
        if low:
            logger.warning(
                f"`model` has {len(low)} tracked tensors of 16 bits, {low[0]!r} the first: fine-tuning steps smaller "
                "than their rounding are lost. Load it with `dtype=torch.float32` and set `bf16=True`."
            )


__all__ = ["InvWNNUnlearner"]

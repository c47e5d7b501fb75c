"""NegMerge: subtract what several fine-tunings on the forget set agree on (Kim et al., ICML 2025)."""

from __future__ import annotations

from typing import Any

import torch

from ..trainer.arguments import UnlearningArguments
from ..trainer.checks import check_retain
from ..trainer.unlearner import Unlearner


class NegMergeUnlearner(Unlearner):
    r"""
    In a round, fine-tunes R times from the same weights and with a new optimizer state, with other orders of D_f and
    other learning rates, and subtracts the mean of the displacements where all of their signs agree:

        theta_r = fine-tuned from theta, tau_r = theta_r - theta
        theta <- theta - residual_scale * mean_r tau_r   where sign(tau_1) = ... = sign(tau_R), else theta

    Each fine-tuning takes `(num_snapshots - 1) / runs` intervals. With R = 3 the signs of random displacements agree
    in a quarter of the weights, with 5 in a sixteenth. Forget-only, for any task.

    Args:
        runs (`int`, defaults to 5): R, at least 2; must divide `num_snapshots - 1`.
        rates (`tuple[float, ...]`, defaults to `(1.0, 0.5, 2.0)`): Factors of the learning rate, used in turn.
        kwargs: Arguments of [`Unlearner`].

    Raises:
        ValueError: `runs` or `rates` cannot work; otherwise as [`Unlearner`].
    """

    title = "NegMerge"
    needs_whole_weights = True

    def __init__(
        self, *args: Any, runs: int = 5, rates: tuple[float, ...] = (1.0, 0.5, 2.0), retain_dataset: Any = None,
        **kwargs: Any,
    ) -> None:  # fmt: skip
        check_retain(self.title, self.needs_retain, retain_dataset)
        if runs < 2:
            raise ValueError(f"`runs` must be at least 2, got {runs}; a single one is task_vector.")
        if not rates or not all(0 < rate < float("inf") for rate in rates):
            raise ValueError(f"`rates` must be positive factors of the learning rate, got {rates!r}.")
        self.runs, self.rates = runs, tuple(rates)
        self.done = 0
        # The weights at the start of the round, the sum of the displacements, and their sign where all agree.
        self.before: dict[str, torch.Tensor] = {}
        self.total: dict[str, torch.Tensor] = {}
        self.sign: dict[str, torch.Tensor] = {}
        super().__init__(*args, **kwargs)

    def check_arguments(self, args: UnlearningArguments) -> None:
        super().check_arguments(args)
        if args.warmup_intervals or (args.num_snapshots - 1) % self.runs:
            raise ValueError(
                f"`num_snapshots` must be 1 more than a multiple of `runs` ({self.runs}), and `warmup_intervals` 0, "
                f"got {args.num_snapshots} and {args.warmup_intervals}; set `num_snapshots={3 * self.runs + 1}`."
            )

    def on_round_begin(self) -> None:
        self.done = 0
        self.before = {name: value.detach().clone() for name, value in self.tracked.parameters.items()}
        self.total = {name: torch.zeros_like(value) for name, value in self.before.items()}
        self.sign = {}
        self._forget_moments()

    def before_optimizer_step(self) -> None:
        assert self.optimizer is not None
        for group in self.optimizer.param_groups:  # the scheduler sets it back after the step
            group["lr"] *= self.rates[self.done % len(self.rates)]

    @torch.no_grad()
    def on_interval_end(self, interval: int) -> None:
        if interval % ((self.args.num_snapshots - 1) // self.runs) == 0:
            self._add_displacement()
            for name, parameter in self.tracked.parameters.items():
                parameter.copy_(self.before[name])
            self._forget_moments()

    @torch.no_grad()
    def update_weights(self) -> None:
        self._add_displacement()
        for name, parameter in self.tracked.parameters.items():
            agreed = self.total[name] / self.runs * self.sign[name].abs()
            parameter.copy_(self.before[name] - self.args.residual_scale * agreed)
        super().update_weights()

    def _forget_moments(self) -> None:
        """So that no fine-tuning goes on in the direction of the one before it."""
        if self.optimizer is not None:
            self.optimizer.state.clear()

    def _add_displacement(self) -> None:
        self.done += 1
        for name, parameter in self.tracked.parameters.items():
            displacement = parameter.detach() - self.before[name]
            self.total[name] += displacement
            sign = displacement.sign()
            self.sign[name] = torch.where(self.sign.get(name, sign) == sign, sign, torch.zeros_like(sign))

    def method_state(self) -> tuple[dict[str, torch.Tensor], int]:
        parts = {"before": self.before, "total": self.total, "sign": self.sign}
        return {f"{part}.{name}": value for part, values in parts.items() for name, value in values.items()}, self.done

    def load_method_state(self, tensors: dict[str, torch.Tensor], count: int) -> None:
        parameters = self.tracked.parameters
        self.done = count
        self.before, self.total, self.sign = (
            {
                name: tensors[f"{part}.{name}"].to(value.device, value.dtype)
                for name, value in parameters.items()
                if f"{part}.{name}" in tensors
            }
            for part in ("before", "total", "sign")
        )


__all__ = ["NegMergeUnlearner"]

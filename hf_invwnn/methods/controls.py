"""Controls without data: Gaussian noise on the weights, and magnitude pruning. A method should forget better."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from ..trainer.checks import check_retain
from ..trainer.unlearner import Unlearner
from .base import check_positive


class Control(Unlearner):
    """
    Spoils the weights in every round without looking at an example; D_f only tells where to stop. The steps of a
    round change nothing, so rounds are best kept short: `num_snapshots=2`, `snapshot_strategy="steps"`.

    Takes and raises what [`Unlearner`] does.
    """

    needs_forget = False
    needs_whole_weights = True

    def __init__(self, *args: Any, retain_dataset: Any = None, **kwargs: Any) -> None:
        check_retain(self.title, self.needs_retain, retain_dataset)
        super().__init__(*args, **kwargs)

    def training_step(self, model: nn.Module, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> torch.Tensor:
        if self.recovering:
            return super().training_step(model, inputs, *args, **kwargs)
        return torch.zeros((), device=self.args.device)

    @torch.no_grad()
    def update_weights(self) -> None:
        seed = np.random.SeedSequence([self.args.seed, self.run_state.total_rounds]).generate_state(1)[0]
        generator = torch.Generator().manual_seed(int(seed))
        for parameter in self.tracked.parameters.values():
            self.spoil(parameter, generator)
        super().update_weights()

    def spoil(self, parameter: torch.Tensor, generator: torch.Generator) -> None:
        """Changes one parameter in place; what is drawn comes from `generator`."""
        raise NotImplementedError


class GaussianNoiseUnlearner(Control):
    r"""
    `theta <- theta + deviations * std(theta) * noise` in every round, with the standard deviation of each tensor and
    standard normal noise. The noise of T rounds is that of one round with `sqrt(T)` times the deviations.

    Args:
        deviations (`float`, defaults to 0.05): Noise of a round, in standard deviations of each tensor.
        kwargs: Arguments of [`Unlearner`].

    Raises:
        ValueError: `deviations` is not positive; otherwise as [`Unlearner`].
    """

    title = "Gaussian noise"

    def __init__(self, *args: Any, deviations: float = 0.05, **kwargs: Any) -> None:
        check_positive("deviations", deviations)
        self.deviations = deviations
        super().__init__(*args, **kwargs)

    def spoil(self, parameter: torch.Tensor, generator: torch.Generator) -> None:
        noise = torch.randn(parameter.shape, generator=generator).to(parameter.device, parameter.dtype)
        parameter.add_(noise * parameter.float().std(correction=0).to(parameter.dtype), alpha=self.deviations)


class PruningUnlearner(Control):
    r"""
    Sets the weights of the smallest magnitude to 0: after T rounds a share `1 - (1 - share)^T` of each tensor of two
    dimensions or more. Biases and the weights of normalisation stay.

    Args:
        share (`float`, defaults to 0.05): Share of the remaining weights that a round prunes, in (0, 1).
        kwargs: Arguments of [`Unlearner`].

    Raises:
        ValueError: `share` is not in (0, 1); otherwise as [`Unlearner`].
    """

    title = "Pruning"

    def __init__(self, *args: Any, share: float = 0.05, **kwargs: Any) -> None:
        if not 0 < share < 1:
            raise ValueError(
                f"`share` is that of the weights that a round prunes and must lie in (0, 1), got {share}."
            )
        self.share = share
        super().__init__(*args, **kwargs)

    def spoil(self, parameter: torch.Tensor, generator: torch.Generator) -> None:
        if parameter.dim() < 2:
            return
        magnitudes = parameter.abs().flatten()
        remaining = int(magnitudes.count_nonzero())
        pruned = magnitudes.numel() - remaining + round(self.share * remaining)
        kept = torch.ones_like(magnitudes)
        kept[magnitudes.argsort(stable=True)[:pruned]] = 0
        parameter.mul_(kept.view(parameter.shape))


__all__ = ["GaussianNoiseUnlearner", "PruningUnlearner"]

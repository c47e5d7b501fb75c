"""The task vector as a past-weight predictor."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from .base import check_trajectory
from .config import PARAMETER_KINDS


class LinearPredictor:
    r"""
    Walks back along the straight line from the newest snapshot through the oldest one.

        theta^{t-U} = theta^t - scale * (theta^{t+K-1} - theta^t)

    This is the task vector of Ilharco et al. (2023) behind the interface of [`InvWNNModel`]; only the two ends of the
    trajectory count.

    Args:
        scale (`float` or `dict[str, float]`, defaults to 1.0):
            The step, in units of the displacement; one for all, or one for each of `"conv"`, `"linear"` and `"bias"`.
            A kind with scale 0 stays where it is.

    Raises:
        ValueError: A kind is missing or unknown, or a scale is negative or not finite.
    """

    num_snapshots: int | None = None

    def __init__(self, scale: float | Mapping[str, float] = 1.0) -> None:
        scales = dict(scale) if isinstance(scale, Mapping) else dict.fromkeys(PARAMETER_KINDS, float(scale))
        if set(scales) != set(PARAMETER_KINDS):
            raise ValueError(f"`scale` needs exactly the kinds {PARAMETER_KINDS}, got {sorted(scales)}.")
        for kind, value in scales.items():
            if not 0 <= value < float("inf"):
                raise ValueError(f"`scale[{kind!r}]` must be a finite number of at least 0, got {value}.")
        self.scale = scales

    def predict_residual(self, trajectory: torch.Tensor, kind: str) -> torch.Tensor:
        check_trajectory(trajectory, kind, self.num_snapshots)
        return -self.scale[kind] * (trajectory[-1].float() - trajectory[0].float())

    def __repr__(self) -> str:
        return f"LinearPredictor(scale={self.scale})"


__all__ = ["LinearPredictor"]

"""What every past-weight predictor can do, whoever computes it."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch

from .config import PARAMETER_KINDS


@runtime_checkable
class PastWeightPredictor(Protocol):
    """
    Predicts, weight by weight, how far a weight lay from the oldest snapshot of its trajectory in the past.

    `num_snapshots` is the K it was made for, or `None` if any K of at least 2 will do. Both methods take a trajectory
    of shape `(K, *shape)`, oldest snapshot first, and a kind out of `"conv"`, `"linear"` and `"bias"`. A run calls
    them with blocks `(K, n)` of the flattened weights of a parameter, and the kind of its whole shape.
    """

    @property
    def num_snapshots(self) -> int | None: ...

    def predict_residual(self, trajectory: torch.Tensor, kind: str) -> torch.Tensor:
        """`theta^{t-U} - theta^t`, of shape `(*shape)` in float32."""
        ...

    def predict_past(self, trajectory: torch.Tensor, kind: str) -> torch.Tensor:
        """`theta^{t-U}`, of shape `(*shape)` in the dtype of the trajectory."""
        ...


def parameter_kind(shape: torch.Size | tuple[int, ...]) -> str:
    """The kind of a parameter by its number of dimensions: 3 and more `conv`, 2 `linear`, 1 and 0 `bias`."""
    if len(shape) >= 3:
        return "conv"
    return "linear" if len(shape) == 2 else "bias"


def check_trajectory(trajectory: torch.Tensor, kind: str, num_snapshots: int | None) -> None:
    """
    Refuses what no predictor can work on.

    Raises:
        ValueError: The kind is unknown, or the first dimension is not the number of snapshots.
    """
    if kind not in PARAMETER_KINDS:
        raise ValueError(f"`kind` must be one of {PARAMETER_KINDS}, got {kind!r}.")
    found = trajectory.shape[0] if trajectory.ndim else 0
    if num_snapshots is not None and found != num_snapshots:
        raise ValueError(
            f"`trajectory` must have {num_snapshots} snapshots in its first dimension, got shape "
            f"{tuple(trajectory.shape)}."
        )
    if found < 2:
        raise ValueError(f"`trajectory` needs at least 2 snapshots, got shape {tuple(trajectory.shape)}.")


__all__ = ["PastWeightPredictor", "check_trajectory", "parameter_kind"]

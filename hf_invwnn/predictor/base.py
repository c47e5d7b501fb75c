"""The interface of past-weight predictors."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch

from .config import PARAMETER_KINDS


@runtime_checkable
class PastWeightPredictor(Protocol):
    """
    Predicts, for each weight, the difference between its value in the past and the oldest snapshot of its trajectory.

    `num_snapshots` is the K it was trained for, or `None` if it works with any K of at least 2.
    """

    @property
    def num_snapshots(self) -> int | None: ...

    def predict_residual(self, trajectory: torch.Tensor, kind: str) -> torch.Tensor:
        """
        The residual `theta^{t-U} - theta^t`.

        Args:
            trajectory (`torch.Tensor` of shape `(K, *shape)`): Snapshots, oldest first. A run passes blocks `(K, n)`
                of the flattened weights of a parameter.
            kind (`str`): `"conv"`, `"linear"` or `"bias"`, the kind of the parameter's full shape.

        Returns:
            `torch.Tensor` of shape `(*shape)` in float32.
        """
        ...


def parameter_kind(shape: torch.Size | tuple[int, ...]) -> str:
    """The kind of a parameter by its number of dimensions: 3 or more `conv`, 2 `linear`, 1 or 0 `bias`."""
    if len(shape) >= 3:
        return "conv"
    return "linear" if len(shape) == 2 else "bias"


def check_trajectory(trajectory: torch.Tensor, kind: str, num_snapshots: int | None) -> None:
    """
    Checks the arguments of `predict_residual`.

    Raises:
        ValueError: The kind is unknown, or the first dimension is not the number of snapshots.
    """
    if kind not in PARAMETER_KINDS:
        raise ValueError(f"`kind` must be one of {PARAMETER_KINDS}, got {kind!r}.")
    snapshots = trajectory.shape[0] if trajectory.ndim else 0
    if num_snapshots is not None and snapshots != num_snapshots:
        raise ValueError(
            f"`trajectory` must have {num_snapshots} snapshots in its first dimension, got shape "
            f"{tuple(trajectory.shape)}."
        )
    if snapshots < 2:
        raise ValueError(f"`trajectory` needs at least 2 snapshots, got shape {tuple(trajectory.shape)}.")


__all__ = ["PastWeightPredictor", "check_trajectory", "parameter_kind"]

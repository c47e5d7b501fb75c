"""One rewind: predicts the past of every tracked parameter from a full trajectory, and writes it into the model."""

from __future__ import annotations

import sys

import torch

from ..errors import NonFiniteWeightsError
from ..predictor.base import PastWeightPredictor, parameter_kind
from .tracking import non_finite
from .trajectory import Trajectory


# Number of weights whose trajectory is copied to the device of the model at once: 15 snapshots are 60 MiB.
BLOCK_SIZE = 2**20


def past_weights(
    trajectory: torch.Tensor,
    predictor: PastWeightPredictor,
    residual_scale: float = 1.0,
    kind: str | None = None,
) -> torch.Tensor:
    r"""
    Predicts the weights of one parameter before the training that its trajectory records.

        theta^{t-1} = theta^t + residual_scale * predictor(W)

    Args:
        trajectory (`torch.Tensor` of shape `(K, *shape)`): The snapshots, oldest first, in float32.
        predictor ([`PastWeightPredictor`]): Predicts the residual of each weight.
        residual_scale (`float`, defaults to 1.0): Damping; 1.0 is the paper's full step.
        kind (`str`, *optional*): `"conv"`, `"linear"` or `"bias"`; derived from the shape by default.

    Returns:
        `torch.Tensor` of shape `(*shape)` in float32.

    Raises:
        ValueError: The predictor returns something else than a tensor of shape `(*shape)`.
    """
    oldest = trajectory[0]
    residual = predictor.predict_residual(trajectory, kind or parameter_kind(oldest.shape))
    if not torch.is_tensor(residual) or residual.shape != oldest.shape:
        got = f"the shape {tuple(residual.shape)}" if torch.is_tensor(residual) else f"a {type(residual).__name__}"
        raise ValueError(
            f"`predictor` ({type(predictor).__name__}) must return one residual per weight, a tensor of shape "
            f"{tuple(oldest.shape)}, got {got}."
        )
    return oldest + residual_scale * residual.to(oldest)


@torch.no_grad()
def rewind(trajectory: Trajectory, predictor: PastWeightPredictor, residual_scale: float = 1.0) -> None:
    r"""
    Writes the predicted past into every tracked parameter, in place (one iteration of algorithm 1 of the paper). Every
    process predicts its own part; processes that hold the same weights then exchange them.

    Args:
        trajectory ([`Trajectory`]): A full trajectory; not changed.
        predictor ([`PastWeightPredictor`]): Predicts the residual of each weight.
        residual_scale (`float`, defaults to 1.0): Damping; 1.0 is the paper's full step.

    Raises:
        RuntimeError: The trajectory is not full.
        NonFiniteWeightsError: A predicted weight is not finite, on any process. Earlier parameters have already moved;
            the caller holds the weights to restore.
    """
    if not trajectory.is_full:
        raise RuntimeError(f"A rewind needs {trajectory.num_snapshots} snapshots, there are {trajectory.count}.")
    shards, non_finite_name = trajectory.shards, ""
    for name, local, snapshots in trajectory.blocks(BLOCK_SIZE if is_elementwise(predictor) else sys.maxsize):
        past = past_weights(snapshots.to(local.device), predictor, residual_scale, shards.kind(name))
        if non_finite([(name, past)]):
            non_finite_name = name
            break
        local.copy_(past)
    if shards.any_rank(bool(non_finite_name)):
        name = non_finite_name or "a weight of another process"
        raise NonFiniteWeightsError(f"the predicted past of `{name}` is not finite")
    shards.all_gather()


def is_elementwise(predictor: PastWeightPredictor) -> bool:
    """Whether the residual of a weight depends on its own trajectory only."""
    return getattr(getattr(predictor, "config", None), "trajectory_scale", "none") != "tensor"


__all__ = ["is_elementwise", "past_weights", "rewind"]

"""One rewind: the tracked parameters of a model go from a full trajectory to their predicted past."""

from __future__ import annotations

import sys

import torch

from .predictor import PastWeightPredictor, parameter_kind
from .trajectory import NonFiniteWeights, Trajectory, non_finite


# Weights whose trajectory is brought to the device of the model at once: 15 snapshots of them are 60 MiB.
BLOCK_SIZE = 2**20


def past_weights(
    trajectory: torch.Tensor,
    predictor: PastWeightPredictor,
    residual_scale: float = 1.0,
    kind: str | None = None,
) -> torch.Tensor:
    r"""
    The weights of one parameter before it had learned what its trajectory shows it learning.

        theta^{t-1} = theta^t + residual_scale * predictor(W)

    Args:
        trajectory (`torch.Tensor` of shape `(K, *shape)`): Its snapshots, oldest first, in float32.
        predictor ([`PastWeightPredictor`]): Gives the residual of each weight.
        residual_scale (`float`, defaults to 1.0): Damping; 1.0 is the paper's full step.
        kind (`str`, *optional*): `"conv"`, `"linear"` or `"bias"`; that of the shape by default.

    Returns:
        `torch.Tensor` of shape `(*shape)` in float32.
    """
    oldest = trajectory[0]
    residual = predictor.predict_residual(trajectory, kind or parameter_kind(oldest.shape))
    return oldest + residual_scale * residual.to(oldest)


@torch.no_grad()
def rewind(trajectory: Trajectory, predictor: PastWeightPredictor, residual_scale: float = 1.0) -> None:
    r"""
    Puts the predicted past into every tracked parameter, in place (algorithm 1 of the paper, one turn). Every process
    predicts its own part; those that hold the same weights then tell each other.

    Args:
        trajectory ([`Trajectory`]): All K snapshots; not changed.
        predictor ([`PastWeightPredictor`]): Gives the residual of each weight.
        residual_scale (`float`, defaults to 1.0): Damping; 1.0 is the paper's full step.

    Raises:
        RuntimeError: The trajectory is not full.
        NonFiniteWeights: A predicted weight is not finite, on any process. Parameters before it have moved already;
            whoever calls holds the weights to go back to.
    """
    if not trajectory.is_full:
        raise RuntimeError(f"A rewind needs {trajectory.num_snapshots} snapshots, there are {trajectory.count}.")
    parts, bad = trajectory.parts, ""
    for name, local, snapshots in trajectory.blocks(BLOCK_SIZE if is_elementwise(predictor) else sys.maxsize):
        past = past_weights(snapshots.to(local.device), predictor, residual_scale, parts.kind(name))
        if non_finite([(name, past)]):
            bad = name
            break
        local.copy_(past)
    if parts.any(bool(bad)):
        raise NonFiniteWeights(f"the predicted past of `{bad or 'a weight of another process'}` is not finite")
    parts.exchange()


def is_elementwise(predictor: PastWeightPredictor) -> bool:
    """Whether the residual of a weight depends on nothing but its own trajectory."""
    return getattr(getattr(predictor, "config", None), "trajectory_scale", "none") != "tensor"


__all__ = ["is_elementwise", "past_weights", "rewind"]

"""One rewind: the tracked parameters of a model go from a full trajectory to their predicted past."""

from __future__ import annotations

import torch

from .predictor import PastWeightPredictor, parameter_kind
from .trajectory import NonFiniteWeights, Trajectory, non_finite


def past_weights(
    trajectory: torch.Tensor, predictor: PastWeightPredictor, residual_scale: float = 1.0
) -> torch.Tensor:
    r"""
    The weights of one parameter before it had learned what its trajectory shows it learning.

        theta^{t-1} = theta^t + residual_scale * predictor(W)

    Args:
        trajectory (`torch.Tensor` of shape `(K, *shape)`): Its snapshots, oldest first, in float32.
        predictor ([`PastWeightPredictor`]): Gives the residual of each weight.
        residual_scale (`float`, defaults to 1.0): Damping; 1.0 is the paper's full step.

    Returns:
        `torch.Tensor` of shape `(*shape)` in float32.
    """
    oldest = trajectory[0]
    residual = predictor.predict_residual(trajectory, parameter_kind(oldest.shape))
    return oldest + residual_scale * residual.to(oldest)


@torch.no_grad()
def rewind(trajectory: Trajectory, predictor: PastWeightPredictor, residual_scale: float = 1.0) -> None:
    r"""
    Puts the predicted past into every tracked parameter, in place (algorithm 1 of the paper, one turn).

    Args:
        trajectory ([`Trajectory`]): All K snapshots; not changed.
        predictor ([`PastWeightPredictor`]): Gives the residual of each weight.
        residual_scale (`float`, defaults to 1.0): Damping; 1.0 is the paper's full step.

    Raises:
        RuntimeError: The trajectory is not full.
        NonFiniteWeights: A predicted weight is not finite. Parameters before it have moved already; whoever calls
            holds the weights to go back to.
    """
    if not trajectory.is_full:
        raise RuntimeError(f"A rewind needs {trajectory.num_snapshots} snapshots, there are {trajectory.count}.")
    for name, parameter, snapshots in trajectory.items():
        past = past_weights(snapshots.to(parameter.device), predictor, residual_scale)
        if non_finite([(name, past)]):
            raise NonFiniteWeights(f"the predicted past of `{name}` is not finite")
        parameter.copy_(past)


__all__ = ["past_weights", "rewind"]

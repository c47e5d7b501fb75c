"""Whether a factored network may stand for the exact one: calibration trajectories, their range, and the error."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch

from .config import InvWNNConfig
from .factorization import factorize_stream
from .inference import InferenceNetwork, Workspace, input_maps
from .network import InvWNNNetwork


# Root mean square error over root mean square residual, on calibration trajectories that were not fitted on: the goal
# of the fits, in float64, and the largest error that is accepted, in float32 with its rounding. In float32 the exact
# network rounds by 1e-7 to 1e-6.
FIT_TOLERANCE, TOLERANCE = 1e-6, 1e-5
NUM_TRAJECTORIES = 2000
# Range of the calibration of a network that sees raw weights: largest weight, and largest step between snapshots.
LARGEST_WEIGHT, LARGEST_STEP = 1.0, 0.1


@torch.no_grad()
def factored_network(network: InvWNNNetwork, config: InvWNNConfig) -> InferenceNetwork | None:
    """
    Factorizes the network of one kind. The result depends on its weights alone; no global random state is used.

    Args:
        network ([`InvWNNNetwork`]): As trained; not changed.
        config ([`InvWNNConfig`]): The predictor's.

    Returns:
        [`InferenceNetwork`] in float64, or `None` if none with fewer multiplications meets the tolerance.
    """
    if config.trajectory_scale == "tensor":  # such displacements have no bound
        return None
    samples, checks = (calibration_inputs(config, seed) for seed in (0, 1))
    trained: Any = copy.deepcopy(network).to("cpu", torch.float64)
    exact = InferenceNetwork.exact(trained, config)
    residual = _residual(exact, checks)
    size = float(residual.square().mean().sqrt())
    if not math.isfinite(size):
        return None
    # The tanh and its range only shrink an error, or stretch it by the range.
    allowed = 0.5 * FIT_TOLERANCE * size / network.residual_range
    constant, streams = exact.constant, []
    outputs = trained.output.weight[0].split(config.stream_size)
    trained_streams = (trained.weight_stream, trained.difference_stream)
    parts = zip(trained_streams, input_maps(config), outputs, exact.streams, strict=True)
    for stream, input_map, output, whole in parts:
        values = stream(samples @ input_map.T) @ output
        if float((values - values.mean()).abs().max()) <= 0.1 * allowed:  # a dead stream
            constant += float(values.mean())
            continue
        factored = factorize_stream(stream, input_map, output, samples, checks, allowed)
        if factored is None or factored.multiplications >= whole.multiplications:
            factored = whole
        streams.append(factored)
    result = InferenceNetwork(streams, constant, network.residual_range)
    if result.multiplications >= exact.multiplications:
        return None
    error = float((_residual(result, checks.float()) - residual).square().mean().sqrt())
    return result if error <= TOLERANCE * size else None


def _residual(network: InferenceNetwork, inputs: torch.Tensor) -> torch.Tensor:
    """Residuals `(N,)` in float64 of inputs `(N, size)`, computed in their dtype."""
    place = inputs.device, inputs.dtype
    return network.to(*place)(inputs.T.contiguous()[None], Workspace(*place)).flatten().double()


def calibration_inputs(config: InvWNNConfig, seed: int) -> torch.Tensor:
    """
    Inputs `(N, size)` of many shapes in float64, as of [`input_maps`]: drifts that bend, random walks, jitter of three
    distributions, spikes, and sums of those.
    """
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    def uniform(*shape: int) -> torch.Tensor:
        return torch.rand(*shape, generator=generator, dtype=torch.float64)

    count, snapshots = NUM_TRAJECTORIES, config.num_snapshots
    steps = torch.linspace(0, 1, snapshots, dtype=torch.float64)
    parts = (
        normal(count, 1) * steps ** (0.3 + 2 * uniform(count, 1)),
        normal(count, snapshots).cumsum(dim=1) / snapshots**0.5,
        normal(count, snapshots),
        2 * uniform(count, snapshots) - 1,
        normal(count, snapshots).sign(),
        normal(count, snapshots) * (uniform(count, snapshots) < 0.2),
    )
    shape = torch.stack([uniform(count, 1) ** 3 * part for part in parts]).sum(dim=0)
    displacement = shape[:, 1:] - shape[:, :1]
    if config.trajectory_scale == "weight":
        return displacement / displacement.abs().amax(dim=1, keepdim=True)
    oldest = LARGEST_WEIGHT * (2 * uniform(count, 1) - 1) * uniform(count, 1)
    largest_step = shape.diff(dim=1).abs().amax(dim=1, keepdim=True)
    step = 10 ** (-6 + (6 + math.log10(LARGEST_STEP)) * uniform(count, 1))
    weights = (oldest + step / largest_step * displacement).clamp(-LARGEST_WEIGHT, LARGEST_WEIGHT)
    return torch.cat([oldest, weights - oldest], dim=1)


def is_calibrated(x: torch.Tensor) -> torch.Tensor:
    """
    Whether each raw trajectory is in the range of the calibration, `(batch, K, n) -> (batch, 1, n)`; one with a NaN is
    not. Trajectories are inputs as of [`input_maps`].
    """
    oldest, displacement = x[:, :1], x[:, 1:]
    low = displacement.amin(dim=1, keepdim=True).clamp_max_(0)  # one `aminmax` takes five times as long
    high = displacement.amax(dim=1, keepdim=True).clamp_min_(0)
    inside = (oldest + high <= LARGEST_WEIGHT) & (oldest + low >= -LARGEST_WEIGHT)
    # No step is longer than the whole way; most blocks need no look at the steps themselves.
    if not bool((high - low).max() <= LARGEST_STEP):
        steps = displacement.diff(dim=1, prepend=torch.zeros_like(oldest))
        inside &= steps.abs().amax(dim=1, keepdim=True) <= LARGEST_STEP
    return inside


__all__ = ["calibration_inputs", "factored_network", "is_calibrated"]

"""A fast predictor: a trained InvWNN, compressed, and the exact one for what the compression was not made for."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch

from .base import check_trajectory
from .compression import CompressedStream, compress_stream
from .config import PARAMETER_KINDS
from .model import InvWNNModel


# Trajectories to calibrate on: weights up to about 1, that move in one epoch by 1e-6 to about 0.1.
CALIBRATION_SIZE = 4000
LARGEST_WEIGHT, LARGEST_STEP = 1.0, 0.1


class FastInvWNN:
    r"""
    Predicts what an [`InvWNNModel`] does, several times as fast, to a relative error of `tolerance`.

    When it is made, each kind's network is compressed ([`compress_stream`]) and compared with the exact one on
    trajectories it was not fitted on; a kind that does not meet the tolerance stays exact. So do blocks with a weight
    or a step outside the range of the calibration: 1.0 and 0.1.

    Args:
        model ([`InvWNNModel`]): The exact predictor; not changed.
        tolerance (`float`, defaults to 2e-6): Root mean square error over the root mean square residual.
        block_size (`int`, defaults to 16384): Weights predicted at once, small enough for a core's cache. Extra memory
            is bounded by it.

    Raises:
        ValueError: `tolerance` or `block_size` is not positive.
    """

    def __init__(self, model: InvWNNModel, tolerance: float = 2e-6, block_size: int = 16384) -> None:
        for name, value in (("tolerance", tolerance), ("block_size", block_size)):
            if not value > 0:
                raise ValueError(f"`{name}` must be positive, got {value}.")
        self.exact = model
        self.block_size = block_size
        self.compressed: dict[str, CompressedNetwork] = {}
        for kind in PARAMETER_KINDS:
            if (network := _compress(model, kind, tolerance)) is not None:
                self.compressed[kind] = network

    @property
    def num_snapshots(self) -> int:
        return self.exact.num_snapshots

    @torch.no_grad()
    def predict_residual(self, trajectory: torch.Tensor, kind: str) -> torch.Tensor:
        """As [`InvWNNModel.predict_residual`]."""
        check_trajectory(trajectory, kind, self.num_snapshots)
        if kind not in self.compressed:
            return self.exact.predict_residual(trajectory, kind)
        network = self.compressed[kind]
        flat = trajectory.reshape(self.num_snapshots, -1)
        residual = torch.empty(flat.shape[1], dtype=self.exact.dtype, device=trajectory.device)
        for start in range(0, flat.shape[1], self.block_size):
            block = flat[:, start : start + self.block_size].to(self.exact.device, self.exact.dtype)
            part = network(block) if _in_range(block) else self.exact.predict_residual(block, kind)
            residual[start : start + self.block_size] = part
        return residual.reshape(trajectory.shape[1:])

    def predict_past(self, trajectory: torch.Tensor, kind: str) -> torch.Tensor:
        """As [`InvWNNModel.predict_past`]."""
        residual = self.predict_residual(trajectory, kind)
        return (trajectory[0].to(residual.dtype) + residual).to(trajectory.dtype)


def _in_range(block: torch.Tensor) -> bool:
    # Written so that a NaN is out of range.
    low, high = block.amin(dim=0), block.amax(dim=0)  # one `aminmax` takes five times as long
    if not bool((high.max() <= LARGEST_WEIGHT) & (low.min() >= -LARGEST_WEIGHT)):
        return False
    # No step is longer than the whole way; most blocks need no look at the steps themselves.
    if bool((high - low).max() <= LARGEST_STEP):
        return True
    return bool((block[1:] - block[:-1]).abs().max() <= LARGEST_STEP)


def _compress(model: InvWNNModel, kind: str, tolerance: float) -> CompressedNetwork | None:
    """The network of one kind on blocks `(K, n)`, or `None` if it cannot be had within the tolerance."""
    if model.config.trajectory_scale != "none":
        return None
    samples, checks = (_calibration(model.num_snapshots, seed) for seed in (0, 1))
    network: Any = copy.deepcopy(model.networks[kind]).double().cpu().requires_grad_(False)
    shown = (lambda x: x.flip(-1)) if model.config.newest_first else (lambda x: x)
    residual = network(shown(checks))
    size = float(residual.square().mean().sqrt())
    # The tanh and its range only shrink an error, or stretch it by the range.
    allowed = 0.5 * tolerance * size / network.residual_range
    identity = shown(torch.eye(model.num_snapshots, dtype=torch.float64)).T
    maps = {"weight_stream": identity, "difference_stream": identity[1:] - identity[:-1]}
    half = model.config.stream_size
    streams: list[CompressedStream] = []
    constant = float(network.output.bias[0])
    for number, (name, input_map) in enumerate(maps.items()):
        output = network.output.weight[0, number * half : (number + 1) * half]
        values = getattr(network, name)(samples @ input_map.T) @ output
        if float((values - values.mean()).abs().max()) <= 0.1 * allowed:
            constant += float(values.mean())
            continue
        stream = compress_stream(getattr(network, name), input_map, output, samples, checks, allowed)
        if stream is None:
            return None
        streams.append(stream)
    compressed = CompressedNetwork(streams, constant, network.residual_range).to(model.device, model.dtype)
    found = compressed(checks.T.to(model.device, model.dtype)).double().cpu()
    return compressed if float((found - residual).square().mean().sqrt()) <= tolerance * size else None


class CompressedNetwork:
    """`range * tanh(sum of streams + constant)` on blocks `(K, n)`."""

    def __init__(self, streams: list[CompressedStream], constant: float, residual_range: float) -> None:
        self.streams, self.constant, self.residual_range = streams, constant, residual_range

    def to(self, device: torch.device, dtype: torch.dtype) -> CompressedNetwork:
        streams = [stream.to(device, dtype) for stream in self.streams]
        return CompressedNetwork(streams, self.constant, self.residual_range)

    @property
    def multiplications(self) -> int:
        """For each weight."""
        return sum(stream.multiplications for stream in self.streams)

    def __call__(self, block: torch.Tensor) -> torch.Tensor:
        total = block.new_full((block.shape[1],), self.constant)
        for stream in self.streams:
            total += stream(block)
        return total.tanh_().mul_(self.residual_range)


def _calibration(num_snapshots: int, seed: int) -> torch.Tensor:
    """Trajectories `(N, K)` of many sizes and shapes, in float64: drifts that bend, random walks, jitter, and sums."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    def uniform(*shape: int) -> torch.Tensor:
        return torch.rand(*shape, generator=generator, dtype=torch.float64)

    count, steps = CALIBRATION_SIZE, torch.linspace(0, 1, num_snapshots, dtype=torch.float64)
    weight = LARGEST_WEIGHT * (2 * uniform(count, 1) - 1) * uniform(count, 1)
    drift = normal(count, 1) * steps ** (0.3 + 2 * uniform(count, 1))
    walk = normal(count, num_snapshots).cumsum(dim=1) / num_snapshots**0.5
    jitter = 0.3 * normal(count, num_snapshots)
    shape = uniform(count, 1) * drift + uniform(count, 1) * walk + uniform(count, 1) * jitter
    shape = shape - shape[:, :1]
    largest_step = shape.diff(dim=1).abs().amax(dim=1, keepdim=True)
    step = 10 ** (-6 + (6 + math.log10(LARGEST_STEP)) * uniform(count, 1))
    return (weight + step / largest_step * shape).clamp(-LARGEST_WEIGHT, LARGEST_WEIGHT)


__all__ = ["CompressedNetwork", "FastInvWNN"]

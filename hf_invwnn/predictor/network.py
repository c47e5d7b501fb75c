"""InvWNN itself: the network of one kind of parameter, on trajectories of scalars."""

from __future__ import annotations

import math

import torch
from torch import nn

from .config import InvWNNConfig


class ActivationNetwork(nn.Module):
    """A learned activation: `c = relu(Dense(x)); factor(c) * exp(rate(c) * x) + offset(c)`."""

    condition: nn.Linear
    offset: nn.Linear
    factor: nn.Linear
    rate: nn.Linear

    def __init__(self, config: InvWNNConfig) -> None:
        super().__init__()
        self.condition = nn.Linear(config.hidden_size, config.activation_size)
        self.offset = nn.Linear(config.activation_size, config.hidden_size)
        self.factor = nn.Linear(config.activation_size, config.hidden_size)
        self.rate = nn.Linear(config.activation_size, config.hidden_size)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        condition = torch.relu(self.condition(x))
        return self.factor(condition) * torch.exp(self.rate(condition) * x) + self.offset(condition)


class Stream(nn.Sequential):
    """One of the two streams: `(N, input_size) -> (N, stream_size)`."""

    def __init__(self, config: InvWNNConfig, input_size: int) -> None:
        super().__init__(
            nn.Linear(input_size, config.hidden_size),
            nn.LeakyReLU(config.negative_slope),
            nn.Linear(config.hidden_size, config.hidden_size),
            ActivationNetwork(config),
            nn.Linear(config.hidden_size, config.stream_size),
            nn.LeakyReLU(config.negative_slope),
        )


class InvWNNNetwork(nn.Module):
    """Residual of N weights from what the network is shown of their trajectories: `(N, K) -> (N,)`."""

    weight_stream: Stream
    difference_stream: Stream
    output: nn.Linear
    residual_range: float

    def __init__(self, config: InvWNNConfig) -> None:
        super().__init__()
        self.weight_stream = Stream(config, config.num_snapshots)
        self.difference_stream = Stream(config, config.num_snapshots - 1)
        self.output = nn.Linear(2 * config.stream_size, 1)
        self.residual_range = config.residual_range

    def forward(self, weights: torch.Tensor) -> torch.Tensor:
        differences = weights[:, 1:] - weights[:, :-1]
        streams = torch.cat([self.weight_stream(weights), self.difference_stream(differences)], dim=-1)
        return self.residual_range * torch.tanh(self.output(streams)).squeeze(-1)


def variance_scaling_(weight: torch.Tensor, scale: float) -> torch.Tensor:
    """Keras' variance scaling (fan-in, uniform), in place: `U(-l, l)` with `l = sqrt(3 scale / fan_in)`."""
    limit = math.sqrt(3 * scale / weight.shape[1])
    return nn.init.uniform_(weight, -limit, limit)


__all__ = ["ActivationNetwork", "InvWNNNetwork", "Stream", "variance_scaling_"]

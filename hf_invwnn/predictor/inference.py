"""An InvWNN network for prediction alone: the same sums with less memory traffic."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from .network import InvWNNNetwork, Stream


class InferenceNetwork:
    """
    What an [`InvWNNNetwork`] computes, to rounding and without gradients, for blocks of trajectories.

    The biases are columns of the matrices, met by a row of ones; the differences are part of the first matrix of their
    stream; the four matrices behind the condition are one; all else happens in place, in buffers that are made once.

    Args:
        network ([`InvWNNNetwork`]): As trained; copied.
        num_snapshots (`int`): K.
        block_size (`int`): Most trajectories at once.
    """

    @torch.no_grad()
    def __init__(self, network: InvWNNNetwork, num_snapshots: int, block_size: int) -> None:
        first = network.output.weight
        identity = torch.eye(num_snapshots, dtype=torch.float64, device=first.device)
        streams = ((network.weight_stream, identity), (network.difference_stream, identity[1:] - identity[:-1]))
        self.streams = [_StreamMatrices(stream, shown_as) for stream, shown_as in streams]
        self.output = _with_bias(network.output).to(first.dtype)
        self.range = network.residual_range
        sizes = self.streams[0]
        self.shown = first.new_ones(num_snapshots + 1, block_size)
        self.hidden = first.new_ones(sizes.hidden + 1, block_size)
        self.linear = first.new_empty(sizes.hidden, block_size)
        self.condition = first.new_ones(sizes.condition.shape[0] + 1, block_size)
        self.activation = first.new_empty(3 * sizes.hidden, block_size)
        self.features = first.new_ones(2 * sizes.features.shape[0] + 1, block_size)

    @torch.no_grad()
    def __call__(self, shown: torch.Tensor) -> torch.Tensor:
        """Residuals `(n,)` of what the network is shown, `(K, n)` with n up to `block_size`."""
        count = shown.shape[1]
        self.shown[:-1, :count] = shown
        for number, stream in enumerate(self.streams):
            self._features(stream, number, count)
        return torch.mm(self.output, self.features[:, :count])[0].tanh_().mul_(self.range)

    def _features(self, stream: _StreamMatrices, number: int, count: int) -> None:
        size = stream.hidden
        hidden, condition = self.hidden[:, :count], self.condition[:, :count]
        nn.functional.leaky_relu_(torch.mm(stream.first, self.shown[:, :count], out=hidden[:-1]), stream.slope)
        linear = torch.mm(stream.second, hidden, out=self.linear[:, :count])
        torch.mm(stream.condition, hidden, out=condition[:-1]).relu_()
        rate, factor, offset = torch.mm(stream.activation, condition, out=self.activation[:, :count]).split(size)
        torch.mul(rate, linear, out=hidden[:-1]).exp_().mul_(factor).add_(offset)
        rows = stream.features.shape[0]
        features = self.features[number * rows : (number + 1) * rows, :count]
        nn.functional.leaky_relu_(torch.mm(stream.features, hidden, out=features), stream.slope)


class _StreamMatrices:
    """The matrices of one [`Stream`], each with its bias as a last column; made in float64."""

    def __init__(self, stream: Stream, shown_as: torch.Tensor) -> None:
        layers: Any = stream
        first, leaky, second, activation, last, _ = layers
        dtype = first.weight.dtype
        before = torch.cat([first.weight.double() @ shown_as, first.bias.double().unsqueeze(1)], dim=1)
        # The condition is a linear function of what the second layer says, so it can be had from the first's as well.
        condition = activation.condition.weight.double() @ _with_bias(second)
        condition[:, -1] += activation.condition.bias
        parts = (activation.rate, activation.factor, activation.offset)
        self.first = before.to(dtype)
        self.second = _with_bias(second).to(dtype)
        self.condition = condition.to(dtype)
        self.activation = torch.cat([_with_bias(part) for part in parts]).to(dtype)
        self.features = _with_bias(last).to(dtype)
        self.hidden: int = first.out_features
        self.slope: float = leaky.negative_slope


def _with_bias(layer: nn.Linear) -> torch.Tensor:
    return torch.cat([layer.weight, layer.bias.unsqueeze(1)], dim=1).double()


__all__ = ["InferenceNetwork"]

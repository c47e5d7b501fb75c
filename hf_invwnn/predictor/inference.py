"""An InvWNN network for prediction alone: the same function as the trained one with fewer passes over memory."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from .config import InvWNNConfig
from .network import InvWNNNetwork, Stream


class Affine:
    """
    `bias + weight_1 @ feature_1 + weight_2 @ feature_2 + ...` on batches of columns.

    Args:
        bias (`torch.Tensor` of shape `(rows,)`, *optional*): Without one, the products are added to what `out` holds.
        weights (`torch.Tensor` of shape `(rows, size)` or `None`): One for each feature; `None` for a feature that
            does not count.
    """

    def __init__(self, bias: torch.Tensor | None, *weights: torch.Tensor | None) -> None:
        self.bias = None if bias is None else bias.reshape(-1, 1)
        self.weights = [weight if weight is not None and weight.numel() else None for weight in weights]

    def to(self, device: torch.device, dtype: torch.dtype) -> Affine:
        convert = [None if tensor is None else tensor.to(device, dtype) for tensor in (self.bias, *self.weights)]
        return Affine(*convert)

    @property
    def multiplications(self) -> int:
        """Number of multiplications for each column."""
        return sum(weight.numel() for weight in self.weights if weight is not None)

    def __call__(self, out: torch.Tensor, *features: torch.Tensor) -> torch.Tensor:
        """From features `(batch, size, n)` to `out`, `(batch, rows, n)`."""
        start = self.bias
        for weight, feature in zip(self.weights, features, strict=True):
            if weight is not None:
                expanded = weight.expand(len(feature), *weight.shape)
                torch.baddbmm(out if start is None else start, expanded, feature, out=out)
                start = None
        return out if start is None else out.copy_(start)


@dataclass
class StreamMatrices:
    """
    One stream and its part of the last layer, as matrices. Features are rows, weights are columns.

    With x the input, as of [`input_maps`]:

        a = leaky(first x)
        c = relu(the first rows of second [x; a]),  h = its other rows
        [rate; factor] = third c
        m = factor * 2^(rate * h)  (with `linear_exponential`: factor * rate * h)
        p = leaky(fourth [c; m])
        result = last [c; m; p] + constant
    """

    first: Affine
    second: Affine
    third: Affine
    fourth: Affine
    last: Affine
    rows: tuple[int, int, int, int]  # of a, c, h and p
    slope: float
    linear_exponential: bool = False
    constant: float = 0.0

    def to(self, device: torch.device, dtype: torch.dtype) -> StreamMatrices:
        layers = {name: getattr(self, name).to(device, dtype) for name in _LAYERS}
        return replace(self, **layers)

    @property
    def multiplications(self) -> int:
        """Number of multiplications of the matrices for each weight."""
        return sum(getattr(self, name).multiplications for name in _LAYERS)

    def add_to(self, total: torch.Tensor, x: torch.Tensor, workspace: Workspace) -> None:
        """Adds the result but for the constant, for inputs `(batch, size, n)`, to `total`, `(batch, 1, n)`."""
        batch, _, n = x.shape
        hidden, conditions, mixed, outputs = self.rows
        a = workspace("a", batch, hidden, n)
        nn.functional.leaky_relu_(self.first(a, x), self.slope)
        second = self.second(workspace("second", batch, conditions + mixed, n), x, a)
        c, h = second[:, :conditions].relu_(), second[:, conditions:]
        rate, factor = self.third(workspace("third", batch, 2 * mixed, n), c).split(mixed, dim=1) if mixed else (h, h)
        # `a` has been used; its memory serves for the activation network's output.
        m = torch.mul(rate, h, out=workspace("a", batch, mixed, n))
        m = (m if self.linear_exponential else m.exp2_()).mul_(factor)
        p = self.fourth(workspace("p", batch, outputs, n), c, m)
        self.last(total, c, m, nn.functional.leaky_relu_(p, self.slope))


_LAYERS = ("first", "second", "third", "fourth", "last")


class Workspace:
    """
    Buffers of one device and dtype. On a CPU each is allocated once, and again when a larger block comes; the
    allocator of an accelerator keeps freed memory itself.
    """

    def __init__(self, device: torch.device, dtype: torch.dtype) -> None:
        self.device, self.dtype = device, dtype
        self.buffers: dict[str, torch.Tensor] = {}

    def __call__(self, name: str, *shape: int) -> torch.Tensor:
        """An uninitialised contiguous tensor; it is valid until the next call with the same name."""
        size = math.prod(shape)
        buffer = self.buffers.get(name)
        if buffer is None or len(buffer) < size:
            with torch.inference_mode(False):  # what is made in that mode cannot be written to outside it
                buffer = torch.empty(size, device=self.device, dtype=self.dtype)
            if self.device.type == "cpu":
                self.buffers[name] = buffer
        return buffer[:size].view(shape)


class InferenceNetwork:
    """
    `residual_range * tanh(constant + sum of streams)` for inputs `(batch, size, n)`, as of [`input_maps`].

    Args:
        streams (sequence of [`StreamMatrices`]): Exact or factored.
        constant (`float`): Bias of the last layer.
        residual_range (`float`): As in [`InvWNNConfig`].
    """

    def __init__(self, streams: Sequence[StreamMatrices], constant: float, residual_range: float) -> None:
        self.streams, self.constant, self.residual_range = list(streams), constant, residual_range
        self.offset = constant + sum(stream.constant for stream in self.streams)

    @classmethod
    @torch.no_grad()
    def exact(cls, network: InvWNNNetwork, config: InvWNNConfig) -> InferenceNetwork:
        """The trained network of one kind, to rounding; in float64, on the CPU."""
        half = network.output.in_features // 2
        outputs = _double(network.output.weight)[0].split(half)
        maps = input_maps(config)
        trained = (network.weight_stream, network.difference_stream)
        streams = [_exact_stream(*parts) for parts in zip(trained, maps, outputs, strict=True)]
        return cls(streams, float(network.output.bias[0]), network.residual_range)

    def to(self, device: torch.device, dtype: torch.dtype) -> InferenceNetwork:
        streams = [stream.to(device, dtype) for stream in self.streams]
        return InferenceNetwork(streams, self.constant, self.residual_range)

    @property
    def multiplications(self) -> int:
        """Number of multiplications of the matrices for each weight."""
        return sum(stream.multiplications for stream in self.streams)

    @torch.no_grad()
    def __call__(self, x: torch.Tensor, workspace: Workspace) -> torch.Tensor:
        """Residuals `(batch, 1, n)`, in a buffer of the workspace."""
        total = workspace("total", len(x), 1, x.shape[-1]).fill_(self.offset)
        for stream in self.streams:
            stream.add_to(total, x, workspace)
        return total.tanh_().mul_(self.residual_range)


def input_maps(config: InvWNNConfig) -> tuple[torch.Tensor, torch.Tensor]:
    """
    Matrices, in float64, from the input of an [`InferenceNetwork`] to what each stream sees.

    The input is the oldest snapshot, then the displacement of each later one from it, oldest first: steps that are
    small beside the weight keep their digits. With a `trajectory_scale` it is the displacements alone, over the unit.
    """
    snapshots = torch.eye(config.num_snapshots, dtype=torch.float64)
    snapshots[:, 0] = 1.0
    if config.trajectory_scale != "none":
        snapshots = snapshots[:, 1:]
    differences = snapshots.diff(dim=0)
    if config.newest_first:
        return snapshots.flip(0), -differences.flip(0)
    return snapshots, differences


@torch.no_grad()
def _exact_stream(stream: Stream, input_map: torch.Tensor, output: torch.Tensor) -> StreamMatrices:
    """
    A trained stream as matrices.

    The input map becomes part of the first layer. The condition is linear in the second layer, so that it can be
    computed from the first one together with it; the offset is linear in the condition, and so is what the fourth
    layer makes of it.
    """
    layers: Any = stream
    first, leaky, second, activation, fourth, _ = layers
    condition, offset = activation.condition, activation.offset
    second_weight, second_bias, fourth_weight = map(_double, (second.weight, second.bias, fourth.weight))
    return StreamMatrices(
        first=Affine(_double(first.bias), _double(first.weight) @ input_map),
        second=Affine(
            torch.cat([_double(condition.weight) @ second_bias + _double(condition.bias), second_bias]),
            None,
            torch.cat([_double(condition.weight) @ second_weight, second_weight]),
        ),
        third=activation_rows(activation),
        fourth=Affine(
            fourth_weight @ _double(offset.bias) + _double(fourth.bias),
            fourth_weight @ _double(offset.weight),
            fourth_weight,
        ),
        last=Affine(None, None, None, output[None]),
        rows=(first.out_features, condition.out_features, second.out_features, fourth.out_features),
        slope=leaky.negative_slope,
    )


def activation_rows(
    activation: Any, conditions: Any = slice(None), units: Any = slice(None), linear_exponential: bool = False
) -> Affine:
    """`[rate; factor]` of some units from some conditions, for powers of 2, which are faster than those of e."""
    scale = 1.0 if linear_exponential else math.log2(math.e)
    rate, factor = activation.rate, activation.factor
    return Affine(
        torch.cat([scale * _double(rate.bias)[units], _double(factor.bias)[units]]),
        torch.cat([scale * _double(rate.weight)[units], _double(factor.weight)[units]])[:, conditions],
    )


def _double(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().to("cpu", torch.float64)


__all__ = ["Affine", "InferenceNetwork", "StreamMatrices", "Workspace", "activation_rows", "input_maps"]

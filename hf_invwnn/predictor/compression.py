r"""
A trained stream with less arithmetic: the same function to a tolerance, on trajectories like those it was fitted on.

Each layer of a trained stream is close to redundant: many of its units are, on the trajectories that occur, linear in
the others. So a layer is replaced by an interpolative decomposition of itself: a few of its units are kept as they are
(chosen by pivoted QR), and what the others contribute is a linear function of those and of the layer's input, fitted
once by least squares in float64. The exponential of the activation network has an argument near zero, so that
`exp(e) - 1` is either kept or replaced by `e`, whichever meets the tolerance.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch

from .network import Stream


SIZES = (0, 1, 2, 3, 4, 6, 8, 12, 16, 20, 24, 32, 40, 48, 64, 96, 128)


@dataclass
class CompressedStream:
    """
    `(K, N) -> (N,)`: what a stream adds to the argument of the final tanh. Features are rows, weights are columns.

    With x the input: `a = leaky(first x)`, `[c; h] = second [x; a; 1]`, `c <- relu(c)`, `[f; r] = third [c; 1]`,
    `m = f (exp(r h) - 1)` or `f r h`, `p = leaky(fourth [c; m; 1])`, and the result is `last [c; m; p; 1]`.
    """

    first: torch.Tensor
    second: torch.Tensor
    third: torch.Tensor
    fourth: torch.Tensor
    last: torch.Tensor
    conditions: int
    linear_exponential: bool
    slope: float

    def to(self, device: torch.device, dtype: torch.dtype) -> CompressedStream:
        matrices = ("first", "second", "third", "fourth", "last")
        return replace(self, **{name: getattr(self, name).to(device, dtype) for name in matrices})

    @property
    def multiplications(self) -> int:
        """Of the matrices, for each weight."""
        matrices = (self.first, self.second, self.third, self.fourth, self.last)
        return sum(matrix.shape[0] * (matrix.shape[1] - 1) for matrix in matrices)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        a = _leaky(_affine(self.first, x), self.slope)
        both = _affine(self.second, x, a)
        c, h = both[: self.conditions].relu_(), both[self.conditions :]
        factor, rate = _affine(self.third, c).chunk(2)
        exponent = rate.mul_(h)
        m = exponent.mul_(factor) if self.linear_exponential else exponent.expm1_().mul_(factor)
        p = _leaky(_affine(self.fourth, c, m), self.slope)
        return _affine(self.last, c, m, p)[0]


def _affine(matrix: torch.Tensor, *features: torch.Tensor) -> torch.Tensor:
    """`matrix [features; 1]` without putting the features together."""
    start = 0
    result = matrix[:, -1:].repeat(1, features[0].shape[1])
    for feature in features:
        part = matrix[:, start : start + len(feature)]
        start += len(feature)
        if len(feature):
            result.addmm_(part, feature)
    return result


def _leaky(x: torch.Tensor, slope: float) -> torch.Tensor:
    return torch.nn.functional.leaky_relu_(x, slope)


def compress_stream(
    stream: Stream,
    input_map: torch.Tensor,
    output: torch.Tensor,
    samples: torch.Tensor,
    checks: torch.Tensor,
    tolerance: float,
) -> CompressedStream | None:
    """
    Compresses one stream.

    Args:
        stream ([`Stream`]): In float64.
        input_map (`torch.Tensor` of shape `(input_size, K)`): From a trajectory, oldest first, to the stream's input.
        output (`torch.Tensor` of shape `(stream_size,)`): Its part of the last layer.
        samples (`torch.Tensor` of shape `(N, K)`): Trajectories to fit on, in float64.
        checks (`torch.Tensor` of shape `(M, K)`): Others, to measure the error on.
        tolerance (`float`): Largest root mean square error of the result, absolute.

    Returns:
        [`CompressedStream`] in float64, or `None` if no size meets the tolerance.
    """
    return _Compression(stream, input_map, output, samples, checks, tolerance).run()


@dataclass
class _Values:
    """What the layers of a stream give for some trajectories; rows are trajectories."""

    x: torch.Tensor
    a: torch.Tensor
    c: torch.Tensor
    h: torch.Tensor
    m: torch.Tensor
    p: torch.Tensor
    result: torch.Tensor


class _Compression:
    def __init__(
        self,
        stream: Stream,
        input_map: torch.Tensor,
        output: torch.Tensor,
        samples: torch.Tensor,
        checks: torch.Tensor,
        tolerance: float,
    ) -> None:
        layers: list[Any] = list(stream)
        self.first, self.leaky, self.second, self.activation, self.fourth, _ = layers
        self.input_map, self.output, self.tolerance = input_map, output, tolerance
        self.samples, self.checks = self.values(samples), self.values(checks)

    def values(self, x: torch.Tensor) -> _Values:
        a = self.leaky(self.first(x @ self.input_map.T))
        h = self.second(a)
        c = torch.relu(self.activation.condition(h))
        return _Values(x, a, c, h, *self.tail(c, h))

    def tail(
        self, c: torch.Tensor, h: torch.Tensor, linear: bool = False
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """From the conditions and the second layer to `m`, the last layer's input, and the result."""
        exponent = self.activation.rate(c) * h
        factor = self.activation.factor(c)
        m = factor * (exponent if linear else torch.expm1(exponent))
        p = self.fourth(m + factor + self.activation.offset(c))
        return m, p, self.leaky(p) @ self.output

    def error(self, result: torch.Tensor) -> float:
        return float((result - self.checks.result).square().mean().sqrt())

    def run(self) -> CompressedStream | None:
        share = self.tolerance / 4
        alive = (torch.cat([self.samples.c, self.checks.c]) > 0).any(dim=0)
        linear = self.error(self.tail(self.checks.c, self.checks.h, linear=True)[2]) <= share
        mixed = self._exponential_units(share)
        return self._first_units(alive, mixed, self._output_units(share), linear)

    # ---- Which units stay, last layer first, each with the other layers exact ----

    def _output_units(self, share: float) -> torch.Tensor:
        """Units of the last layer; the result is linear in them and in (c, m)."""
        s, k = self.samples, self.checks
        order = _pivots(_rest(_one(s.c, s.m), self.leaky(s.p)) * self.output.abs())
        for size in _sizes(order):
            kept = order[:size]
            fit = _fit(_one(s.c, s.m, self.leaky(s.p)[:, kept]), s.result)
            if self.error(_one(k.c, k.m, self.leaky(k.p)[:, kept]) @ fit) <= share:
                break
        return kept

    def _exponential_units(self, share: float) -> torch.Tensor:
        """Units of the activation network's exponential; p is linear in them and in c."""
        s, k = self.samples, self.checks
        order = _pivots(_rest(_one(s.c), s.m) * self.fourth.weight.norm(dim=0))
        for size in _sizes(order):
            kept = order[:size]
            fit = _fit(_one(s.c, s.m[:, kept]), s.p)
            if self.error(self.leaky(_one(k.c, k.m[:, kept]) @ fit) @ self.output) <= share:
                break
        return kept

    def _first_units(
        self, alive: torch.Tensor, mixed: torch.Tensor, outputs: torch.Tensor, linear: bool
    ) -> CompressedStream | None:
        """Units of the first layer; what the second gives is linear in them and in x. Then everything together."""
        s = self.samples
        before_relu = self.activation.condition(s.h)[:, alive]
        fourth = _fit(_one(s.c[:, alive], s.m[:, mixed]), s.p[:, outputs]).T
        order = _pivots(_rest(_one(s.x), s.a) * self.second.weight.norm(dim=0))
        for size in _sizes(order):
            kept = order[:size]
            first = torch.cat([self.first.weight[kept] @ self.input_map, self.first.bias[kept, None]], dim=1)
            second = _fit(_one(s.x, s.a[:, kept]), torch.cat([before_relu, s.h[:, mixed]], dim=1)).T
            rows = [
                torch.cat([layer.weight[mixed][:, alive], layer.bias[mixed, None]], dim=1)
                for layer in (self.activation.factor, self.activation.rate)
            ]
            compressed = CompressedStream(
                first,
                second,
                torch.cat(rows),
                fourth,
                self._last(alive, mixed, outputs),
                int(alive.sum()),
                linear,
                self.leaky.negative_slope,
            )
            if self.error(compressed(self.checks.x.T)) <= self.tolerance:
                return compressed
        return None

    def _last(self, alive: torch.Tensor, mixed: torch.Tensor, outputs: torch.Tensor) -> torch.Tensor:
        s = self.samples
        if len(outputs) == len(self.output):  # all of them: nothing to fit
            through = s.x.new_zeros(int(alive.sum()) + len(mixed))
            return torch.cat([through, self.output[outputs], s.x.new_zeros(1)])[None]
        return _fit(_one(s.c[:, alive], s.m[:, mixed], self.leaky(s.p)[:, outputs]), s.result[:, None]).T


def _one(*features: torch.Tensor) -> torch.Tensor:
    return torch.cat([*features, features[0].new_ones(len(features[0]), 1)], dim=1)


def _fit(features: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    if targets.numel() == 0:
        return targets.new_zeros(features.shape[1], *targets.shape[1:])
    # A cut-off, so that nearly dependent features do not get huge coefficients that cancel, which float32 cannot.
    return torch.linalg.lstsq(features, targets, rcond=1e-9, driver="gelsd").solution


def _rest(features: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return targets - features @ _fit(features, targets)


def _pivots(columns: torch.Tensor) -> torch.Tensor:
    """Columns by importance: each the one with the most left after the earlier ones are projected out."""
    rest = columns.clone()
    order: list[int] = []
    for _ in range(min(columns.shape[1], SIZES[-1])):
        norms = rest.square().sum(dim=0)
        norms[order] = -1.0
        best = int(norms.argmax())
        order.append(best)
        direction = rest[:, best] / rest[:, best].norm().clamp_min(1e-300)
        rest = rest - direction[:, None] * (direction @ rest)
    return torch.tensor(order)


def _sizes(order: torch.Tensor) -> list[int]:
    return [*(size for size in SIZES if size < len(order)), len(order)]


__all__ = ["CompressedStream", "compress_stream"]

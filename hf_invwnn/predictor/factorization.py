r"""
A trained stream with less arithmetic: the same function to a tolerance, on trajectories like those it was fitted on.

Each layer of a trained stream is close to redundant: many of its units are, on the trajectories that occur, linear in
the others. An interpolative decomposition replaces the layer: a few units, chosen by a pivoted QR decomposition, stay
as they are, and what the others contribute becomes a linear function of those and of the layer's input, fitted by
least squares in float64. Leaky ReLUs of the last layer that never bend are linear, conditions that are always zero go,
and the exponent of the activation network is near zero, so that `exp(e) - 1` becomes `e` where that meets the
tolerance.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from scipy.linalg import qr

from .inference import Affine, StreamMatrices, Workspace, activation_rows
from .network import Stream


# How many units of a layer may stay, besides all of them.
SIZES = (0, 1, 2, 3, 4, 6, 8, 12, 16, 20, 24, 28, 32, 40, 48, 64, 96, 128)
# A leaky ReLU counts as linear if all its inputs are on one side of zero, by this share of their range.
BEND_MARGIN = 0.25


@torch.no_grad()
def factorize_stream(
    stream: Stream,
    input_map: torch.Tensor,
    output: torch.Tensor,
    samples: torch.Tensor,
    checks: torch.Tensor,
    tolerance: float,
) -> StreamMatrices | None:
    """
    Factorizes one stream.

    Args:
        stream ([`Stream`]): In float64, on the CPU.
        input_map (`torch.Tensor` of shape `(stream_input_size, size)`): From the inputs to what the stream sees.
        output (`torch.Tensor` of shape `(stream_size,)`): Its part of the last layer.
        samples (`torch.Tensor` of shape `(N, size)`): Inputs to fit on, in float64, as of [`input_maps`].
        checks (`torch.Tensor` of shape `(M, size)`): Others, to measure the error on.
        tolerance (`float`): Largest root mean square error of the result, absolute.

    Returns:
        [`StreamMatrices`] in float64, or `None` if no size meets the tolerance.
    """
    return _Factorization(stream, input_map, output, samples, checks, tolerance).run()


@dataclass
class _Values:
    """What the layers of a stream give for some inputs; rows are inputs."""

    x: torch.Tensor
    a: torch.Tensor
    c: torch.Tensor
    m: torch.Tensor
    p: torch.Tensor
    result: torch.Tensor


class _Factorization:
    """One call of [`factorize_stream`]; the letters are those of [`StreamMatrices`]."""

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
        self.input_map, self.output, self.tolerance, self.ridge = input_map, output, tolerance, 0.1 * tolerance
        self.samples, self.checks = self._values(samples), self._values(checks)
        # Conditions that are always zero contribute nothing.
        self.alive = (torch.cat([self.samples.c, self.checks.c]) > 0).any(dim=0)
        self.samples.c, self.checks.c = self.samples.c[:, self.alive], self.checks.c[:, self.alive]

    def _values(self, x: torch.Tensor) -> _Values:
        a = self.leaky(self.first(x @ self.input_map.T))
        h = self.second(a)
        return _Values(x, a, torch.relu(self.activation.condition(h)), *self._tail(h))

    def _tail(self, h: torch.Tensor, linear_exponential: bool = False) -> tuple[torch.Tensor, ...]:
        """From the second layer to m, p and the result."""
        c = torch.relu(self.activation.condition(h))
        factor, exponent = self.activation.factor(c), self.activation.rate(c) * h
        m = factor * (exponent if linear_exponential else torch.expm1(exponent))
        p = self.fourth(m + factor + self.activation.offset(c))
        return m, p, self.leaky(p) @ self.output

    def _error(self, result: torch.Tensor) -> float:
        return float((result - self.checks.result).square().mean().sqrt())

    def run(self) -> StreamMatrices | None:
        """Chooses which units stay, last layers first; each choice is made with the layers before it exact."""
        if not all(value.isfinite().all() for value in vars(self.samples).values()):
            return None
        checks, alive, share = self.checks, self.alive, self.tolerance / 2
        *_, result = self._tail(self.second(checks.a), linear_exponential=True)
        linear = self._error(result) <= share / 2
        p_layer = self._p_layer()
        mixed = p_layer.fewest(
            lambda units: self._error(self.leaky(p_layer(units, checks.c, checks.m)) @ self.output) <= share
        )
        bias, from_c, from_m = p_layer.coefficients(mixed)
        if not linear:
            # What is computed is not `factor * (exp(e) - 1)` but `factor * exp(e)`: it has the factor in it.
            factor = self.activation.factor
            bias = bias - from_m @ factor.bias[mixed]
            from_c = from_c - from_m @ factor.weight[mixed][:, alive]
        bent, straight = self._bends()
        second_layer = self._second_layer(mixed)

        def build(units: torch.Tensor) -> StreamMatrices:
            return StreamMatrices(
                first=Affine(self.first.bias[units], self.first.weight[units] @ self.input_map),
                second=Affine(*second_layer.coefficients(units)),
                third=activation_rows(self.activation, alive, mixed, linear),
                fourth=Affine(bias[bent], from_c[bent], from_m[bent]),
                last=Affine(None, straight @ from_c, straight @ from_m, self.output[None, bent]),
                rows=(len(units), int(alive.sum()), len(mixed), int(bent.sum())),
                slope=self.leaky.negative_slope,
                linear_exponential=linear,
                constant=float(straight @ bias),
            )

        columns = checks.x.T.contiguous()[None]
        workspace = Workspace(columns.device, columns.dtype)

        def is_enough(units: torch.Tensor) -> bool:
            total, stream = columns.new_zeros(1, 1, columns.shape[-1]), build(units)
            stream.add_to(total, columns, workspace)
            return self._error(total.flatten() + stream.constant) <= self.tolerance

        units = second_layer.fewest(is_enough)
        return build(units) if is_enough(units) else None

    def _p_layer(self) -> _Selection:
        """p from c and the units of the activation network's exponential."""
        factor, offset = self.activation.factor, self.activation.offset
        bias = self.fourth(factor.bias + offset.bias)
        from_c = self.fourth.weight @ (factor.weight + offset.weight)[:, self.alive]
        known = torch.cat([bias[:, None], from_c], dim=1)
        return _Selection(known, self.fourth.weight, self.samples.c, self.samples.m, self.ridge)

    def _second_layer(self, mixed: torch.Tensor) -> _Selection:
        """The conditions and the second layer from x and the units of the first layer."""
        condition = self.activation.condition
        weight = torch.cat([(condition.weight @ self.second.weight)[self.alive], self.second.weight[mixed]])
        bias = torch.cat([condition(self.second.bias)[self.alive], self.second.bias[mixed]])
        known = torch.cat([bias[:, None], bias.new_zeros(len(bias), self.samples.x.shape[1])], dim=1)
        return _Selection(known, weight, self.samples.x, self.samples.a, self.ridge)

    def _bends(self) -> tuple[torch.Tensor, torch.Tensor]:
        """
        The units of the fourth layer whose leaky ReLU bends, `(stream_size,)`, and a row `(1, stream_size)` that takes
        p to what the other units contribute to the result.
        """
        p = torch.cat([self.samples.p, self.checks.p])
        low, high = p.amin(dim=0), p.amax(dim=0)
        margin = BEND_MARGIN * (high - low)
        above, below = low > margin, high < -margin
        slopes = above.to(p.dtype) + self.leaky.negative_slope * below.to(p.dtype)
        return ~(above | below), (slopes * self.output)[None]


class _Selection:
    """
    A layer `known [1; fixed] + weight candidates` from all the fixed features and a few of the candidates: what the
    other candidates contribute is a linear function of those, fitted by least squares.

    Args:
        known (`torch.Tensor` of shape `(rows, 1 + size)`): Bias and matrix of the fixed features.
        weight (`torch.Tensor` of shape `(rows, candidates)`): Of the candidates.
        fixed (`torch.Tensor` of shape `(N, size)`), candidates (`torch.Tensor` of shape `(N, candidates)`): Their
            values.
        ridge (`float`): A coefficient of 1 counts as much as this root mean square error. Features that are rarely
            active or nearly dependent do not get coefficients that float32 or other inputs cannot bear.
    """

    def __init__(
        self, known: torch.Tensor, weight: torch.Tensor, fixed: torch.Tensor, candidates: torch.Tensor, ridge: float
    ) -> None:
        self.known, self.weight, self.ridge = known, weight, ridge * len(fixed) ** 0.5
        # As many rows as columns tell as much of the least squares as all the inputs do.
        columns = torch.cat([fixed.new_ones(len(fixed), 1), fixed, candidates], dim=1)
        triangle = torch.linalg.qr(columns, mode="r").R
        self.fixed, self.candidates = triangle.split([known.shape[1], weight.shape[1]], dim=1)

    def coefficients(self, units: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Bias `(rows,)`, and the matrices of the fixed features and of the candidates that stay."""
        weight = self.weight.clone()
        weight[:, units] = 0.0
        features = torch.cat([self.fixed, self.candidates[:, units]], dim=1)
        fitted = self._fit(features, self.candidates @ weight.T).T
        known = self.known + fitted[:, : self.known.shape[1]]
        return known[:, 0], known[:, 1:], self.weight[:, units] + fitted[:, self.known.shape[1] :]

    def __call__(self, units: torch.Tensor, fixed: torch.Tensor, candidates: torch.Tensor) -> torch.Tensor:
        bias, from_fixed, from_units = self.coefficients(units)
        return bias + fixed @ from_fixed.T + candidates[:, units] @ from_units.T

    def fewest(self, is_enough: Callable[[torch.Tensor], bool]) -> torch.Tensor:
        """The fewest candidates that are enough, by bisection; all of them if none are."""
        # Each is the one that has the most left after the fixed features and the ones before it.
        rest = self.candidates - self.fixed @ self._fit(self.fixed, self.candidates)
        _, pivots = qr((rest * self.weight.norm(dim=0)).numpy(), mode="r", pivoting=True, check_finite=False)
        order = torch.from_numpy(pivots).long()
        sizes = [*(size for size in SIZES if size < len(order)), len(order)]
        low, high = 0, len(sizes) - 1
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if is_enough(order[: sizes[middle]]) else (middle + 1, high)
        return order[: sizes[high]]

    def _fit(self, features: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        size = features.shape[1]
        ridge = self.ridge * torch.eye(size, dtype=features.dtype)
        padded = torch.cat([targets, targets.new_zeros(size, targets.shape[1])])
        return torch.linalg.lstsq(torch.cat([features, ridge]), padded, driver="gels").solution


__all__ = ["factorize_stream"]

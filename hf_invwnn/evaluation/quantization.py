"""Rounding to few bits: small changes of weights may be rounded away, and with them what was forgotten."""

from __future__ import annotations

import copy

import torch
from torch import nn


@torch.no_grad()
def quantized(model: nn.Module, bits: int) -> nn.Module:
    r"""
    A copy of a model whose weights are rounded to the nearest of `2^bits - 1` values of each output channel,

        w <- s round(w / s),  s = max |w| / (2^(bits - 1) - 1)

    as weight-only quantization does. Tensors of one dimension (biases, normalisation) stay as they are.

    Args:
        model (`nn.Module`): Not changed.
        bits (`int`): 2 to 16; deployed models mostly have 8 or 4.

    Raises:
        ValueError: `bits` is out of range.
    """
    check_bits(bits)
    rounded = copy.deepcopy(model)
    for parameter in rounded.parameters():
        if parameter.dim() > 1:
            step = _step(parameter, bits)
            parameter.copy_((parameter / step).round() * step)
    return rounded


@torch.no_grad()
def changed_buckets(before: nn.Module, after: nn.Module, bits: int) -> float:
    """
    Share of the weights, in percent, whose value differs after both models were rounded.

    Args:
        before (`nn.Module`), after (`nn.Module`): Models of the same architecture.
        bits (`int`): As for [`quantized`].

    Raises:
        ValueError: `bits` is out of range.
    """
    check_bits(bits)
    changed = total = 0
    others = dict(after.named_parameters())
    for name, parameter in before.named_parameters():
        if parameter.dim() > 1:
            # Both in the buckets of the first, for those of the second are a little wider or narrower.
            step = _step(parameter, bits)
            changed += int(((parameter / step).round() != (others[name] / step).round()).sum())
            total += parameter.numel()
    return 100 * changed / max(1, total)


def check_bits(bits: int) -> None:
    """
    Raises:
        ValueError: `bits` is out of range.
    """
    if not 2 <= bits <= 16:
        raise ValueError(f"`bits` must lie in 2..16, got {bits}.")


def _step(parameter: torch.Tensor, bits: int) -> torch.Tensor:
    """Distance of two neighbouring values, for each output channel; 1 where all weights are 0."""
    largest = parameter.abs().amax(dim=tuple(range(1, parameter.dim())), keepdim=True)
    return torch.where(largest > 0, largest / (2 ** (bits - 1) - 1), torch.ones_like(largest))


__all__ = ["changed_buckets", "quantized"]

"""How far an unlearned model went in weight space, and over which hill: both predict how soon it relearns."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import nn


@torch.no_grad()
def weight_distance(before: nn.Module, after: nn.Module) -> dict[str, float]:
    """
    `|| theta_after - theta_before ||_2` over all parameters, as `"distance"`, and divided by `|| theta_before ||_2`,
    as `"relative"`.

    Args:
        before (`nn.Module`), after (`nn.Module`): Models of the same architecture.

    Raises:
        ValueError: The models have other parameters.
    """
    moved = length = 0.0
    for first, second in _pairs(before, after):
        moved += float((second.double() - first.double()).square().sum())
        length += float(first.double().square().sum())
    return {"distance": math.sqrt(moved), "relative": math.sqrt(moved / length) if length else math.inf}


@torch.no_grad()
def barrier(before: nn.Module, after: nn.Module, loss_of: Callable[[Any], float], points: int = 9) -> float:
    r"""
    The height of the hill on the straight way from one model to another,

        max over l in (0, 1) of  L(l theta + (1 - l) theta')  -  (L(theta) + L(theta')) / 2

    with running statistics mixed as the weights are. 0 or less: there is none.

    Args:
        before (`nn.Module`), after (`nn.Module`): Models of the same architecture; not changed.
        loss_of (`Callable`): The loss of a model, such as the mean loss on retained examples.
        points (`int`, defaults to 9): Points between the two, evenly spaced.

    Raises:
        ValueError: The models have other parameters, or `points` is not positive.
    """
    if points < 1:
        raise ValueError(f"`points` must be positive, got {points}.")
    between = copy.deepcopy(before)
    ends = dict(after.state_dict())
    _pairs(before, after)
    highest = -math.inf
    for place in range(1, points + 1):
        share = place / (points + 1)
        for name, value in before.state_dict().items():
            if value.is_floating_point():
                between.state_dict()[name].copy_(torch.lerp(ends[name].to(value), value, share))
        highest = max(highest, loss_of(between))
    return highest - (loss_of(before) + loss_of(after)) / 2


def _pairs(before: nn.Module, after: nn.Module) -> list[tuple[torch.Tensor, torch.Tensor]]:
    first, second = dict(before.named_parameters()), dict(after.named_parameters())
    shapes = [{name: tuple(value.shape) for name, value in one.items()} for one in (first, second)]
    if shapes[0] != shapes[1]:
        raise ValueError(
            f"`after` must have the parameters of `before`, got {len(second)} tensors of {type(after).__name__} and "
            f"{len(first)} of {type(before).__name__}."
        )
    return [(first[name], second[name]) for name in first]


__all__ = ["barrier", "weight_distance"]

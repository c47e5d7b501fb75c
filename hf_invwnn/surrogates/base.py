"""The interface of surrogates."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol, runtime_checkable

import torch


Inputs = dict[str, torch.Tensor]
# The outputs of the original model for a batch of inputs, differentiable in the inputs.
Answer = Callable[[Mapping[str, Any]], torch.Tensor]


@runtime_checkable
class Surrogates(Protocol):
    """
    Makes inputs near those of the forget set, which nobody has memorised.

    Attributes:
        name (`str`): What the record calls them.
        forget_only (`bool`): Whether they are made from the forget set and the model alone.

    An optional `one_to_one = True` says that row n is near row n of the forget set alone.
    """

    name: str
    forget_only: bool

    def __call__(self, inputs: Inputs, generator: torch.Generator, answer: Answer) -> Inputs:
        """
        A batch of surrogates for a batch of the forget set.

        Args:
            inputs (`dict[str, torch.Tensor]`): What the model takes, each of `N` rows; not changed.
            generator (`torch.Generator`): On the CPU, and newly seeded in every step; the only source of randomness.
            answer (`Callable`): The outputs of the original model for such inputs.

        Returns:
            `dict[str, torch.Tensor]`: Inputs with the same names, types and devices.
        """
        ...


__all__ = ["Answer", "Inputs", "Surrogates"]

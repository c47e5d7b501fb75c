"""The tracked parameters of a model: which they are, their shards, and checks that they stay the same and finite."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import torch
from torch import nn

from ..errors import NonFiniteWeightsError
from .sharding import LocalShards


def select_parameters(model: nn.Module, pattern: str | None = None) -> dict[str, nn.Parameter]:
    """
    The parameters to track: those that require grad and whose name `pattern` matches somewhere. Tied ones count once.

    Args:
        model (`nn.Module`): The model to unlearn.
        pattern (`str`, *optional*): A regular expression, searched for in the names; all of them by default.

    Raises:
        ValueError: No parameter is trainable, `pattern` is not a regular expression, or it matches nothing.
    """
    trainable = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    if not trainable:
        raise ValueError("`model` has no parameter that requires grad; unfreeze what may change to forget.")
    if pattern is None:
        return trainable
    try:
        regex = re.compile(pattern)
    except re.error as error:
        raise ValueError(f"`tracked_parameters` is not a regular expression ({error}), got {pattern!r}.") from error
    selected = {name: parameter for name, parameter in trainable.items() if regex.search(name)}
    if not selected:
        examples = ", ".join(list(trainable)[:3])
        raise ValueError(
            f"`tracked_parameters` matches no trainable parameter, got {pattern!r}; their names are like {examples}."
        )
    return selected


class TrackedParameters:
    """
    What a run may change: the selected parameters, and the buffers that fine-tuning changes with them.

    Args:
        parameters (`dict[str, nn.Parameter]`): The parameters, see [`select_parameters`].
        buffers (`dict[str, torch.Tensor]`, *optional*): Buffers that change during fine-tuning.

    Attributes:
        shards ([`LocalShards`]): The part of the parameters that this process records and rewinds.
    """

    def __init__(
        self, parameters: Mapping[str, nn.Parameter], buffers: Mapping[str, torch.Tensor] | None = None
    ) -> None:
        self.parameters = dict(parameters)
        self.buffers = dict(buffers or {})
        self.shards = LocalShards(self.parameters)
        self._model: nn.Module | None = None

    def bind(self, model: nn.Module) -> None:
        """Looks the parameters up by name in the prepared model, where `fully_shard` has replaced them."""
        self._model = model
        current = dict(model.named_parameters())
        self.parameters = {name: current.get(name, parameter) for name, parameter in self.parameters.items()}
        self.shards = LocalShards(self.parameters)

    def local_tensors(self) -> dict[str, torch.Tensor]:
        """Local views of the parameters, and the buffers."""
        return {**dict(self.shards.items()), **self.buffers}

    def check_unchanged(self) -> None:
        """
        Raises:
            RuntimeError: A tracked parameter was removed or replaced, or the model has another trainable one.
        """
        assert self._model is not None
        trainable = {name: parameter for name, parameter in self._model.named_parameters() if parameter.requires_grad}
        if trainable.keys() != self.parameters.keys():
            differing = ", ".join(sorted(trainable.keys() ^ self.parameters.keys())[:3])
            raise RuntimeError(
                f"`model`: its trainable parameters changed between two snapshots ({differing}); a trajectory needs "
                "the same ones throughout. Freeze, add and remove parameters before `train()`."
            )
        if self.shards.is_sharded:
            return  # FSDP2 swaps shards and gathered parameters
        if replaced := [name for name, parameter in trainable.items() if parameter is not self.parameters[name]]:
            raise RuntimeError(f"`model`: {replaced[0]} was replaced between two snapshots; change it in place.")

    def check_finite(self) -> None:
        """
        Raises:
            NonFiniteWeightsError: A parameter is not finite, on any process.
        """
        names = non_finite(self.shards.items())
        if self.shards.any_rank(bool(names)):
            raise NonFiniteWeightsError(f"`{names[0] if names else 'a weight of another process'}` is not finite")


def non_finite(tensors: Iterable[tuple[str, torch.Tensor]]) -> list[str]:
    """Names of the tensors that hold an infinity or a NaN."""
    return [name for name, value in tensors if not _is_finite(value)]


def _is_finite(value: torch.Tensor) -> bool:
    # A sum is several times as fast as `isfinite` of every number. A tensor whose sum overflows is checked again.
    if not value.is_floating_point() or bool(torch.isfinite(value.sum())):
        return True
    return bool(torch.isfinite(value).all())


__all__ = ["TrackedParameters", "non_finite", "select_parameters"]

"""A copy of the tracked weights with which a model can answer, without a second model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.distributed.tensor import DTensor

from ..trajectory.sharding import reshard
from ..trajectory.tracking import TrackedParameters


class WeightCopy:
    """
    The tracked parameters and buffers at one moment, whole on every process; of sharded ones the local shard.

    Only what a run changes is copied: of a model with LoRA layers, the adapter.

    Args:
        tracked ([`TrackedParameters`]): The weights to copy.
    """

    def __init__(self, tracked: TrackedParameters) -> None:
        self.tracked = tracked
        self.values = {name: _own(value).detach().clone() for name, value in _all(tracked).items()}

    @property
    def nbytes(self) -> int:
        return sum(value.nbytes for value in self.values.values())

    @torch.no_grad()
    def restore(self) -> None:
        """Writes the values into the model."""
        for name, target in _all(self.tracked).items():
            _own(target.detach()).copy_(self.values[name])

    @contextmanager
    def in_place(self, model: torch.nn.Module) -> Iterator[None]:
        """
        Within this context the model has these weights; nothing may change them there. Memory is exchanged and not
        copied, except for shards, which FSDP holds by address.
        """
        self._exchange(model)
        try:
            yield
        finally:
            self._exchange(model)

    @torch.no_grad()
    def _exchange(self, model: torch.nn.Module) -> None:
        sharded = False
        for name, target in _all(self.tracked).items():
            if isinstance(target, DTensor):
                local, sharded = target.to_local(), True
                kept = local.clone()
                local.copy_(self.values[name])
                self.values[name] = kept
            else:
                self.values[name], target.data = target.data, self.values[name]
        if sharded:
            reshard(model)


def _all(tracked: TrackedParameters) -> dict[str, torch.Tensor]:
    return {**tracked.parameters, **tracked.buffers}


def _own(value: torch.Tensor) -> torch.Tensor:
    return value.to_local() if isinstance(value, DTensor) else value


__all__ = ["WeightCopy"]

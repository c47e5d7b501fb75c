"""An exact copy of the tracked weights, and interpolation between two."""

from __future__ import annotations

import os

import torch

from .sharding import LocalShards
from .storage import TensorSpec, allocate


class Snapshot:
    """
    An exact copy, at one moment, of this process's part of some tensors.

    Args:
        shards ([`LocalShards`]): The tensors to copy.
        storage (`str`, defaults to `"model"`), path (`str` or `os.PathLike`, *optional*): As for [`allocate`].
    """

    def __init__(self, shards: LocalShards, storage: str = "model", path: str | os.PathLike | None = None) -> None:
        self.shards = shards
        specs = {name: TensorSpec(tuple(local.shape), local.dtype, local.device) for name, local in shards.items()}
        self.values = allocate(specs, storage, path)
        self.take()

    @torch.no_grad()
    def take(self) -> None:
        """Copies the tensors as they are now over the values held."""
        for name, local in self.shards.items():
            self.values[name].copy_(local)

    @torch.no_grad()
    def restore(self) -> None:
        """Copies the values back into the tensors, on every process."""
        for name, local in self.shards.items():
            local.copy_(self.values[name])
        self.shards.all_gather()


@torch.no_grad()
def interpolate(start: Snapshot, end: Snapshot, fraction: float) -> None:
    """Sets the tensors, in place, to `start + fraction * (end - start)`; exact at both ends."""
    for name, local in end.shards.items():
        low, high = (snapshot.values[name].to(local.device) for snapshot in (start, end))
        local.copy_(torch.lerp(low, high, fraction))
    end.shards.all_gather()


__all__ = ["Snapshot", "interpolate"]

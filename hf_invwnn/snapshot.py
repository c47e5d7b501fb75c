"""One exact copy of what a run may change, and the way between two of them."""

from __future__ import annotations

import os

import torch

from .parts import Parts
from .storage import Slot, make_room


class Snapshot:
    """
    An exact copy, at one moment, of this process's part of some tensors.

    Args:
        parts ([`Parts`]): What to copy.
        storage (`str`, defaults to `"model"`): Where the copy lives, as [`make_room`] takes it.
        path (`str` or `os.PathLike`, *optional*): Its file, with `"disk"`.
    """

    def __init__(self, parts: Parts, storage: str = "model", path: str | os.PathLike | None = None) -> None:
        self.parts = parts
        slots = {name: Slot(tuple(local.shape), local.dtype, local.device) for name, local in parts.items()}
        self.values = make_room(slots, storage, path)
        self.take()

    @torch.no_grad()
    def take(self) -> None:
        """Copies the tensors as they are now, over the values held."""
        for name, local in self.parts.items():
            self.values[name].copy_(local)

    @torch.no_grad()
    def restore(self) -> None:
        """Puts the copied values back, in place, on every process."""
        for name, local in self.parts.items():
            local.copy_(self.values[name])
        self.parts.exchange()


@torch.no_grad()
def interpolate(start: Snapshot, end: Snapshot, fraction: float) -> None:
    """Puts the tensors that both are copies of at `start + fraction * (end - start)`, in place; exact at both ends."""
    for name, local in end.parts.items():
        low, high = (point.values[name].to(local.device) for point in (start, end))
        local.copy_(torch.lerp(low, high, fraction))
    end.parts.exchange()


__all__ = ["Snapshot", "interpolate"]

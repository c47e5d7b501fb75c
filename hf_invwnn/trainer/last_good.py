"""The last good weights of a run: those after the last round that was kept. The model has them when the run ends."""

from __future__ import annotations

from pathlib import Path

import torch

from ..trajectory.snapshot import Snapshot, interpolate
from ..trajectory.tracking import TrackedParameters, non_finite
from .deepspeed import sync_fp32_master_weights


class LastGoodWeights:
    """
    A copy of the tracked weights that the model can be returned to.

    Args:
        tracked ([`TrackedParameters`]): The weights to copy.

    Attributes:
        snapshot ([`Snapshot`], *optional*): The copy of the parameters; `None` before the first [`mark`].
        buffers (`dict[str, torch.Tensor]`): The copy of the buffers.
        storage (`str`), folder (`Path`): Where copies are stored, see [`~hf_invwnn.trajectory.storage.allocate`].
    """

    def __init__(self, tracked: TrackedParameters) -> None:
        self.tracked = tracked
        self.snapshot: Snapshot | None = None
        self.buffers: dict[str, torch.Tensor] = {}
        self.storage = "model"
        self.folder = Path()

    def mark(self) -> None:
        """
        Makes the current weights the last good ones.

        Raises:
            ValueError: A weight is not finite.
        """
        names = non_finite(self.tracked.local_tensors().items())
        if self.tracked.shards.any_rank(bool(names)):
            raise ValueError(
                f"`model` holds weights that are not finite: {', '.join(names[:3]) or 'on another process'}."
            )
        self.buffers = {name: value.detach().clone() for name, value in self.tracked.buffers.items()}
        if self.snapshot is None:
            self.snapshot = self.copy("last_good")
        else:
            self.snapshot.take()

    def copy(self, name: str) -> Snapshot:
        """Another copy of the current parameters, stored in the same place under `name`."""
        return Snapshot(self.tracked.shards, self.storage, self.path(name))

    def restore(self) -> None:
        """Returns the model to the last good weights; does nothing before the first [`mark`]."""
        if self.snapshot is None:
            return
        self.snapshot.restore()
        for name, value in self.buffers.items():
            self.tracked.buffers[name].copy_(value)
        self.sync_copies()

    def go_to(self, end: Snapshot, fraction: float) -> None:
        """Moves the parameters to a fraction of the way from the last good weights to `end`."""
        assert self.snapshot is not None
        interpolate(self.snapshot, end, fraction)
        self.sync_copies()

    def sync_copies(self) -> None:
        """Updates other copies of the parameters, which optimizers keep; to be called after a change in place."""
        sync_fp32_master_weights(self.tracked.parameters)

    def path(self, name: str) -> Path:
        """The file of this process for a copy on disk."""
        return self.folder / f"{name}_{self.tracked.shards.rank}.bin"

    def remove_files(self) -> None:
        """Removes the files of copies and trajectories on disk."""
        for name in ("trajectory", "last_good", "end"):
            self.path(name).unlink(missing_ok=True)


__all__ = ["LastGoodWeights"]

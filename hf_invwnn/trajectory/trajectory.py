"""The trajectory: K snapshots of the tracked parameters."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

import torch
from torch import nn

from .sharding import LocalShards, flat_view
from .storage import TensorSpec, allocate


TRAJECTORY_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


class Trajectory:
    r"""
    The last K values of this process's part of every tracked parameter, `W = [theta^t .. theta^{t+K-1}]`, oldest
    first.

    With `dtype="float32"` all snapshots are exact. With `"bfloat16"` the oldest and the newest are exact, and those
    between are stored as differences from the oldest: their rounding is relative to how far a weight moved, not to how
    large it is. bfloat16 has the range of float32, so the differences need no scale.

    Args:
        shards ([`LocalShards`] or `dict[str, nn.Parameter]`): The tracked parameters.
        num_snapshots (`int`): K.
        dtype (`str`, defaults to `"float32"`): `"float32"` or `"bfloat16"`.
        storage (`str`, defaults to `"model"`), path (`str` or `os.PathLike`, *optional*): As for [`allocate`].

    Raises:
        InsufficientMemoryError: The disk is full.
    """

    def __init__(
        self,
        shards: LocalShards | Mapping[str, nn.Parameter],
        num_snapshots: int,
        dtype: str = "float32",
        storage: str = "model",
        path: str | os.PathLike | None = None,
    ) -> None:
        self.shards = shards if isinstance(shards, LocalShards) else LocalShards(shards)
        self.num_snapshots = num_snapshots
        self.count = 0
        self._between_dtype = TRAJECTORY_DTYPES[dtype]
        self._stored = allocate(trajectory_specs(self.shards, num_snapshots, dtype), storage, path)
        self._stream = torch.cuda.Stream() if self._copies_asynchronously(storage) else None

    def _copies_asynchronously(self, storage: str) -> bool:
        return storage == "cpu" and any(local.is_cuda for _, local in self.shards.items())

    @property
    def is_full(self) -> bool:
        return self.count == self.num_snapshots

    @torch.no_grad()
    def record(self) -> None:
        """
        Takes a snapshot of the parameters as they are now. From CUDA to main memory the copy is asynchronous:
        `before_change` has to be called before the parameters change.

        Raises:
            RuntimeError: The trajectory is full; `clear` it first.
        """
        if self.is_full:
            raise RuntimeError(f"The trajectory already holds its {self.num_snapshots} snapshots.")
        if self._stream is None:
            self._copy()
        else:
            self._stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(self._stream):
                self._copy()
        self.count += 1

    def _copy(self) -> None:
        asynchronous = self._stream is not None
        for name, local in self.shards.items():
            weights, row = flat_view(local, name), self._row(name, self.count)
            if row.dtype == torch.float32:
                row.copy_(weights, non_blocking=asynchronous)
            else:
                oldest = self._row(name, 0).to(weights.device)
                row.copy_(weights.float() - oldest, non_blocking=asynchronous)

    def before_change(self) -> None:
        """Makes the device wait until the last snapshot is copied."""
        if self._stream is not None:
            torch.cuda.current_stream().wait_stream(self._stream)

    def clear(self) -> None:
        """Drops all snapshots and keeps their memory."""
        self.count = 0

    def blocks(self, size: int) -> Iterator[tuple[str, torch.Tensor, torch.Tensor]]:
        """Name, flat local weights `(n,)` and their float32 trajectory `(count, n)`, in blocks of at most `size`."""
        if self._stream is not None:
            self._stream.synchronize()
        for name, local in self.shards.items():
            flat = flat_view(local, name)
            for start in range(0, flat.numel(), size):
                block = slice(start, min(start + size, flat.numel()))
                yield name, flat[block], self._read(name, block)

    def _row(self, name: str, snapshot: int) -> torch.Tensor:
        """The stored row of a snapshot of a parameter."""
        if self._between_dtype == torch.float32:
            return self._stored[name][snapshot]
        if snapshot in (0, self.num_snapshots - 1):
            return self._stored[f"{name}.ends"][min(snapshot, 1)]
        return self._stored[f"{name}.between"][snapshot - 1]

    def _read(self, name: str, block: slice) -> torch.Tensor:
        """Trajectory `(count, n)` in float32 of a block of a flattened parameter."""
        if self._between_dtype == torch.float32:
            return self._stored[name][: self.count, block]
        snapshots = [self._row(name, index)[block].float() for index in range(self.count)]
        for index in range(1, min(self.count, self.num_snapshots - 1)):
            snapshots[index] = snapshots[index] + snapshots[0]
        length = block.stop - block.start
        return torch.stack(snapshots) if snapshots else torch.empty(0, length)

    def state_dict(self) -> dict[str, torch.Tensor]:
        """The snapshots taken so far, in their stored form."""
        if self._stream is not None:
            self._stream.synchronize()
        return {name: value[: self._filled(name)] for name, value in self._stored.items() if self._filled(name)}

    def _filled(self, stored: str) -> int:
        """Number of rows of a stored tensor that hold a snapshot."""
        if self._between_dtype == torch.float32:
            return self.count
        if stored.endswith(".ends"):
            return min(self.count, 1) + self.is_full
        return min(max(self.count - 1, 0), self.num_snapshots - 2)

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, torch.Tensor], count: int) -> None:
        """
        Restores `count` snapshots.

        Raises:
            ValueError: The snapshots belong to other parameters, or differ in number, dtype or shape.
        """
        before, self.count = self.count, min(count, self.num_snapshots)
        expected = self.state_dict()
        if count > self.num_snapshots or not _same_layout(expected, state):
            self.count = before
            raise ValueError(
                f"The saved trajectory ({count} snapshots of {len(state)} tensors) does not fit this run: the tracked "
                f"parameters, `num_snapshots={self.num_snapshots}` and `trajectory_dtype` must be those it was "
                "saved with."
            )
        for name, value in expected.items():
            value.copy_(state[name])


def trajectory_specs(shards: LocalShards, num_snapshots: int, dtype: str) -> dict[str, TensorSpec]:
    """The tensors that a trajectory of these shards stores."""
    specs = {}
    for name, local in shards.items():
        if dtype == "float32":
            specs[name] = TensorSpec((num_snapshots, local.numel()), torch.float32, local.device)
        else:
            between = (num_snapshots - 2, local.numel())
            specs[f"{name}.ends"] = TensorSpec((2, local.numel()), torch.float32, local.device)
            specs[f"{name}.between"] = TensorSpec(between, TRAJECTORY_DTYPES[dtype], local.device)
    return specs


def _same_layout(expected: Mapping[str, torch.Tensor], saved: Mapping[str, torch.Tensor]) -> bool:
    return expected.keys() == saved.keys() and all(
        (value.shape, value.dtype) == (saved[name].shape, saved[name].dtype) for name, value in expected.items()
    )


__all__ = ["TRAJECTORY_DTYPES", "Trajectory", "trajectory_specs"]

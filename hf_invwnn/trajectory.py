"""The trajectory: K snapshots of the tracked parameters, and in how many bytes."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping

import torch
from torch import nn

from .parts import Parts, flat_view
from .storage import Slot, make_room


TRAJECTORY_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def select_parameters(model: nn.Module, pattern: str | None = None) -> dict[str, nn.Parameter]:
    """
    The parameters to track: those that require grad and whose name `pattern` matches somewhere. Tied ones count once.

    Args:
        model (`nn.Module`): The model to unlearn.
        pattern (`str`, *optional*): A regular expression, searched for in the names; all of them by default.

    Raises:
        ValueError: Nothing is trainable, `pattern` is no regular expression, or it matches nothing.
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


class NonFiniteWeights(ArithmeticError):
    """Weights have become infinite or no number at all."""


class Trajectory:
    r"""
    The last K values of this process's part of every tracked parameter, `W = [theta^t .. theta^{t+K-1}]`, oldest
    first.

    With `dtype="float32"` all snapshots are exact. With `"bfloat16"` the oldest and the newest are, and those between
    are kept as differences from the oldest, whose rounding is relative to how far a weight moved and not to how large
    it is; bfloat16 has the range of float32, so that no scale has to be kept with them.

    Args:
        parts ([`Parts`] or `dict[str, nn.Parameter]`): The tracked parameters.
        num_snapshots (`int`): K.
        dtype (`str`, defaults to `"float32"`): `"float32"` or `"bfloat16"`.
        storage (`str`, defaults to `"model"`): `"model"` (beside the parameters), `"cpu"` or `"disk"`.
        path (`str` or `os.PathLike`, *optional*): The file, with `"disk"`.

    Raises:
        NotEnoughRoom: The disk is full.
    """

    def __init__(
        self,
        parts: Parts | Mapping[str, nn.Parameter],
        num_snapshots: int,
        dtype: str = "float32",
        storage: str = "model",
        path: str | os.PathLike | None = None,
    ) -> None:
        self.parts = parts if isinstance(parts, Parts) else Parts(parts)
        self.num_snapshots = num_snapshots
        self.count = 0
        self._between_dtype = TRAJECTORY_DTYPES[dtype]
        self._stored = make_room(trajectory_slots(self.parts, num_snapshots, dtype), storage, path)
        self._copies = torch.cuda.Stream() if self._copies_aside(storage) else None

    def _copies_aside(self, storage: str) -> bool:
        return storage == "cpu" and any(local.is_cuda for _, local in self.parts.items())

    @property
    def is_full(self) -> bool:
        return self.count == self.num_snapshots

    @property
    def nbytes(self) -> int:
        """Bytes that the snapshots take on this process."""
        return sum(tensor.nbytes for tensor in self._stored.values())

    @torch.no_grad()
    def record(self) -> None:
        """
        Takes a snapshot of the parameters as they are now. From an accelerator to main memory the copy is made while
        work goes on; `before_change` has to be called before the parameters change.

        Raises:
            RuntimeError: There are K already; `clear` first.
        """
        if self.is_full:
            raise RuntimeError(f"The trajectory already holds its {self.num_snapshots} snapshots.")
        if self._copies is None:
            self._copy()
        else:
            self._copies.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(self._copies):
                self._copy()
        self.count += 1

    def _copy(self) -> None:
        aside = self._copies is not None
        for name, local in self.parts.items():
            now, place = flat_view(local, name), self._place(name, self.count)
            if place.dtype == torch.float32:
                place.copy_(now, non_blocking=aside)
            else:
                place.copy_(now.float() - self._place(name, 0).to(now.device), non_blocking=aside)

    def before_change(self) -> None:
        """Lets the accelerator wait until the last snapshot is copied."""
        if self._copies is not None:
            torch.cuda.current_stream().wait_stream(self._copies)

    def clear(self) -> None:
        """Forgets all snapshots; the memory is kept for the next ones."""
        self.count = 0

    def items(self) -> Iterator[tuple[str, torch.Tensor, torch.Tensor]]:
        """Name, local part and its trajectory `(count, *shape)` in float32, one after the other."""
        for name, local in self.parts.items():
            shown = self._read(name, slice(0, local.numel())).contiguous()
            yield name, local, shown.as_strided((self.count, *local.shape), (local.numel(), *local.stride()))

    def blocks(self, size: int) -> Iterator[tuple[str, torch.Tensor, torch.Tensor]]:
        """As `items`, flat and in blocks of at most `size` weights, so that little is in memory twice."""
        if self._copies is not None:
            self._copies.synchronize()
        for name, local in self.parts.items():
            flat = flat_view(local, name)
            for start in range(0, flat.numel(), size):
                numbers = slice(start, min(start + size, flat.numel()))
                yield name, flat[numbers], self._read(name, numbers)

    def _place(self, name: str, snapshot: int) -> torch.Tensor:
        """Where a snapshot of a parameter goes."""
        if self._between_dtype == torch.float32:
            return self._stored[name][snapshot]
        if snapshot in (0, self.num_snapshots - 1):
            return self._stored[f"{name}.ends"][min(snapshot, 1)]
        return self._stored[f"{name}.between"][snapshot - 1]

    def _read(self, name: str, numbers: slice) -> torch.Tensor:
        """Some of the flattened weights of a parameter, `(count, n)` in float32."""
        if self._between_dtype == torch.float32:
            return self._stored[name][: self.count, numbers]
        snapshots = [self._place(name, index)[numbers].float() for index in range(self.count)]
        for index in range(1, min(self.count, self.num_snapshots - 1)):
            snapshots[index] = snapshots[index] + snapshots[0]
        length = numbers.stop - numbers.start
        return torch.stack(snapshots) if snapshots else torch.empty(0, length)

    def state_dict(self) -> dict[str, torch.Tensor]:
        """The snapshots taken so far, as they are stored."""
        if self._copies is not None:
            self._copies.synchronize()
        return {name: value[: self._filled(name)] for name, value in self._stored.items() if self._filled(name)}

    def _filled(self, stored: str) -> int:
        """How many rows of a stored tensor hold a snapshot."""
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
            ValueError: The snapshots are those of other parameters, of another number, dtype or shape.
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


def trajectory_slots(parts: Parts, num_snapshots: int, dtype: str) -> dict[str, Slot]:
    """What a trajectory of these parts has to store."""
    slots = {}
    for name, local in parts.items():
        if dtype == "float32":
            slots[name] = Slot((num_snapshots, local.numel()), torch.float32, local.device)
        else:
            between = (num_snapshots - 2, local.numel())
            slots[f"{name}.ends"] = Slot((2, local.numel()), torch.float32, local.device)
            slots[f"{name}.between"] = Slot(between, TRAJECTORY_DTYPES[dtype], local.device)
    return slots


def _same_layout(expected: Mapping[str, torch.Tensor], found: Mapping[str, torch.Tensor]) -> bool:
    return expected.keys() == found.keys() and all(
        (value.shape, value.dtype) == (found[name].shape, found[name].dtype) for name, value in expected.items()
    )


def non_finite(tensors: Iterable[tuple[str, torch.Tensor]]) -> list[str]:
    """Names of the tensors that hold an infinity or a NaN."""
    return [name for name, value in tensors if not _is_finite(value)]


def _is_finite(value: torch.Tensor) -> bool:
    # A sum is several times as fast as a look at every number, and not finite where one of them is not. One that only
    # overflows is looked at again.
    if not value.is_floating_point() or bool(torch.isfinite(value.sum())):
        return True
    return bool(torch.isfinite(value).all())


__all__ = ["NonFiniteWeights", "Trajectory", "non_finite", "select_parameters", "trajectory_slots"]

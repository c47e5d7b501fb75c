"""The trajectory: K snapshots of the tracked parameters, and where they live."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

import torch
from torch import nn


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


class Snapshot:
    """
    An exact copy of the tracked parameters at one moment.

    Args:
        parameters (`dict[str, torch.Tensor]`): What to copy.
        device (`torch.device` or `str`, *optional*): Where the copy lives; beside its parameter by default.
    """

    def __init__(self, parameters: Mapping[str, torch.Tensor], device: torch.device | str | None = None) -> None:
        self.values = {
            name: parameter.detach().to(device or parameter.device, copy=True)
            for name, parameter in parameters.items()
        }

    @torch.no_grad()
    def take(self, parameters: Mapping[str, torch.Tensor]) -> None:
        """Copies the parameters as they are now, over the values held."""
        for name, parameter in parameters.items():
            self.values[name].copy_(parameter)

    @torch.no_grad()
    def restore(self, parameters: Mapping[str, torch.Tensor]) -> None:
        """Puts the copied values back, in place."""
        for name, parameter in parameters.items():
            parameter.copy_(self.values[name])


@torch.no_grad()
def interpolate(parameters: Mapping[str, nn.Parameter], start: Snapshot, end: Snapshot, fraction: float) -> None:
    """Puts the parameters at `start + fraction * (end - start)`, in place; exact at both ends."""
    for name, parameter in parameters.items():
        low, high = (point.values[name].to(parameter.device) for point in (start, end))
        parameter.copy_(torch.lerp(low, high, fraction))


class Trajectory:
    r"""
    The last K values of every tracked parameter, `W = [theta^t .. theta^{t+K-1}]`, oldest first.

    The oldest snapshot is kept as it is. With `dtype="float32"` the others are too; with `"bfloat16"` they are kept as
    differences from the oldest, whose rounding is relative to how far a weight moved and not to how large it is.

    Args:
        parameters (`dict[str, nn.Parameter]`): The tracked parameters.
        num_snapshots (`int`): K.
        dtype (`str`, defaults to `"float32"`): `"float32"` or `"bfloat16"`.
        device (`torch.device` or `str`, *optional*): Where the snapshots live; beside the parameters by default.
    """

    def __init__(
        self,
        parameters: Mapping[str, nn.Parameter],
        num_snapshots: int,
        dtype: str = "float32",
        device: torch.device | str | None = None,
    ) -> None:
        self.parameters = dict(parameters)
        self.num_snapshots = num_snapshots
        self.device = device
        self.count = 0
        self.as_differences = dtype != "float32"
        self._oldest = {
            name: torch.empty(parameter.shape, dtype=torch.float32, device=device or parameter.device)
            for name, parameter in self.parameters.items()
        }
        self._later = {
            name: torch.empty(
                (num_snapshots - 1, *parameter.shape),
                dtype=TRAJECTORY_DTYPES[dtype],
                device=device or parameter.device,
            )
            for name, parameter in self.parameters.items()
        }

    @property
    def is_full(self) -> bool:
        return self.count == self.num_snapshots

    @property
    def nbytes(self) -> int:
        """Bytes that the snapshots take."""
        return sum(tensor.nbytes for tensors in (self._oldest, self._later) for tensor in tensors.values())

    @torch.no_grad()
    def record(self) -> None:
        """
        Takes a snapshot of the parameters as they are now.

        Raises:
            RuntimeError: There are K already; `clear` first.
        """
        if self.is_full:
            raise RuntimeError(f"The trajectory already holds its {self.num_snapshots} snapshots.")
        for name, parameter in self.parameters.items():
            if self.count == 0:
                self._oldest[name].copy_(parameter)
            elif self.as_differences:
                now = parameter.to(self._oldest[name].device, torch.float32)
                self._later[name][self.count - 1].copy_(now - self._oldest[name])
            else:
                self._later[name][self.count - 1].copy_(parameter)
        self.count += 1

    def clear(self) -> None:
        """Forgets all snapshots; the memory is kept for the next ones."""
        self.count = 0

    def items(self) -> Iterator[tuple[str, nn.Parameter, torch.Tensor]]:
        """Name, parameter and its trajectory `(count, *shape)` in float32, one after the other."""
        for name, parameter in self.parameters.items():
            oldest = self._oldest[name].unsqueeze(0)
            later = self._later[name][: max(self.count - 1, 0)].float()
            if self.as_differences:
                later = later + oldest
            yield name, parameter, torch.cat([oldest[: self.count], later])

    def state_dict(self) -> dict[str, torch.Tensor]:
        """The snapshots taken so far, as they are stored."""
        state = {f"oldest.{name}": value for name, value in self._oldest.items() if self.count}
        state |= {f"later.{name}": value[: self.count - 1] for name, value in self._later.items() if self.count > 1}
        return state

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, torch.Tensor], count: int) -> None:
        """
        Restores `count` snapshots.

        Raises:
            ValueError: The snapshots are those of other parameters, of another number, dtype or shape.
        """
        expected: dict[str, torch.Tensor] = {}
        if count:
            expected |= {f"oldest.{name}": value for name, value in self._oldest.items()}
        if count > 1:
            expected |= {f"later.{name}": value[: count - 1] for name, value in self._later.items()}
        if count > self.num_snapshots or not _same_layout(expected, state):
            raise ValueError(
                f"The saved trajectory ({count} snapshots of {len(state)} tensors) does not fit this run: the tracked "
                f"parameters, `num_snapshots={self.num_snapshots}` and `trajectory_dtype` must be those it was "
                "saved with."
            )
        for name, value in expected.items():
            value.copy_(state[name])
        self.count = count


def _same_layout(expected: Mapping[str, torch.Tensor], found: Mapping[str, torch.Tensor]) -> bool:
    return expected.keys() == found.keys() and all(
        (value.shape, value.dtype) == (found[name].shape, found[name].dtype) for name, value in expected.items()
    )


def non_finite(parameters: Iterable[tuple[str, torch.Tensor]]) -> list[str]:
    """Names of the tensors that hold an infinity or a NaN."""
    return [name for name, value in parameters if not torch.isfinite(value).all()]


__all__ = ["NonFiniteWeights", "Snapshot", "Trajectory", "interpolate", "non_finite", "select_parameters"]

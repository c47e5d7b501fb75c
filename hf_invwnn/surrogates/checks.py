"""Checks that surrogates are what the model takes, and not the forget set."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch


# Rows of a data set of surrogates that are compared with the forget set.
_LOOKED_AT = 1000


def check_near(inputs: Mapping[str, Any], near: Any, name: str) -> None:
    """
    Raises:
        ValueError: Surrogates are not what the model takes.
    """
    if not isinstance(near, Mapping) or set(near) != set(inputs):
        found = ", ".join(near) if isinstance(near, Mapping) else type(near).__name__
        raise ValueError(f"`surrogates` ({name}) must return the inputs {', '.join(inputs)}, got {found}.")
    for key, value in inputs.items():
        other = near[key]
        if not torch.is_tensor(value):
            continue
        if other.shape[2:] != value.shape[2:] or len(other) != len(value) or other.device != value.device:
            raise ValueError(
                f"`surrogates` ({name}) must return {key!r} of shape {tuple(value.shape)} on {value.device}, got "
                f"{tuple(other.shape)} on {other.device}."
            )
        if other.dtype != value.dtype:
            raise ValueError(f"`surrogates` ({name}) must return {key!r} as {value.dtype}, got {other.dtype}.")
        if value.is_floating_point():
            low, high = value.min(), value.max()
            reach = 10 * (high - low).clamp(min=1e-6)
            if not torch.isfinite(other).all() or (other < low - reach).any() or (other > high + reach).any():
                raise ValueError(
                    f"`surrogates` ({name}) return {key!r} in {other.min():.3g} to {other.max():.3g}, and the forget "
                    f"set lies in {low:.3g} to {high:.3g}; process them in the same way."
                )
    if all(torch.equal(near[key], value) for key, value in inputs.items() if torch.is_tensor(value)):
        raise ValueError(f"`surrogates` ({name}) return the forget set itself; pass inputs near it.")


def check_disjoint(dataset: Any, forget_dataset: Any, names: Sequence[str]) -> None:
    """
    Raises:
        ValueError: One of the first 1,000 examples of a data set of surrogates is one of the forget set: the answers
            of the original model to it would teach it again.
    """
    forgotten = set(_hashes(forget_dataset, range(len(forget_dataset)), names))
    if any(content in forgotten for content in _hashes(dataset, range(min(len(dataset), _LOOKED_AT)), names)):
        raise ValueError(
            "`surrogates` hold examples of the forget set, whose answers would teach it again; pass other examples."
        )


def _hashes(dataset: Any, rows: Iterable[int], names: Sequence[str]) -> Iterator[bytes]:
    """What the model takes of each row, as a hash."""
    for row in rows:
        example = dataset[row]
        parts = [torch.as_tensor(example[name]).contiguous() for name in names if name in example]
        yield hashlib.sha256(b"".join(part.cpu().numpy().tobytes() for part in parts)).digest()


__all__ = ["check_disjoint", "check_near"]

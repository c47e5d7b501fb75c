"""Where snapshots live: beside the parameters, in main memory, or in memory-mapped safetensors files."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch


STORAGES = ("cpu", "model", "disk")

# Names of dtypes in a safetensors file, and numpy's types of the same width to map them with.
_STORED = {
    torch.float64: ("F64", np.float64),
    torch.float32: ("F32", np.float32),
    torch.bfloat16: ("BF16", np.int16),
    torch.float16: ("F16", np.float16),
    torch.int64: ("I64", np.int64),
    torch.int32: ("I32", np.int32),
    torch.uint8: ("U8", np.uint8),
    torch.bool: ("BOOL", np.bool_),
}


class Slot(NamedTuple):
    """A tensor to make room for; `device` is where the parameter it is about lives."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    device: torch.device

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


class NotEnoughRoom(RuntimeError):
    """There is not the memory or the disk space that a run needs."""


def make_room(slots: Mapping[str, Slot], storage: str = "model", path: str | os.PathLike | None = None) -> dict:
    """
    Tensors of the shapes and dtypes asked for.

    Args:
        slots (`dict[str, Slot]`): What is needed.
        storage (`str`, defaults to `"model"`): `"model"` is beside the parameters; `"cpu"` is main memory, pinned
            where the parameters are on an accelerator, so that copies need not wait; `"disk"` is the file `path`.
        path (`str` or `os.PathLike`, *optional*): With `"disk"`, a safetensors file to create.

    Returns:
        `dict[str, torch.Tensor]`, their values undefined.

    Raises:
        ValueError: `storage` is none of those three, or `path` is missing.
        NotEnoughRoom: The disk is full; nothing is left of the file.
    """
    if storage not in STORAGES:
        raise ValueError(f"`storage` must be one of {STORAGES}, got {storage!r}.")
    if storage == "disk":
        if path is None:
            raise ValueError("`path` is missing; a trajectory on disk needs a file.")
        return map_file(path, slots)
    return {
        name: torch.empty(
            slot.shape,
            dtype=slot.dtype,
            device=slot.device if storage == "model" else "cpu",
            pin_memory=storage == "cpu" and slot.device.type == "cuda",
        )
        for name, slot in slots.items()
    }


def map_file(path: str | os.PathLike, slots: Mapping[str, Slot]) -> dict[str, torch.Tensor]:
    """
    Creates a safetensors file and maps its tensors into memory, to be read and written in place.

    The space is reserved at once: a disk that fills up later would end the process without a word.

    Raises:
        NotEnoughRoom: The disk is full; nothing is left of the file.
    """
    header: dict[str, dict[str, object]] = {}
    starts: dict[str, int] = {}
    end = 0
    for name, slot in slots.items():
        stored, _ = _STORED[slot.dtype]
        starts[name] = end
        header[name] = {"dtype": stored, "shape": list(slot.shape), "data_offsets": [end, end + slot.nbytes]}
        end += slot.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    target, start = Path(path), 8 + len(text)
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        target.unlink(missing_ok=True)  # who has the old file mapped keeps it
        with target.open("wb") as file:
            file.write(len(text).to_bytes(8, "little") + text)
            file.flush()
            if end:
                os.posix_fallocate(file.fileno(), 0, start + end)
    except OSError as error:
        target.unlink(missing_ok=True)
        raise NotEnoughRoom(
            f"`{target}` cannot be given the {in_words(start + end)} it needs ({error.strerror}). Free some space, "
            "set `trajectory_folder` to another disk, or keep the trajectory elsewhere (`trajectory_storage`)."
        ) from error
    tensors = {}
    for name, slot in slots.items():
        _, numpy_type = _STORED[slot.dtype]
        if not slot.nbytes:
            tensors[name] = torch.empty(slot.shape, dtype=slot.dtype)
            continue
        offset = start + starts[name]
        mapped = np.memmap(target, dtype=numpy_type, mode="r+", offset=offset, shape=slot.shape or (1,))
        tensors[name] = torch.from_numpy(mapped).view(slot.dtype).view(slot.shape)
    return tensors


def in_words(nbytes: float) -> str:
    """A number of bytes for people, such as `1.5 GiB`."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if nbytes < 1024 or unit == "GiB":
            break
        nbytes /= 1024
    return f"{nbytes:.0f} {unit}" if unit == "bytes" else f"{nbytes:.1f} {unit}"


__all__ = ["STORAGES", "NotEnoughRoom", "Slot", "in_words", "make_room", "map_file"]

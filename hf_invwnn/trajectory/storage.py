"""Memory for snapshots: beside the parameters, in main memory, or in a mapped file."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from accelerate.utils import convert_bytes

from ..errors import InsufficientMemoryError


STORAGES = ("cpu", "model", "disk")
# Tensors in a mapped file start at multiples of this many bytes.
_ALIGNMENT = 64


class TensorSpec(NamedTuple):
    """Shape and dtype of a tensor to allocate; `device` is that of the parameter it belongs to."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    device: torch.device

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


def allocate(
    specs: Mapping[str, TensorSpec], storage: str = "model", path: str | os.PathLike | None = None
) -> dict[str, torch.Tensor]:
    """
    Allocates tensors; their values are undefined.

    Args:
        specs (`dict[str, TensorSpec]`): The tensors.
        storage (`str`, defaults to `"model"`): `"model"` allocates on the device of the parameters, `"cpu"` in main
            memory (pinned if the parameters are on CUDA, so that copies are asynchronous), `"disk"` in a mapped file.
        path (`str` or `os.PathLike`, *optional*): The file to create, with `"disk"`.

    Raises:
        ValueError: `storage` has another value, or `path` is missing.
        InsufficientMemoryError: The disk is full; the file is removed.
    """
    if storage not in STORAGES:
        raise ValueError(f"`storage` must be one of {STORAGES}, got {storage!r}.")
    if storage == "disk":
        if path is None:
            raise ValueError("`path` is missing; a trajectory on disk needs a file.")
        return map_file(path, specs)
    return {
        name: torch.empty(
            spec.shape,
            dtype=spec.dtype,
            device=spec.device if storage == "model" else "cpu",
            pin_memory=storage == "cpu" and spec.device.type == "cuda",
        )
        for name, spec in specs.items()
    }


def map_file(path: str | os.PathLike, specs: Mapping[str, TensorSpec]) -> dict[str, torch.Tensor]:
    """
    Creates a file and maps tensors in it into memory, to read and write in place.

    The space is reserved at once: writing to a mapped file on a full disk kills the process.

    Args:
        path (`str` or `os.PathLike`): The file. An existing file is replaced; a process that has mapped it keeps it.
        specs (`dict[str, TensorSpec]`): The tensors.

    Raises:
        InsufficientMemoryError: The disk is full; the file is removed.
    """
    starts: dict[str, int] = {}
    size = 0
    for name, spec in specs.items():
        starts[name] = size
        size += -(-spec.nbytes // _ALIGNMENT) * _ALIGNMENT
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        target.unlink(missing_ok=True)
        with target.open("wb") as file:
            if size:
                os.posix_fallocate(file.fileno(), 0, size)
    except OSError as error:
        target.unlink(missing_ok=True)
        raise InsufficientMemoryError(
            f"`{target}` needs {convert_bytes(size)}, which the disk does not have ({error.strerror}). Free some "
            "space, set `trajectory_folder` to another disk, or change `trajectory_storage`."
        ) from error
    content = torch.from_file(str(target), shared=True, size=size, dtype=torch.uint8) if size else torch.empty(0)
    return {
        name: content[starts[name] : starts[name] + spec.nbytes].view(spec.dtype).view(spec.shape)
        if spec.nbytes
        else torch.empty(spec.shape, dtype=spec.dtype)
        for name, spec in specs.items()
    }


__all__ = ["STORAGES", "TensorSpec", "allocate", "map_file"]

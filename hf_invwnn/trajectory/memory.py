"""Memory check: logs what a trajectory needs, and raises before the run if it does not fit."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import psutil
import torch
from accelerate.utils import convert_bytes
from transformers.utils import logging

from ..errors import InsufficientMemoryError
from .sharding import LocalShards
from .trajectory import trajectory_specs


logger = logging.get_logger(__name__)


def trajectory_bytes(shards: LocalShards, num_snapshots: int, dtype: str) -> int:
    """Bytes of a trajectory on this process: `K * local weights * bytes of a number`."""
    return sum(spec.nbytes for spec in trajectory_specs(shards, num_snapshots, dtype).values())


def free_bytes(storage: str, device: torch.device, folder: str | os.PathLike) -> int | None:
    """Free bytes of a storage; `None` if they are unknown."""
    if storage == "disk":
        existing = next(path for path in (Path(folder).absolute(), *Path(folder).absolute().parents) if path.exists())
        return shutil.disk_usage(existing).free
    if storage == "model" and device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    if storage == "model" and device.type != "cpu":
        return None
    return psutil.virtual_memory().available


def check_memory(shards: LocalShards, num_snapshots: int, dtype: str, storage: str, folder: str | os.PathLike) -> int:
    """
    Logs the memory that a trajectory needs on each process and the memory that is free.

    Args:
        shards ([`LocalShards`]): The tracked parameters.
        num_snapshots (`int`): K.
        dtype (`str`): `"float32"` or `"bfloat16"`.
        storage (`str`): `"cpu"`, `"model"` or `"disk"`.
        folder (`str` or `os.PathLike`): The folder of a trajectory on disk.

    Returns:
        `int`: Bytes of the trajectory on this process.

    Raises:
        InsufficientMemoryError: The trajectory does not fit; the message names settings that do.
    """
    device = next((local.device for _, local in shards.items()), torch.device("cpu"))
    needed = trajectory_bytes(shards, num_snapshots, dtype)
    # The last good weights during the whole run, and the end of a segment while it is searched.
    copies = 2 * sum(local.nbytes for _, local in shards.items())
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))

    def fits(storage: str, dtype: str) -> bool:
        free = free_bytes(storage, device, folder)
        sharing = 1 if storage == "model" and device.type == "cuda" else processes
        return free is None or (trajectory_bytes(shards, num_snapshots, dtype) + copies) * sharing <= free

    free = free_bytes(storage, device, folder)
    where = {"cpu": "main memory", "model": f"memory of {device}", "disk": f"disk (`{folder}`)"}
    message = (
        f"A trajectory of {num_snapshots} snapshots of {shards.numel:,} weights needs {convert_bytes(needed)} of "
        f"{where[storage]} on each of {processes} local process(es), and copies of the weights up to "
        f"{convert_bytes(copies)} more; {'an unknown amount' if free is None else convert_bytes(free)} is free."
    )
    if fits(storage, dtype):
        if int(os.environ.get("LOCAL_RANK", "0")) <= 0:
            logger.info(message)
        return needed
    alternatives = [
        ("bfloat16", storage),
        ("float32", "cpu"),
        ("bfloat16", "cpu"),
        ("float32", "disk"),
        ("bfloat16", "disk"),
    ]
    fitting = [
        f"`trajectory_storage={place!r}` with `trajectory_dtype={kind!r}`"
        for kind, place in alternatives
        if (kind, place) != (dtype, storage) and fits(place, kind)
    ]
    advice = (
        f"{fitting[0]} would fit."
        if fitting
        else "No other storage here would fit either; track fewer parameters (`tracked_parameters`), start more "
        "processes, or set `trajectory_folder` to a larger disk."
    )
    raise InsufficientMemoryError(f"{message} {advice}")


__all__ = ["check_memory", "free_bytes", "trajectory_bytes"]

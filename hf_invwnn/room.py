"""What a trajectory will take, beside what is free; said before a run begins, and refused where it cannot fit."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import psutil
import torch
from transformers.utils import logging

from .parts import Parts
from .storage import NotEnoughRoom, in_words
from .trajectory import trajectory_slots


logger = logging.get_logger(__name__)


def trajectory_bytes(parts: Parts, num_snapshots: int, dtype: str) -> int:
    """Bytes of a trajectory on this process: `K x tracked / world x bytes of a number`."""
    return sum(slot.nbytes for slot in trajectory_slots(parts, num_snapshots, dtype).values())


def free_bytes(storage: str, device: torch.device, folder: str | os.PathLike) -> int | None:
    """Bytes free where a trajectory would live; `None` where that cannot be known."""
    if storage == "disk":
        existing = next(path for path in (Path(folder).absolute(), *Path(folder).absolute().parents) if path.exists())
        return shutil.disk_usage(existing).free
    if storage == "model" and device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    if storage == "model" and device.type != "cpu":
        return None
    return psutil.virtual_memory().available


def check_room(parts: Parts, num_snapshots: int, dtype: str, storage: str, folder: str | os.PathLike) -> int:
    """
    Says how much a trajectory takes on each process and how much is free, for all the processes of this machine.

    Args:
        parts ([`Parts`]): The tracked parameters.
        num_snapshots (`int`): K.
        dtype (`str`): `"float32"` or `"bfloat16"`.
        storage (`str`): `"cpu"`, `"model"` or `"disk"`.
        folder (`str` or `os.PathLike`): Where it would be on disk.

    Returns:
        `int`, the bytes it takes on this process.

    Raises:
        NotEnoughRoom: It does not fit; the message names the settings that would.
    """
    device = next((local.device for _, local in parts.items()), torch.device("cpu"))
    needed = trajectory_bytes(parts, num_snapshots, dtype)
    # The last good weights are kept throughout, and the end of a segment while it is searched.
    beside_it = 2 * sum(local.nbytes for _, local in parts.items())
    here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))

    def fits(storage: str, dtype: str) -> bool:
        free = free_bytes(storage, device, folder)
        sharing = 1 if storage == "model" and device.type == "cuda" else here
        return free is None or (trajectory_bytes(parts, num_snapshots, dtype) + beside_it) * sharing <= free

    free = free_bytes(storage, device, folder)
    beside = "unknown" if free is None else in_words(free)
    where = {"cpu": "main memory", "model": f"memory of {device}", "disk": f"disk (`{folder}`)"}
    told = (
        f"A trajectory of {num_snapshots} snapshots of {parts.numel:,} weights takes {in_words(needed)} of "
        f"{where[storage]} on each of {here} process(es) here, and up to {in_words(beside_it)} more for the "
        f"weights to go back to; {beside} is free."
    )
    if fits(storage, dtype):
        if int(os.environ.get("LOCAL_RANK", "0")) <= 0:
            logger.warning(told)  # said without being asked for
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
        f"{fitting[0]} would fit"
        if fitting
        else "no other storage here would do; track fewer parameters (`tracked_parameters`), start more processes, or "
        "set `trajectory_folder` to a larger disk"
    )
    raise NotEnoughRoom(f"{told} {advice[0].upper()}{advice[1:]}.")


__all__ = ["check_room", "free_bytes", "trajectory_bytes"]

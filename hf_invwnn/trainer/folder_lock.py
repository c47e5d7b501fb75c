"""A lock on the output directory of a run, which the operating system takes from a process that has died."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from accelerate import Accelerator
from filelock import FileLock, Timeout

from ..errors import OutputFolderInUseError
from ..files import atomic_write
from ..trajectory.sharding import any_process


LOCK_NAME = "_lock"
HOLDER_NAME = "_lock_holder"
# Worker processes of a run that was killed hold its lock until they notice, which takes them up to five seconds.
PATIENCE = 15.0


@contextmanager
def locked_folder(folder: str | os.PathLike | None, accelerator: Accelerator) -> Iterator[None]:
    """
    Within this context no other run can train in the folder. The first process holds the lock for all.

    Args:
        folder (`str` or `os.PathLike`): The output directory.
        accelerator (`Accelerator`): The processes of the run.

    Raises:
        OutputFolderInUseError: Another run holds the lock; on all processes.
    """
    root = Path(folder or ".")
    lock = FileLock(root / LOCK_NAME)
    problem = _acquire(lock, root) if accelerator.is_main_process else None
    if any_process(problem is not None, accelerator.device):
        raise OutputFolderInUseError(problem or f"`output_dir`: another run is using `{root}`.")
    try:
        yield
    finally:
        if lock.is_locked:
            (root / HOLDER_NAME).unlink(missing_ok=True)
            lock.release()


def _acquire(lock: FileLock, root: Path) -> str | None:
    """Takes the lock; returns what is wrong if another run has it."""
    root.mkdir(parents=True, exist_ok=True)
    holder = root / HOLDER_NAME
    try:
        lock.acquire(timeout=0)
    except Timeout:
        process = _process_in(holder)
        if process is None or not _has_ended(process):
            return (
                f"`output_dir`: another run (process {process or 'unknown'}) is using `{root}`; wait for its end, or "
                "name another folder."
            )
        try:
            lock.acquire(timeout=PATIENCE)
        except Timeout:
            return f"`output_dir`: processes of a run that ended are still using `{root}`; end them, and try again."
    atomic_write(holder, f"{os.getpid()}\n")
    return None


def _process_in(holder: Path) -> int | None:
    try:
        return int(holder.read_text())
    except (OSError, ValueError):
        return None


def _has_ended(process: int) -> bool:
    try:
        return psutil.Process(process).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


__all__ = ["locked_folder"]

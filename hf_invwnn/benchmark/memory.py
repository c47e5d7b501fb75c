"""Peak memory of a run beyond what was allocated before it."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch


@contextmanager
def peak_memory() -> Iterator[dict[str, float]]:
    """
    Measures how far memory rises within this context, in `bytes`: memory of the CUDA allocator, or of the process if
    there is no GPU. On systems other than Linux the dictionary stays empty without a GPU.
    """
    peak: dict[str, float] = {}
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        yield peak
        peak["bytes"] = torch.cuda.max_memory_allocated() - before
        return
    first, highest, ended = _resident(), 0, threading.Event()

    def watch() -> None:
        nonlocal highest
        while not ended.wait(0.05):
            highest = max(highest, _resident() or 0)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield peak
    finally:
        ended.set()
        watcher.join()
    if first is not None and highest:
        peak["bytes"] = max(0, highest - first)


def _resident() -> int | None:
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return None


__all__ = ["peak_memory"]

"""Runs a function in several processes that form a group, as a launcher would, and in a fraction of its time."""

from __future__ import annotations

import multiprocessing
import os
import socket
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any


# A server that has imported everything once and forks from there: its children start clean and at once.
SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["hf_invwnn", "accelerate", "datasets", "sklearn.datasets", "helpers", "workers"])


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def start(work: Callable[..., Any], arguments: Sequence[Any], world: int, folder: Path) -> list[Any]:
    """Starts `work(rank, *arguments)` in `world` processes; what each prints goes to a file in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    processes = []
    for rank in range(world):
        variables = {}
        if world > 1:
            variables = {
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
                "WORLD_SIZE": str(world),
                "LOCAL_WORLD_SIZE": str(world),
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": str(port),
                "ACCELERATE_USE_CPU": "true",
            }
        process = SERVER.Process(target=_begin, args=(work, rank, arguments, variables, folder), daemon=True)
        process.start()
        processes.append(process)
    return processes


def wait(processes: Sequence[Any], seconds: float = 120) -> list[int | None]:
    """The exit codes; `None` for a process that did not end in time and was killed."""
    end = time.monotonic() + seconds
    codes = []
    for process in processes:
        process.join(max(0.0, end - time.monotonic()))
        codes.append(process.exitcode)
        if process.exitcode is None:
            process.kill()
            process.join()
    return codes


def run(work: Callable[..., Any], arguments: Sequence[Any], world: int, folder: Path) -> None:
    """As `start`, to the end, which all processes must reach."""
    codes = wait(start(work, arguments, world, folder))
    said = "\n".join(path.read_text()[-3000:] for path in sorted(folder.glob("process_*.txt")))
    assert codes == [0] * world, f"exit codes {codes}\n{said}"


def _begin(
    work: Callable[..., Any], rank: int, arguments: Sequence[Any], variables: dict[str, str], folder: Path
) -> None:
    os.environ |= variables
    with (folder / f"process_{rank}.txt").open("w") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
        try:
            work(rank, *arguments)
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(1)
    sys.stdout.flush()
    os._exit(0)  # without the farewells of a process group whose other members may be gone

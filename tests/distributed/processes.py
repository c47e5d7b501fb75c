"""Runs a function in several processes that form a group. Faster than a launcher: the imports happen only once."""

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


# The fork server imports everything once; each process is forked from it, with no state of the tests.
SERVER = multiprocessing.get_context("forkserver")
# `import hf_invwnn` alone loads next to nothing.
PRELOADED = ["hf_invwnn.methods", "hf_invwnn.diffusion", "accelerate", "datasets", "sklearn.datasets"]
SERVER.set_forkserver_preload([*PRELOADED, "transformers.models.vit.modeling_vit", "helpers", "workers"])


def free_port() -> int:
    """A port that is free at the moment of the call."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def start(work: Callable[..., Any], arguments: Sequence[Any], world: int, folder: Path) -> list[Any]:
    """Starts `work(rank, *arguments)` in `world` processes; the output of each goes to a file in `folder`."""
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
    """Returns the exit codes; `None` for a process that did not end in time and was killed."""
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
    """Starts the processes as `start` does, waits for them, and fails unless all exit with code 0."""
    codes = wait(start(work, arguments, world, folder))
    output = "\n".join(path.read_text()[-3000:] for path in sorted(folder.glob("process_*.txt")))
    assert codes == [0] * world, f"exit codes {codes}\n{output}"


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
    os._exit(0)  # Skips the teardown of the process group, which waits for members that may be dead.

"""Work shared by several processes, each with its part of the threads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from multiprocessing import get_context
from typing import Any

import torch
from tqdm import tqdm


class Workers:
    """
    Processes that work on jobs, kept for several lists of jobs; a context manager.

    Args:
        count (`int`): Number of processes; 1 works in this process.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *error: Any) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def run(self, work: Callable[[Any], Any], jobs: Sequence[Any], description: str, fresh: bool = False) -> None:
        """
        Calls `work` with every job. The first error is raised after all have ended.

        Args:
            work (`Callable`): A function that can be pickled.
            jobs (`Sequence`): Its arguments.
            description (`str`): Description of the progress bar.
            fresh (`bool`, defaults to `False`): Run each job in a new process, so that its memory can be measured.
        """
        if not jobs:
            return
        if self.count == 1:
            for job in tqdm(jobs, desc=description):
                work(job)
            return
        threads = max(1, torch.get_num_threads() // self.count)
        if fresh:
            with ThreadPoolExecutor(self.count) as pool:
                self._wait(pool, [pool.submit(_in_new_process, work, job, threads) for job in jobs], description)
            return
        self._pool = self._pool or _processes(self.count)
        self._wait(self._pool, [self._pool.submit(_in_worker, work, job, threads) for job in jobs], description)

    def _wait(self, pool: Executor, futures: Sequence[Future[None]], description: str) -> None:
        errors = []
        try:
            for future in tqdm(as_completed(futures), total=len(futures), desc=description):
                if (error := future.exception()) is not None:
                    errors.append(error)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
        if errors:
            raise errors[0]


def run_jobs(work: Callable[[Any], Any], jobs: Sequence[Any], workers: int, description: str) -> None:
    """Calls `work` with every job in a number of processes, see [`Workers`]."""
    with Workers(workers) as processes:
        processes.run(work, jobs, description)


def _processes(count: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(count, mp_context=get_context("spawn"))


def _in_new_process(work: Callable[[Any], Any], job: Any, threads: int) -> None:
    with _processes(1) as process:
        process.submit(_in_worker, work, job, threads).result()


def _in_worker(work: Callable[[Any], Any], job: Any, threads: int) -> None:
    from transformers.utils import logging as transformers_logging

    torch.set_num_threads(threads)
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    work(job)


__all__ = ["Workers", "run_jobs"]

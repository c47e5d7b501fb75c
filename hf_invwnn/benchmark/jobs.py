"""Work shared by several processes, each with its part of the threads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from multiprocessing import get_context
from typing import Any

import torch
from tqdm import tqdm


def run_jobs(
    work: Callable[[Any], None], jobs: Sequence[Any], workers: int, description: str, fresh: bool = False
) -> None:
    """
    Calls `work` with every job.

    Args:
        work (`Callable`): A function that can be pickled.
        jobs (`Sequence`): Its arguments.
        workers (`int`): Number of processes; 1 works in this process.
        description (`str`): Description of the progress bar.
        fresh (`bool`, defaults to `False`): Run each job in a new process, so that its memory can be measured.
    """
    if not jobs:
        return
    if workers == 1:
        for job in tqdm(jobs, desc=description):
            work(job)
        return
    threads = max(1, torch.get_num_threads() // workers)
    pool: Executor = ThreadPoolExecutor(workers) if fresh else _processes(workers)
    with pool:
        submit = _in_new_process if fresh else _in_worker
        futures = [pool.submit(submit, work, job, threads) for job in jobs]
        try:
            for future in tqdm(as_completed(futures), total=len(futures), desc=description):
                future.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _processes(count: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(count, mp_context=get_context("spawn"))


def _in_new_process(work: Callable[[Any], None], job: Any, threads: int) -> None:
    with _processes(1) as process:
        process.submit(_in_worker, work, job, threads).result()


def _in_worker(work: Callable[[Any], None], job: Any, threads: int) -> None:
    from transformers.utils import logging as transformers_logging

    torch.set_num_threads(threads)
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    work(job)


__all__ = ["run_jobs"]

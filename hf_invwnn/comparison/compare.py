"""The course of a comparison: starting points, sweeps, the chosen settings on every seed, results."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from ..baselines import METHODS
from ..report import at_ua, write_results
from .runs import BEYOND, judge, run_once
from .settings import ComparisonSettings
from .start import Start, prepare_start


logger = logging.getLogger(__name__)

# A job is what a worker process needs to know: a seed, a method and its setting, what to watch, where to stop.
Job = tuple[int, str, dict[str, Any], tuple[str, ...] | None, float | None]


def compare(settings: ComparisonSettings, workers: int = 1) -> dict[str, Any]:
    """
    Runs a comparison, or what is missing of it, and writes `results.json`.

    Settings are chosen with the first seed, by validation accuracy averaged over the levels and the target. With the
    chosen one every seed is run to exactly the target UA and judged there; and once more beyond all levels, for the
    curve, if some lie above the target.

    Args:
        settings ([`ComparisonSettings`]): What is compared.
        workers (`int`, defaults to 1): Processes; each gets an equal share of the threads.

    Returns:
        `dict`: What `results.json` holds.

    Raises:
        ValueError: A setting cannot work, or `output_dir` holds the starting points of other settings.
    """
    if workers < 1:
        raise ValueError(f"`workers` must be at least 1, got {workers}.")
    first, *_ = settings.seeds
    starts = _prepare(settings, workers)
    _check_retain(settings, starts[first])
    watch = ("validation",) if len(starts[first].splits.validation) else ("test",)
    if watch == ("test",):
        logger.warning("there is no validation set: settings are chosen on the test set, which flatters all of them")
    sweep: list[Job] = [
        (first, method.name, setting, watch, None) for method in settings.methods for setting in method.settings()
    ]
    _in_parallel(_work, settings, sweep, workers, "sweep")
    oracle = {seed: _judged(settings, start) for seed, start in starts.items()}
    chosen = {
        method.name: _choose(settings, starts[first], first, method.name, method.settings(), watch)
        for method in settings.methods
    }
    finals: list[Job] = []
    for seed in settings.seeds:
        target = target_of(settings, oracle[seed])
        for name, choice in chosen.items():
            finals += _finals(settings, seed, name, choice["setting"], target)
    _in_parallel(_work, settings, finals, workers, "chosen", fresh=True)
    results = {
        "title": settings.title,
        "seeds": list(settings.seeds),
        "levels": list(settings.levels),
        "target_ua": settings.target_ua,
        "scenario": settings.scenario.get("scenario"),
        "counts": starts[first].splits.summary()["counts"],
        "references": {str(seed): judged for seed, judged in oracle.items()},
        "methods": {
            name: {
                "title": METHODS[name].title,
                "needs_retain": METHODS[name].needs_retain,
                **choice,
                "seeds": {
                    str(seed): _both(settings, starts[seed], seed, name, choice, oracle[seed]) for seed in starts
                },
            }
            for name, choice in chosen.items()
        },
    }
    write_results(results, Path(settings.output_dir) / "results.json")
    return results


def target_of(settings: ComparisonSettings, references: dict[str, Any]) -> float:
    """The UA at which methods are judged, in percent."""
    if settings.target_ua == "oracle":
        return float(references["retrained"]["UA"])
    return float(settings.target_ua)


def _check_retain(settings: ComparisonSettings, start: Start) -> None:
    needy = [method.name for method in settings.methods if METHODS[method.name].needs_retain]
    if needy and not start.has_oracle:
        raise ValueError(
            f"`methods`: {', '.join(needy)} learn from retained examples, and the scenario "
            f"{settings.scenario.get('scenario')!r} retains none; leave them out."
        )


def _prepare(settings: ComparisonSettings, workers: int) -> dict[int, Start]:
    """The starting points of all seeds, those that are missing side by side."""
    starts = {seed: prepare_start(settings, seed, only="") for seed in settings.seeds}
    missing = [(seed, name) for seed, start in starts.items() for name in start.missing()]
    _in_parallel(_prepare_one, settings, missing, workers, "starting points", fresh=True)
    return starts


def _finals(settings: ComparisonSettings, seed: int, name: str, setting: dict[str, Any], target: float) -> list[Job]:
    """The runs of a chosen setting: one does for curve and target, unless a level lies near the target or beyond."""
    if target >= max(settings.levels) + BEYOND:
        return [(seed, name, setting, None, target)]
    return [(seed, name, setting, None, None), (seed, name, setting, (), target)]


def _in_parallel(
    work: Callable[..., None],
    settings: ComparisonSettings,
    jobs: Sequence[Any],
    workers: int,
    description: str,
    fresh: bool = False,
) -> None:
    """Does all jobs; with `fresh` each in a process of its own, so that what it takes can be measured."""
    if not jobs:
        return
    if workers == 1:
        for job in tqdm(jobs, desc=description):
            work(settings, job)
        return
    threads = max(1, torch.get_num_threads() // workers)
    pool: Executor = ThreadPoolExecutor(workers) if fresh else _processes(workers)
    with pool:
        submit = _alone if fresh else _in_worker
        waiting = [pool.submit(submit, work, settings, job, threads) for job in jobs]
        try:
            for done in tqdm(as_completed(waiting), total=len(waiting), desc=description):
                done.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _processes(count: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(count, mp_context=get_context("spawn"))


def _alone(work: Callable[..., None], settings: ComparisonSettings, job: Any, threads: int) -> None:
    """One job in a process that ends with it."""
    with _processes(1) as process:
        process.submit(_in_worker, work, settings, job, threads).result()


def _in_worker(work: Callable[..., None], settings: ComparisonSettings, job: Any, threads: int) -> None:
    from transformers.utils import logging as transformers_logging

    torch.set_num_threads(threads)
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    work(settings, job)


def _prepare_one(settings: ComparisonSettings, job: tuple[int, str]) -> None:
    seed, name = job
    prepare_start(settings, seed, only=name)


def _work(settings: ComparisonSettings, job: Job) -> None:
    seed, method, setting, watch, target = job
    run_once(settings, prepare_start(settings, seed), seed, method, setting, watch, target)


def _judged(settings: ComparisonSettings, start: Start) -> dict[str, Any]:
    """What is measured on the models that no method made."""
    path = start.folder / "judged.json"
    if path.exists():
        return json.loads(path.read_text())
    tensors = start.tensors(None, settings.data.get("image_column", "image"))
    names = ["pretrained", "retrained"] if start.has_oracle else ["pretrained"]
    judged = {name: {**judge(start.model(name), tensors), "cost": start.training(name)} for name in names}
    write_results(judged, path)
    return judged


def _choose(
    settings: ComparisonSettings,
    start: Start,
    seed: int,
    method: str,
    tried: list[dict[str, Any]],
    watch: tuple[str, ...],
) -> dict[str, Any]:
    """The best setting: the most levels reached, then the highest accuracy on the watched set, averaged over them."""
    scored = []
    for setting in tried:
        history = run_once(settings, start, seed, method, setting, watch)["history"]
        points = [point for level in settings.sweep_levels if (point := at_ua(history, level)) is not None]
        accuracy = float(np.mean([point[f"eval_{watch[0]}_accuracy"] for point in points])) if points else 0.0
        scored.append((len(points), accuracy, setting))
    reached, accuracy, setting = max(scored, key=lambda found: found[:2])
    return {"setting": setting, "tried": len(tried), "levels_reached": reached, "validation": 100 * accuracy}


def _both(
    settings: ComparisonSettings,
    start: Start,
    seed: int,
    name: str,
    choice: dict[str, Any],
    references: dict[str, Any],
) -> dict[str, Any]:
    """The curve is that of the first run, the judgement that of the last; often they are one."""
    finals = _finals(settings, seed, name, choice["setting"], target_of(settings, references))
    records = [
        run_once(settings, start, seed, name, setting, watch, target) for _, _, setting, watch, target in finals
    ]
    curve, at_target = records[0], records[-1]
    return {
        "history": curve["history"],
        "judged": at_target["judged"],
        "stopped": at_target["stopped"],
        "cost": at_target["cost"],
    }


__all__ = ["compare", "target_of"]

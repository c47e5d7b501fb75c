"""A comparison from start to end: starting points, sweeps, the chosen settings with every seed, results."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..files import read_json_object, write_json
from .choosing import sweep
from .jobs import Workers
from .runs import Run, evaluate_start, run_once
from .settings import ComparisonSettings
from .starting_point import StartingPoint, on_accelerator, prepare_start


logger = logging.getLogger(__name__)


def compare(settings: ComparisonSettings, workers: int = 1) -> dict[str, Any]:
    """
    Runs a comparison, or what is missing of it, and writes `results.json`.

    Settings are chosen with one seed, by the best validation accuracy at the target; the grids are widened for all
    methods alike, see [`~hf_invwnn.benchmark.choosing.sweep`]. With the chosen setting every pair of a starting model
    and a forget set is run, and evaluated at its best point, see [`~hf_invwnn.benchmark.best_point.BestPoint`].

    Args:
        settings ([`ComparisonSettings`]): The comparison.
        workers (`int`, defaults to 1): Processes; each gets an equal share of the threads.

    Returns:
        `dict`: The content of `results.json`.

    Raises:
        ValueError: A setting cannot work, or `output_dir` holds the starting points of other settings.
    """
    if workers < 1:
        raise ValueError(f"`workers` must be at least 1, got {workers}.")
    with Workers(workers) as processes:
        return _compare(settings, processes)


def _compare(settings: ComparisonSettings, workers: Workers) -> dict[str, Any]:
    first = settings.choosing_seed
    seeds = list(dict.fromkeys((first, *settings.seeds)))
    workers.run(_train, [(settings, seed, "") for seed in seeds], "splits")
    starts = {seed: prepare_start(settings, seed, only="") for seed in seeds}
    _check_retain(settings, starts[first])
    missing = [
        (settings, seed, name)
        for seed, start in starts.items()
        for name in start.missing()
        if seed in settings.seeds or name == "original"  # what is retrained is only reported
    ]
    workers.run(_train, missing, "starting points", fresh=_measures_processes())
    if starts[first].choosing_split == "test":
        logger.warning("there is no validation set: settings are chosen on the test set, which favours all of them")
    # That of the choosing seed is not reported; its images are kept for the sweep.
    workers.run(_references, list(starts.values()), "references")
    references = {seed: _references(starts[seed]) for seed in settings.seeds}
    target = target_of(settings, references.values())
    choices = sweep(settings.methods, settings.widenings, _Sweeps(settings, target, workers))
    final = {
        (row.name, pair): Run(
            settings, pair[0], row.method or row.name, choices[row.name]["setting"], target, False, pair[1], row.name
        )
        for pair in settings.pairs
        for row in settings.methods
    }
    workers.run(run_once, list(final.values()), "chosen", fresh=_measures_processes())
    results = {
        "title": settings.title,
        "settings": settings.results_hash(),
        "starts": {str(seed): settings.start_hash(seed) for seed in settings.seeds},
        "seeds": list(settings.seeds),
        "forget_sets": settings.forget_sets,
        "chosen_with": first,
        "levels": list(settings.levels),
        "target_ua": settings.target_ua,
        "target": target,
        "compared_with": settings.compared_with,
        "scenario": settings.scenario.get("scenario"),
        "counts": starts[first].splits.summary()["counts"],
        "references": {str(seed): metrics for seed, metrics in references.items()},
        "methods": {
            row.name: {
                "method": row.method or row.name,
                "title": row.title,
                "needs_forget": row.kind.needs_forget,
                "needs_retain": row.kind.needs_retain,
                "records_trajectory": row.kind.records_trajectory,
                **choices[row.name],
                "seeds": {name_of_pair(pair, settings): run_once(final[row.name, pair]) for pair in settings.pairs},
            }
            for row in settings.methods
        },
    }
    write_json(results, Path(settings.output_dir) / "results.json")
    return results


def name_of_pair(pair: tuple[int, int], settings: ComparisonSettings) -> str:
    """The seed, and behind a point the number of the forget set if there are several."""
    return f"{pair[0]}.{pair[1]}" if settings.forget_sets > 1 else str(pair[0])


def read_results(path: str | os.PathLike, settings: ComparisonSettings | None = None) -> dict[str, Any]:
    """
    The content of a file of results.

    Args:
        path (`str` or `os.PathLike`): The file.
        settings ([`ComparisonSettings`], *optional*): The comparison that they must be of.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is no JSON object of results, holds those of other settings, or lacks a run of a method.
    """
    if not Path(path).exists():
        raise FileNotFoundError(f"`table`: there is no file {path}; run the comparison first.")
    results = read_json_object(path)
    if missing := sorted({"title", "settings", "seeds", "methods", "references"} - results.keys()):
        raise ValueError(f"`table`: {path} lacks {missing} and holds no results of a comparison.")
    if settings is not None and results["settings"] != settings.results_hash():
        raise ValueError(f"`table`: {path} holds the results of other settings; run the comparison again.")
    pairs = {pair for method in results["methods"].values() for pair in method["seeds"]}
    for name, method in results["methods"].items():
        if lacking := sorted(pairs - method["seeds"].keys()):
            raise ValueError(f"`table`: {path} lacks seed {', '.join(lacking)} of {name}; run the comparison again.")
    return results


def target_of(settings: ComparisonSettings, references: Iterable[Mapping[str, Any]]) -> float:
    """The UA, in percent, at which methods are compared."""
    if settings.target_ua != "retrained":
        return float(settings.target_ua)
    return float(np.mean([models["retrained"]["UA"] for models in references]))


class _Sweeps:
    """Runs the settings of all rows with the choosing seed."""

    def __init__(self, settings: ComparisonSettings, target: float, workers: Workers) -> None:
        self.settings, self.target, self.workers = settings, target, workers

    def __call__(self, tried: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, list[dict[str, Any]]]:
        rows, seed = {row.name: row for row in self.settings.methods}, self.settings.choosing_seed
        runs = {
            name: [Run(self.settings, seed, rows[name].method or name, one, self.target, True) for one in settings]
            for name, settings in tried.items()
        }
        self.workers.run(run_once, [run for of_row in runs.values() for run in of_row], "sweep")
        return {name: [run_once(run) for run in of_row] for name, of_row in runs.items()}


def _measures_processes() -> bool:
    """Whether memory is that of a process, so that each run needs its own."""
    return not torch.cuda.is_available()


def _check_retain(settings: ComparisonSettings, start: StartingPoint) -> None:
    need_retain = [sweep.name for sweep in settings.methods if sweep.kind.needs_retain]
    if need_retain and not start.has_retrained:
        raise ValueError(
            f"`methods`: {', '.join(need_retain)} train on retained examples, and the scenario "
            f"{settings.scenario.get('scenario')!r} retains none; leave them out."
        )


def _train(job: tuple[ComparisonSettings, int, str]) -> None:
    settings, seed, name = job
    prepare_start(settings, seed, only=name)


def _references(start: StartingPoint) -> dict[str, Any]:
    """Metrics and cost of the original and the retrained model."""
    path = start.folder / "references.json"
    names = [name for name in ("original", "retrained") if (start.folder / name).exists()]
    if path.exists() and (references := read_json_object(path)).keys() >= set(names):
        return references
    datasets = start.datasets()
    references = {
        name: {**evaluate_start(on_accelerator(start.model(name)), datasets), "cost": start.training(name)}
        for name in names
    }
    write_json(references, path)
    return references


__all__ = ["compare", "name_of_pair", "read_results", "target_of"]

"""A comparison from start to end: starting points, sweeps, the chosen settings with every seed, results."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..files import read_json_object, write_json
from .equal_forgetting import at_ua
from .jobs import run_jobs
from .runs import READ_OFF_MARGIN, Run, evaluate_start, run_once
from .settings import ComparisonSettings, MethodSweep
from .starting_point import StartingPoint, prepare_start


logger = logging.getLogger(__name__)


def compare(settings: ComparisonSettings, workers: int = 1) -> dict[str, Any]:
    """
    Runs a comparison, or what is missing of it, and writes `results.json`.

    Settings are chosen with one seed, by validation accuracy averaged over the levels and the target. With the chosen
    setting every seed is run to exactly the target UA and evaluated there; and once more beyond all levels, for
    the curve, if some lie above the target.

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
    first = settings.choosing_seed
    starts = {seed: prepare_start(settings, seed, only="") for seed in dict.fromkeys((first, *settings.seeds))}
    _check_retain(settings, starts[first])
    missing = [
        (settings, seed, name)
        for seed, start in starts.items()
        for name in start.missing()
        if seed in settings.seeds or name == "original"  # what is retrained is only reported
    ]
    run_jobs(_train, missing, workers, "starting points", fresh=True)
    eval_split = "validation" if len(starts[first].splits.validation) else "test"
    if eval_split == "test":
        logger.warning("there is no validation set: settings are chosen on the test set, which favours all of them")
    sweeps = {method.name: _sweep(settings, first, method, eval_split) for method in settings.methods}
    run_jobs(_run, [run for runs in sweeps.values() for run in runs], workers, "sweep")
    references = {seed: _references(starts[seed]) for seed in settings.seeds}
    choices = {name: _choose(settings, starts[first], runs, eval_split) for name, runs in sweeps.items()}
    final = {
        (sweep.name, seed): _final_runs(
            settings, seed, sweep, choices[sweep.name]["setting"], target_of(settings, references[seed])
        )
        for seed in settings.seeds
        for sweep in settings.methods
    }
    run_jobs(_run, [run for runs in final.values() for run in runs], workers, "chosen", fresh=True)
    results = {
        "title": settings.title,
        "settings": settings.results_hash(),
        "seeds": list(settings.seeds),
        "chosen_with": first,
        "levels": list(settings.levels),
        "target_ua": settings.target_ua,
        "dataset": settings.dataset,
        "scenario": settings.scenario.get("scenario"),
        "counts": starts[first].splits.summary()["counts"],
        "references": {str(seed): metrics for seed, metrics in references.items()},
        "methods": {
            sweep.name: {
                "method": sweep.method or sweep.name,
                "title": sweep.title,
                "needs_forget": sweep.kind.needs_forget,
                "needs_retain": sweep.kind.needs_retain,
                **choices[sweep.name],
                "at_edge": sweep.at_edge(choices[sweep.name]["setting"]),
                "seeds": {str(seed): _final_result(final[sweep.name, seed], starts[seed]) for seed in settings.seeds},
            }
            for sweep in settings.methods
        },
    }
    write_json(results, Path(settings.output_dir) / "results.json")
    return results


def finished_results(settings: ComparisonSettings) -> dict[str, Any]:
    """
    The content of `results.json` of a finished comparison.

    Args:
        settings ([`ComparisonSettings`]): The comparison.

    Raises:
        FileNotFoundError: It has not been run.
        ValueError: The file holds the results of other settings, or a seed is missing for a method.
    """
    path = Path(settings.output_dir) / "results.json"
    if not path.exists():
        raise FileNotFoundError(f"`output_dir`: there is no {path}; run the comparison first.")
    results = read_json_object(path)
    if results.get("settings") != settings.results_hash():
        raise ValueError(f"`output_dir`: {path} holds the results of other settings; run the comparison again.")
    for name, method in results["methods"].items():
        if missing := sorted(set(map(str, settings.seeds)) - set(method["seeds"])):
            raise ValueError(
                f"`output_dir`: {path} lacks seed {', '.join(missing)} of {name}; run the comparison again."
            )
    return results


def target_of(settings: ComparisonSettings, references: Mapping[str, Any]) -> float:
    """The UA at which methods are evaluated, in percent."""
    return float(references["retrained"]["UA"] if settings.target_ua == "retrained" else settings.target_ua)


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


def _run(run: Run) -> None:
    run_once(run)


def _sweep(settings: ComparisonSettings, seed: int, method: MethodSweep, eval_split: str) -> list[Run]:
    return [
        Run(settings, seed, method.method or method.name, setting, (eval_split,), row=method.name)
        for setting in method.settings()
    ]


def _final_runs(
    settings: ComparisonSettings, seed: int, sweep: MethodSweep, setting: Mapping[str, Any], target: float
) -> list[Run]:
    """The runs of a chosen setting: for the curve and for the target, one run unless a level lies near the target."""
    method = sweep.method or sweep.name
    at_target = Run(settings, seed, method, setting, None, target, row=sweep.name)
    if target >= max(settings.levels) + READ_OFF_MARGIN:
        return [at_target]
    return [dataclasses.replace(at_target, target_ua=None), dataclasses.replace(at_target, eval_splits=())]


def _references(start: StartingPoint) -> dict[str, Any]:
    """Metrics and cost of the original and the retrained model."""
    path = start.folder / "references.json"
    if path.exists():
        return read_json_object(path)
    datasets = start.datasets()
    names = ["original", "retrained"] if start.has_retrained else ["original"]
    references = {
        name: {**evaluate_start(start.model(name), datasets), "cost": start.training(name)} for name in names
    }
    write_json(references, path)
    return references


def _choose(
    settings: ComparisonSettings, start: StartingPoint, runs: Sequence[Run], eval_split: str
) -> dict[str, Any]:
    """The setting that reaches the most levels, then the one with the highest accuracy averaged over them."""
    scored = []
    for run in runs:
        history = run_once(run, start)["history"]
        points = [point for level in settings.sweep_levels if (point := at_ua(history, level)) is not None]
        accuracy = float(np.mean([point[f"eval_{eval_split}_accuracy"] for point in points])) if points else 0.0
        scored.append((len(points), accuracy, run.setting))
    reached, accuracy, setting = max(scored, key=lambda score: score[:2])
    return {"setting": setting, "tried": len(runs), "levels_reached": reached, "validation": 100 * accuracy}


def _final_result(runs: Sequence[Run], start: StartingPoint) -> dict[str, Any]:
    """The curve of the first run and the metrics of the last; often they are one."""
    results = [run_once(run, start) for run in runs]
    curve, at_target = results[0], results[-1]
    return {
        "history": curve["history"],
        "metrics": at_target["metrics"],
        "stopped": at_target["stopped"],
        "cost": at_target["cost"],
    }


__all__ = ["compare", "finished_results", "target_of"]

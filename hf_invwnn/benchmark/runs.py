"""One run of a comparison: a method with one setting from one starting point, and its cost."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..files import read_json_object, write_json
from ..image_classification import evaluate_model, predict
from ..methods import find_method, make_unlearner
from ..metrics import ua, unlearning_accuracy
from ..trainer.arguments import UnlearningArguments
from ..trainer.identity import own_parameters
from ..trainer.quiet import QUIET, without_printing, without_warnings
from ..trainer.unlearner import Unlearner
from .best_point import BestPoint
from .memory import peak_memory
from .passes import counted_passes
from .settings import ComparisonSettings
from .starting_point import StartingPoint, prepare_start


# Points of UA between two evaluations of the other sets, which are larger than D_f, for a curve.
_UA_STEP = 2.5


@dataclass(frozen=True)
class Run:
    """
    One run.

    Args:
        settings ([`ComparisonSettings`]): The comparison.
        seed (`int`), forget_set (`int`): The seed of the starting point, and which of its forget sets.
        method (`str`), setting (`dict`): The method, and its arguments.
        target_ua (`float`): UA, in percent, at which methods are compared.
        is_sweep (`bool`, defaults to `False`): Whether the run is to choose a setting: only the validation accuracy
            at the target is measured.
        row (`str`, *optional*): The row of the comparison; the method by default.
    """

    settings: ComparisonSettings
    seed: int
    method: str
    setting: Mapping[str, Any]
    target_ua: float
    is_sweep: bool = False
    forget_set: int = 0
    row: str | None = None

    @property
    def path(self) -> Path:
        """The file of its result."""
        settings, kind = self.settings, "sweep" if self.is_sweep else "at_target"
        name = settings.run_hash(self.method, self.setting, self.seed, self.forget_set, self.target_ua)
        return Path(settings.output_dir) / "runs" / f"seed_{self.seed}" / kind / f"{self.method}-{name}.json"

    @property
    def is_first(self) -> bool:
        """Whether it is of the first reported pair, whose model is saved."""
        return not self.is_sweep and (self.seed, self.forget_set) == (self.settings.seeds[0], 0)

    @property
    def has_curve(self) -> bool:
        return bool(self.settings.levels) and not self.is_sweep

    def goes_on(self) -> bool:
        """
        Whether it is run a second time, beyond the target: what crosses a target while it is destroyed may be better
        later. A method that records trajectories, or recovers, ends at the target.
        """
        return not find_method(self.method).records_trajectory and not self.setting.get("recovery_steps")


def run_once(run: Run, start: StartingPoint | None = None) -> dict[str, Any]:
    """
    Unlearns, unless the result exists already.

    Args:
        run ([`Run`]): The run.
        start ([`StartingPoint`], *optional*): Its starting point; loaded by default.

    Returns:
        `dict` with `validation` (accuracy in percent at the best point, see [`BestPoint`], or `None` if the run did
        not reach the target), `highest_ua`, `history`, `stopped`, `cost` of the best point, `passes` of all runs, and,
        if it is no sweep, the `metrics` of the best point.
    """
    if run.path.exists():
        return read_json_object(run.path)
    settings = run.settings
    start = (start or prepare_start(settings, run.seed, only="original")).with_forget_set(run.forget_set)
    split = start.choosing_split
    datasets = start.datasets(("forget", split) if run.is_sweep else None)
    eval_sets = _evaluation_sets(run, datasets, split)
    tolerance = max(UnlearningArguments.ua_tolerance, 100 / len(datasets["forget"]))
    best = BestPoint(run.target_ua, tolerance, split, {name: len(dataset) for name, dataset in eval_sets.items()})
    with peak_memory() as memory, without_warnings():
        unlearner, of_runs = _train(run, start, datasets, eval_sets, best)
    result = {
        "method": run.method,
        "setting": dict(run.setting),
        "target_ua": run.target_ua,
        "validation": 100 * best.accuracy if best.is_reached else None,
        "highest_ua": best.highest_ua,
        "cost": {**best.cost, "memory": memory.get("bytes")},
        **of_runs,
    }
    if not run.is_sweep:
        result["metrics"] = _metrics_at(best, unlearner, datasets)
        if best.is_reached and run.is_first:
            unlearner.save_model(str(unlearned_folder(settings, run.row or run.method)))
    run.path.parent.mkdir(parents=True, exist_ok=True)
    write_json(result, run.path)
    return result


def _train(
    run: Run, start: StartingPoint, datasets: Mapping[str, Any], eval_sets: Mapping[str, Any], best: BestPoint
) -> tuple[Unlearner, dict[str, Any]]:
    """To the target and, if the run goes on, once more beyond it; the history and the stop reason are of the first."""
    passes, found = {"forward": 0, "backward": 0}, {}
    for beyond in (False, True) if run.goes_on() else (False,):
        # A curve ends at the target; beyond it only the best point counts.
        sets = {best.split: eval_sets[best.split]} if beyond else eval_sets
        unlearner = build_unlearner(run, start, datasets, sets, best, beyond)
        with counted_passes(unlearner.accelerator.unwrap_model(unlearner.model)) as counted:
            best.begin_run(counted, run.settings.patience if beyond else None)
            unlearner.train()
        passes = {name: value + getattr(counted, name) for name, value in passes.items()}
        if not beyond:
            history = _history(unlearner.history, eval_sets if run.has_curve else ())
            found = {"stopped": unlearner.stop_reason, "history": history}
    return unlearner, {**found, "passes": passes}


def _metrics_at(best: BestPoint, unlearner: Unlearner, datasets: Mapping[str, Any]) -> dict[str, float] | None:
    if not best.is_reached:
        return None
    model = unlearner.accelerator.unwrap_model(unlearner.model)
    best.restore(model)
    return evaluate_start(model, datasets)


def _history(history: Sequence[Mapping[str, float]], eval_sets: Iterable[str]) -> list[dict[str, float]]:
    """The points at which some sets were evaluated, and of those the step, UA and accuracies."""
    points = [point for point in history if all(f"eval_{name}_accuracy" in point for name in eval_sets)]
    return [
        {name: value for name, value in point.items() if name in ("step", "ua") or name.endswith("_accuracy")}
        for point in points
    ]


def unlearned_folder(settings: ComparisonSettings, row: str) -> Path:
    """Folder of the model of a row with the first seed, at the target UA."""
    return Path(settings.output_dir) / "unlearned" / row.replace(" ", "_")


def build_unlearner(
    run: Run,
    start: StartingPoint,
    datasets: Mapping[str, Any],
    eval_sets: Mapping[str, Any],
    best: BestPoint | None = None,
    beyond: bool = False,
) -> Unlearner:
    """
    The unlearner of a run.

    Args:
        run ([`Run`]), start ([`StartingPoint`]): The run, and its starting point.
        datasets (`dict[str, Dataset]`): Holds `"forget"`, and `"retain"` if it is loaded already.
        eval_sets (`dict[str, Dataset]`): Sets to evaluate in addition to D_f.
        best ([`BestPoint`], *optional*): Keeps the best point.
        beyond (`bool`, defaults to `False`): Go on beyond the target, to the end of the budget.
    """
    method = find_method(run.method)
    own = own_parameters(method) | {"surrogates"}
    known = {item.name for item in dataclasses.fields(UnlearningArguments)}
    arguments = {
        **QUIET,
        "per_device_eval_batch_size": 1000,
        "dataloader_pin_memory": torch.cuda.is_available(),
        "recovery_steps": 0,  # unless the file asks for it, so that methods differ in what they are alone
        **run.settings.unlearning,
        **{name: value for name, value in run.setting.items() if name in known and name not in own},
    }
    retain = None
    if method.needs_retain:
        retain = datasets["retain"] if "retain" in datasets else start.datasets(("retain",)).get("retain")
    arguments |= _length(run, arguments, datasets["forget"], retain)
    arguments |= {
        "output_dir": str(Path(run.settings.output_dir) / "scratch" / f"{os.getpid()}"),
        "seed": run.seed,
        "target_ua": None if beyond else run.target_ua,
    }
    unlearner = make_unlearner(
        run.method,
        start.model(),
        UnlearningArguments(**arguments),
        datasets["forget"],
        retain_dataset=retain,
        eval_dataset=dict(eval_sets),
        processing_class=start.processor(),
        evaluate_others=None if best is None else _WhereNeeded(best, run.has_curve and not beyond),
        callbacks=[] if best is None else [best],
        **{name: value for name, value in run.setting.items() if name in own},
    )
    return without_printing(unlearner)


def evaluate_start(model: Any, datasets: Mapping[str, Any]) -> dict[str, float]:
    """All metrics that the sets allow; RA, MIA and the loss AUC need a retain set."""
    metrics: dict[str, float] = (
        evaluate_model(model, {name: datasets[name] for name in ("forget", "retain", "test")}, batch_size=1000)
        if "retain" in datasets
        else _accuracies(model, {name: datasets[name] for name in ("forget", "test")})
    )
    others = {"forget_clean": "forget_clean", "triggered": "attack_success"}
    return metrics | {
        name: 100 * _accuracy(model, datasets[split]) for split, name in others.items() if split in datasets
    }


def _evaluation_sets(run: Run, datasets: Mapping[str, Any], split: str) -> dict[str, Any]:
    """The set that points are chosen with, and for a curve all others; of D_r as many examples as the test set has."""
    if not run.has_curve:
        return {split: datasets[split]}
    sets = {name: dataset for name, dataset in datasets.items() if name != "forget"}
    if "retain" in sets:
        sets["retain"] = _at_most(sets["retain"], len(datasets["test"]))
    return sets


class _WhereNeeded:
    """Whether the other sets are evaluated: at and beyond the target, and for a curve where UA has moved."""

    def __init__(self, best: BestPoint, has_curve: bool) -> None:
        self.best, self.has_curve, self.last = best, has_curve, -math.inf

    def __call__(self, metrics: Mapping[str, float]) -> bool:
        value = ua(metrics)
        if not self.best.is_at_target(value) and not (self.has_curve and abs(value - self.last) >= _UA_STEP):
            return False
        self.last = value
        return True


def _length(run: Run, arguments: Mapping[str, Any], forget: Any, retain: Any) -> dict[str, Any]:
    """
    The same budget of steps for all: 14 intervals in a round that records a trajectory, one in the others, which is an
    epoch on D_r for a method that needs whole ones.
    """
    settings, method = run.settings, find_method(run.method)
    batch = arguments.get("per_device_train_batch_size", UnlearningArguments.per_device_train_batch_size)
    if method.needs_whole_epochs:
        steps = -(-len(retain) // batch)
        return {
            "num_snapshots": 2,
            "snapshot_strategy": "epoch",
            "num_rewinds": max(1, settings.budget_steps // steps),
        }
    if not method.records_trajectory:
        # A round of NegMerge has an interval for each of its runs, or several; those of the others have one.
        intervals = run.setting.get("num_snapshots", 2) - 1
        steps = settings.measure_steps if intervals == 1 else settings.interval_steps or 1
        return {
            "num_snapshots": intervals + 1,
            "snapshot_strategy": "steps",
            "snapshot_steps": steps,
            "num_rewinds": max(1, settings.budget_steps // (steps * intervals)),
            "warmup_intervals": 0,
        }
    intervals = arguments.get("num_snapshots", 15) - 1 + arguments.get("warmup_intervals", 0)
    if settings.interval_steps is not None:
        rounds = max(1, settings.budget_steps // (settings.interval_steps * intervals))
        return {"num_rewinds": rounds, "snapshot_strategy": "steps", "snapshot_steps": settings.interval_steps}
    steps = -(-len(forget) // batch)
    return {"num_rewinds": max(1, settings.budget_steps // (steps * intervals))}


def _at_most(dataset: Any, count: int) -> torch.utils.data.Subset:
    """Examples spread evenly over a data set."""
    indices = torch.linspace(0, len(dataset) - 1, min(count, len(dataset))).long()
    return torch.utils.data.Subset(dataset, indices.tolist())


def _accuracies(model: Any, datasets: Mapping[str, Any]) -> dict[str, float]:
    """UA and TA, without a retain set."""
    outcomes = {name: predict(model, dataset, 1000) for name, dataset in datasets.items()}
    return unlearning_accuracy(
        np.concatenate([logits.argmax(axis=1) for logits, _ in outcomes.values()]),
        np.concatenate([labels for _, labels in outcomes.values()]),
        np.repeat(list(outcomes), [len(labels) for _, labels in outcomes.values()]),
    )


def _accuracy(model: Any, dataset: Any) -> float:
    logits, labels = predict(model, dataset, 1000)
    return float((logits.argmax(axis=1) == labels).mean())


__all__ = ["Run", "build_unlearner", "evaluate_start", "run_once", "unlearned_folder"]

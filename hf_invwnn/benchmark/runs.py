"""One run of a comparison: a method with one setting from one starting point, and its cost."""

from __future__ import annotations

import dataclasses
import math
import os
import time
from collections.abc import Mapping
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
from .memory import peak_memory
from .settings import ComparisonSettings
from .starting_point import StartingPoint, prepare_start


# Points of UA that a run goes beyond the last level, so that its curve can be read off there.
READ_OFF_MARGIN = 2.0
# Points of UA between two evaluations of the other sets, which are larger than D_f.
_UA_STEP = 2.5


@dataclass(frozen=True)
class Run:
    """
    One run.

    Args:
        settings ([`ComparisonSettings`]): The comparison.
        seed (`int`): The seed of the starting point.
        method (`str`), setting (`dict`): The method, and its arguments.
        eval_splits (`tuple[str, ...]`, *optional*): Sets to evaluate in addition to D_f. By default all but the
            validation set; of D_r as many examples as the test set has.
        target_ua (`float`, *optional*): Stop exactly there and evaluate the model. By default the run goes beyond the
            last level, and only its curve is saved.
        row (`str`, *optional*): The row of the comparison; the method by default.
    """

    settings: ComparisonSettings
    seed: int
    method: str
    setting: Mapping[str, Any]
    eval_splits: tuple[str, ...] | None = None
    target_ua: float | None = None
    row: str | None = None

    @property
    def path(self) -> Path:
        """The file of its result."""
        kind = "curve" if self.eval_splits is None else "sweep"
        kind = "at_target" if self.target_ua is not None else kind
        name = f"{self.method}-{self.settings.run_hash(self.method, self.setting, self.seed)}"
        return Path(self.settings.output_dir) / "runs" / f"seed_{self.seed}" / kind / f"{name}.json"

    @property
    def stop_at(self) -> float:
        """UA, in percent, at which it stops."""
        beyond = max(self.settings.sweep_levels) + READ_OFF_MARGIN
        return min(100.0, beyond if self.target_ua is None else self.target_ua)


def run_once(run: Run, start: StartingPoint | None = None) -> dict[str, Any]:
    """
    Unlearns once, unless the result exists already.

    Args:
        run ([`Run`]): The run.
        start ([`StartingPoint`], *optional*): Its starting point; loaded by default.

    Returns:
        `dict` with `history`, `stopped`, `cost` and, with a target UA, `metrics`, which is `None` if the run did not
        reach the target.
    """
    if run.path.exists() and (result := read_json_object(run.path)).get("target_ua") == run.target_ua:
        return result
    settings, start = run.settings, start or prepare_start(run.settings, run.seed, only="original")
    needs_all = run.eval_splits is None or run.target_ua is not None
    datasets = start.datasets(None if needs_all else ("forget", *(run.eval_splits or ())))
    eval_sets = _evaluation_sets(run, datasets)
    unlearner = build_unlearner(run, start, datasets, eval_sets)
    with peak_memory() as memory:
        began = time.perf_counter()
        with without_warnings():
            unlearner.train()
        seconds = time.perf_counter() - began
    history = unlearner.history
    result = {
        "method": run.method,
        "setting": dict(run.setting),
        "seed": run.seed,
        "target_ua": run.target_ua,
        "stopped": unlearner.stop_reason,
        "history": [point for point in history if all(f"eval_{name}_accuracy" in point for name in eval_sets)],
        "cost": {"steps": history[-1]["step"], "seconds": seconds, "memory": memory.get("bytes")},
    }
    if run.target_ua is not None:
        tolerance = max(unlearner.args.ua_tolerance, 100 / len(datasets["forget"]))
        reached = history[-1]["ua"] >= run.target_ua - tolerance
        result["metrics"] = evaluate_start(unlearner.model, datasets) if reached else None
        if reached and run.seed == settings.seeds[0]:
            unlearner.save_model(str(unlearned_folder(settings, run.row or run.method)))
    run.path.parent.mkdir(parents=True, exist_ok=True)
    write_json(result, run.path)
    return result


def unlearned_folder(settings: ComparisonSettings, row: str) -> Path:
    """Folder of the model of a row with the first seed, at the target UA."""
    return Path(settings.output_dir) / "unlearned" / row.replace(" ", "_")


def build_unlearner(
    run: Run, start: StartingPoint, datasets: Mapping[str, Any], eval_sets: Mapping[str, Any]
) -> Unlearner:
    """
    The unlearner of a run.

    Args:
        run ([`Run`]), start ([`StartingPoint`]): The run, and its starting point.
        datasets (`dict[str, Dataset]`): Holds `"forget"`, and `"retain"` if it is loaded already.
        eval_sets (`dict[str, Dataset]`): Sets to evaluate in addition to D_f.
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
        "target_ua": run.stop_at,
    }
    unlearner = make_unlearner(
        run.method,
        start.model(),
        UnlearningArguments(**arguments),
        datasets["forget"],
        retain_dataset=retain,
        eval_dataset=dict(eval_sets),
        processing_class=start.processor(),
        # A round of a method that records trajectories is long, and all sets are evaluated after each.
        evaluate_others=None if method.records_trajectory or not eval_sets else _EveryFewPoints(run.stop_at),
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


def _evaluation_sets(run: Run, datasets: Mapping[str, Any]) -> dict[str, Any]:
    # The setting was chosen on the validation set, so a curve does not need it.
    names = [name for name in datasets if name not in ("forget", "validation")]
    sets = {name: datasets[name] for name in (names if run.eval_splits is None else run.eval_splits)}
    if "retain" in sets:
        sets["retain"] = _at_most(sets["retain"], len(datasets["test"]))
    return sets


class _EveryFewPoints:
    """Whether UA has moved, or the end is near, so that the other sets are evaluated."""

    def __init__(self, stop_at: float) -> None:
        self.stop_at, self.last = stop_at, -math.inf

    def __call__(self, metrics: Mapping[str, float]) -> bool:
        value = ua(metrics)
        if abs(value - self.last) < _UA_STEP and value < self.stop_at - _UA_STEP:
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
        return {
            "num_snapshots": 2,
            "snapshot_strategy": "steps",
            "snapshot_steps": settings.measure_steps,
            "num_rewinds": max(1, settings.budget_steps // settings.measure_steps),
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


__all__ = ["READ_OFF_MARGIN", "Run", "build_unlearner", "evaluate_start", "run_once", "unlearned_folder"]

"""One run of a comparison: a method with one setting on one starting point, and what it cost."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from ..base_unlearner import Unlearner
from ..baselines import find_method, make_unlearner
from ..metrics import judge_model
from ..metrics.judge import classify
from ..report import write_results
from ..training_args import UnlearningArguments
from .memory import peak_memory
from .settings import ComparisonSettings, own_parameters
from .start import Start


# How far beyond the last level a curve must go for the level to be read off.
BEYOND = 2.0
# Points of UA between two looks at the watched sets, which are larger than D_f.
_APART = 2.5
_QUIET = {
    "save_strategy": "no",
    "logging_strategy": "no",
    "report_to": "none",
    "disable_tqdm": True,
    "per_device_eval_batch_size": 1000,
    "dataloader_pin_memory": torch.cuda.is_available(),
}


def run_once(
    settings: ComparisonSettings,
    start: Start,
    seed: int,
    method: str,
    setting: Mapping[str, Any],
    watch: tuple[str, ...] | None,
    target_ua: float | None = None,
) -> dict[str, Any]:
    """
    Unlearns once, unless the run is on the disk already.

    Args:
        settings ([`ComparisonSettings`]): What is compared.
        start ([`Start`]), seed (`int`): Where it begins.
        method (`str`), setting (`dict`): What is run.
        watch (`tuple[str, ...]`, *optional*): Sets to evaluate along the way, beside D_f; by default all but the
            validation set. Of D_r as many examples as there are in the test set.
        target_ua (`float`, *optional*): Stop exactly there and judge the model. By default the run goes on beyond the
            last level, and only its curve is kept.

    Returns:
        `dict` with `history`, `stopped`, `cost`, and with `target_ua` also `judged`, or `None` if it was not reached.
    """
    kind = "at_target" if target_ua is not None else "curve" if watch is None else "sweep"
    name = f"{method}-{settings.run_hash(method, setting, seed)}"
    path = Path(settings.output_dir) / "runs" / f"seed_{seed}" / kind / f"{name}.json"
    if path.exists() and (record := json.loads(path.read_text())).get("target_ua") == target_ua:
        return record
    image_column = settings.data.get("image_column", "image")
    tensors = start.tensors(None if watch is None or target_ua is not None else ("forget", *watch), image_column)
    stop_at = max(settings.sweep_levels) + BEYOND if target_ua is None else target_ua
    # What a setting was chosen on says nothing new of it.
    names = [name for name in tensors if name not in ("forget", "validation")] if watch is None else watch
    watched = {name: tensors[name] for name in names}
    if "retain" in watched:
        watched["retain"] = _at_most(watched["retain"], len(tensors["test"]))
    unlearner = build_unlearner(settings, start, seed, method, setting, tensors, watched, min(100.0, stop_at))
    if not find_method(method).rewinds:  # its turns are long, and each is looked at
        _measure_sparsely(unlearner, tuple(watched), min(100.0, stop_at))
    with peak_memory() as memory:
        began = time.perf_counter()
        unlearner.train()
        seconds = time.perf_counter() - began
    record = {
        "method": method,
        "setting": dict(setting),
        "seed": seed,
        "target_ua": target_ua,
        "stopped": unlearner.stop_reason,
        "history": [point for point in unlearner.history if all(f"eval_{name}_accuracy" in point for name in watched)],
        "cost": {"steps": unlearner.history[-1]["step"], "seconds": seconds, "memory": memory.get("bytes")},
    }
    if target_ua is not None:
        near = max(unlearner.args.ua_tolerance, 100 / len(tensors["forget"]))
        reached = unlearner.history[-1]["ua"] >= target_ua - near
        record["judged"] = judge(unlearner.model, tensors) if reached else None
        if reached and seed == settings.seeds[0]:
            unlearner.save_model(str(unlearned_folder(settings, method)))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_results(record, path)
    return record


def _measure_sparsely(unlearner: Unlearner, watched: tuple[str, ...], stop_at: float) -> None:
    """Looks at D_f after every turn, and at the watched sets where UA has moved or the end is near."""
    measure, last = unlearner.unlearning.measure, -math.inf

    def sparse(splits: Sequence[str] | None = None) -> dict[str, float]:
        nonlocal last
        if splits is not None or not watched:
            return measure(splits)
        metrics = measure(("forget",))
        ua = 100 * (1 - metrics["eval_forget_accuracy"])
        if abs(ua - last) >= _APART or ua >= stop_at - _APART:
            last = ua
            metrics |= measure(watched)
        return metrics

    unlearner.unlearning.measure = sparse


def unlearned_folder(settings: ComparisonSettings, method: str) -> Path:
    """Where the model lies that a method made of the first seed's, at the target UA."""
    return Path(settings.output_dir) / "unlearned" / method


def build_unlearner(
    settings: ComparisonSettings,
    start: Start,
    seed: int,
    method: str,
    setting: Mapping[str, Any],
    tensors: Mapping[str, Any],
    watched: Mapping[str, Any],
    stop_at: float,
) -> Unlearner:
    """
    The unlearner of a run.

    Args:
        settings ([`ComparisonSettings`]), start ([`Start`]), seed (`int`), method (`str`), setting (`dict`): As for
            [`run_once`].
        tensors (`dict[str, Dataset]`): Holds `"forget"`; `"retain"` is taken from it if the method needs it.
        watched (`dict[str, Dataset]`): Sets to evaluate at every point, beside D_f.
        stop_at (`float`): UA, in percent.
    """
    own = own_parameters(method)
    known = {item.name for item in dataclasses.fields(UnlearningArguments)}
    arguments = {**_QUIET, **settings.unlearning, **{n: v for n, v in setting.items() if n in known and n not in own}}
    arguments |= _length(settings, method, arguments, tensors)
    args = UnlearningArguments(
        **{
            **arguments,
            "output_dir": str(Path(settings.output_dir) / "scratch" / f"{os.getpid()}"),
            "seed": seed,
            "target_ua": stop_at,
        }
    )
    return make_unlearner(
        method,
        start.model(),
        args,
        tensors["forget"],
        retain_dataset=_retained(start, method, tensors, settings),
        eval_dataset=dict(watched),
        processing_class=start.processor(),
        **{name: value for name, value in setting.items() if name in own},
    )


def _length(
    settings: ComparisonSettings, method: str, arguments: Mapping[str, Any], tensors: Mapping[str, Any]
) -> dict[str, Any]:
    """The same budget of steps for all: turns of 14 intervals where trajectories are recorded, short ones else."""
    if not find_method(method).rewinds:
        turns = max(1, settings.budget_steps // settings.measure_steps)
        return {
            "num_snapshots": 2,
            "snapshot_strategy": "steps",
            "snapshot_steps": settings.measure_steps,
            "num_rewinds": turns,
            "warmup_intervals": 0,
        }
    intervals = arguments.get("num_snapshots", 15) - 1 + arguments.get("warmup_intervals", 0)
    if settings.interval_steps is not None:
        turns = max(1, settings.budget_steps // (settings.interval_steps * intervals))
        return {"num_rewinds": turns, "snapshot_strategy": "steps", "snapshot_steps": settings.interval_steps}
    batch = arguments.get("per_device_train_batch_size", UnlearningArguments.per_device_train_batch_size)
    steps = -(-len(tensors["forget"]) // batch)
    return {"num_rewinds": max(1, settings.budget_steps // (steps * intervals))}


def _retained(start: Start, method: str, tensors: Mapping[str, Any], settings: ComparisonSettings) -> Any:
    if not find_method(method).needs_retain:
        return None
    if "retain" in tensors:
        return tensors["retain"]
    return start.tensors(("retain",), settings.data.get("image_column", "image")).get("retain")


def judge(model: Any, tensors: Mapping[str, Any]) -> dict[str, float]:
    """Every metric that the sets allow, in percent; without a retain set there is no RA and no MIA."""
    sets = {name: tensors[name] for name in ("forget", "retain", "test") if name in tensors}
    accuracy = {
        name: 100 * _accuracy(model, tensors[name]) for name in tensors if name not in ("retain", "validation")
    }
    judged: dict[str, float] = (
        judge_model(model, sets, batch_size=1000)
        if "retain" in sets
        else {"UA": 100 - accuracy["forget"], "TA": accuracy["test"]}
    )
    return judged | {name: accuracy[name] for name in ("forget_clean", "triggered") if name in accuracy}


def _at_most(dataset: Any, count: int) -> torch.utils.data.Subset:
    """Examples spread evenly over a set."""
    taken = torch.linspace(0, len(dataset) - 1, min(count, len(dataset))).long()
    return torch.utils.data.Subset(dataset, taken.tolist())


def _accuracy(model: Any, dataset: Any) -> float:
    logits, labels = classify(model, dataset, 1000)
    return float((logits.argmax(axis=1) == labels).mean())


__all__ = ["BEYOND", "build_unlearner", "judge", "run_once", "unlearned_folder"]

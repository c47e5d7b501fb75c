"""One run of `recover.py` or `recovery_defaults.py`: unlearn from a starting point with one setting, and measure."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from transformers.utils import logging

from hf_invwnn import UnlearningArguments
from hf_invwnn.benchmark import ComparisonSettings, StartingPoint, evaluate_start, prepare_start, read_settings
from hf_invwnn.evaluation import left_behind, relearn
from hf_invwnn.files import read_json_object, write_json
from hf_invwnn.image_classification import predict
from hf_invwnn.methods import make_unlearner
from hf_invwnn.trainer.quiet import QUIET, without_printing, without_warnings


# Plan, local copies of data, folder of finished runs, comparison, seed, setting.
Job = tuple[dict[str, Any], Sequence[str] | None, str, str, int, dict[str, Any]]
# What of a setting is an argument of the method and not of `UnlearningArguments`.
_OF_METHOD = ("surrogates", "predictor", "deviations", "share", "take_out_label")
LOCAL_HELP = "Local copies of the data: a folder for all comparisons, or HUB_ID=FOLDER for each data set."


def read_comparison(plan: Mapping[str, Any], datasets: Sequence[str] | None, comparison: str) -> ComparisonSettings:
    """The data, the model and the scenario of a comparison; `scenario` of the plan replaces that of its file."""
    chosen = plan["comparisons"][comparison]
    settings = read_settings(chosen["config"])
    local = [entry.partition("=") for entry in datasets or ()]
    for name, separator, folder in local:
        if not separator:
            settings = read_settings(chosen["config"], name)
        elif name == settings.dataset:
            settings = read_settings(chosen["config"], folder)
    return dataclasses.replace(settings, scenario=chosen.get("scenario", settings.scenario), forget_sets=1)


def start_of(plan: Mapping[str, Any], datasets: Sequence[str] | None, comparison: str, seed: int) -> StartingPoint:
    """The starting point of a comparison and a seed; models are trained unless they are there."""
    only = None if plan.get("retrains", True) else "original"
    return prepare_start(read_comparison(plan, datasets, comparison), seed, only)


def train(job: tuple[dict[str, Any], Sequence[str] | None, str, int]) -> None:
    start_of(*job)


def target_of(plan: Mapping[str, Any], comparison: str, start: StartingPoint) -> float | None:
    """The UA to end at: a number, or that of the retrained model; `None` if the run ends by another rule."""
    target = plan["comparisons"][comparison]["target_ua"]
    if target != "retrained":
        return None if target is None else float(target)
    return float(evaluate_start(start.model("retrained"), start.datasets(("forget", "test")))["UA"])


def name_of(plan: Mapping[str, Any], settings: ComparisonSettings, comparison: str, parts: Sequence[Any]) -> str:
    """A hash of what determines a result, so that plans with a comparison of the same name do not share it."""
    of_plan = [settings.unlearning, plan["comparisons"][comparison]["target_ua"], plan.get("examines")]
    key = json.dumps([*of_plan, *parts], sort_keys=True)
    return hashlib.sha256(key.encode()).hexdigest()[:16]


def path_of(job: Job) -> Path:
    """The file of a finished run."""
    plan, local, output_dir, comparison, seed, setting = job
    settings = read_comparison(plan, local, comparison)
    parts = [settings.start_hash(seed), plan["method"], plan["shared"], setting]
    return Path(output_dir) / comparison / f"seed_{seed}" / f"{name_of(plan, settings, comparison, parts)}.json"


def run(job: Job) -> dict[str, Any]:
    """Unlearns from one starting point with one setting, unless that was done already."""
    plan, local, output_dir, comparison, seed, setting = job
    path = path_of(job)
    if path.exists():
        return read_json_object(path)
    logging.disable_progress_bar()
    settings, start = read_comparison(plan, local, comparison), start_of(plan, local, comparison, seed)
    datasets, target = start.datasets(), target_of(plan, comparison, start)
    values = {"method": plan["method"], **plan["shared"], **setting}
    own = {name: value for name, value in values.items() if name in _OF_METHOD}
    arguments = {name: value for name, value in values.items() if name not in (*own, "method")}
    args = UnlearningArguments(
        output_dir=str(Path(output_dir) / "scratch" / str(os.getpid())), target_ua=target, seed=seed,
        per_device_eval_batch_size=1000, **{**QUIET, **settings.unlearning, **arguments},
    )  # fmt: skip
    unlearner = make_unlearner(
        values["method"], start.model(), args, datasets["forget"],
        processing_class=start.processor(), **own,
    )  # fmt: skip
    began = time.perf_counter()
    with without_warnings():
        without_printing(unlearner).train()
    seconds = time.perf_counter() - began
    logits, labels = predict(unlearner.model, datasets["validation"], 1000)
    result = {
        "comparison": comparison,
        "seed": seed,
        "setting": setting,
        "target_ua": target,
        "outcome": unlearner.outcome,
        "stopped": unlearner.stop_reason,
        "validation": 100 * float((logits.argmax(axis=1) == labels).mean()),
        "metrics": evaluate_start(unlearner.model, datasets),
        "steps": unlearner.history[-1]["step"],
        "rounds": unlearner.history[-1]["round"],
        "seconds": seconds,
    }
    if plan.get("examines"):
        result["examined"] = examine(unlearner.model, start, datasets, args.output_dir, plan["examines"])
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(result, path)
    return result


def examine(model: Any, start: StartingPoint, datasets: Mapping[str, Any], scratch: str, steps: int) -> dict[str, Any]:
    """Relearning in some steps on retained examples, and what else is left behind."""
    relearning = relearn(model, datasets["forget"], datasets["retain"], scratch, max_steps=steps)
    left = left_behind(model, datasets, start.model())
    return {"relearning_steps": relearning.steps, "relearned": relearning.highest, **left}


def choose(results: list[dict[str, Any]]) -> dict[str, Any]:
    """The setting that reaches the target with the highest validation accuracy."""
    best = max(results, key=lambda result: (result["outcome"] == "reached", result["validation"]))
    chosen: dict[str, Any] = best["setting"]
    return chosen

"""Rewinding alone beside rewinding and recovery, at the same UA.

    python recipes/image_classification/recover.py \\
        --config recipes/image_classification/configs/recovery/cifar10_small.yaml --workers 2

For each comparison the settings of a row are chosen by validation accuracy at the target, with a seed that is not
reported. Results are written beside the recipe (`results/`), and every finished run is kept in `output_dir`, so that
a recipe that was interrupted goes on.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats
from transformers import HfArgumentParser
from transformers.utils import logging

from hf_invwnn import UnlearningArguments
from hf_invwnn.audit.tables import markdown_table
from hf_invwnn.benchmark import StartingPoint, evaluate_start, prepare_start, read_settings
from hf_invwnn.benchmark.jobs import run_jobs
from hf_invwnn.files import read_json_object, read_yaml_mapping, write_json
from hf_invwnn.image_classification import predict
from hf_invwnn.methods import make_unlearner
from hf_invwnn.trainer.quiet import QUIET, without_printing, without_warnings


# Metric -> its title and digits.
SHOWN = {
    "UA": ("UA", 1), "RA": ("RA", 1), "TA": ("TA", 1), "forget_clean": ("D_f, true labels", 1),
    "attack_success": ("attack success", 1), "MIA": ("MIA", 1), "loss_auc": ("loss AUC", 3),
}  # fmt: skip
Job = tuple[dict[str, Any], str | None, str, str, int, dict[str, Any]]


@dataclass
class RecoverArguments:
    config: str = field(metadata={"help": "YAML file: comparisons, seeds, and the settings of the rows."})
    dataset: str | None = field(default=None, metadata={"help": "Folder or Hub id in place of the data of the files."})
    output_dir: str = field(default="outputs/recover", metadata={"help": "Where finished runs are kept."})
    results: str = field(
        default=str(Path(__file__).parent / "results"), metadata={"help": "Folder for the results of all seeds."}
    )
    workers: int = field(default=1, metadata={"help": "Processes."})
    only: list[str] | None = field(default=None, metadata={"help": "Comparisons to run; all by default."})


def settings_of(grid: Mapping[str, list[Any]]) -> list[dict[str, Any]]:
    """Every combination of the values."""
    return [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]


def start_of(plan: Mapping[str, Any], dataset: str | None, comparison: str, seed: int) -> StartingPoint:
    return prepare_start(read_settings(plan["comparisons"][comparison]["config"], dataset), seed)


def train(job: tuple[dict[str, Any], str | None, str, int]) -> None:
    """Trains the original and the retrained model of a comparison and a seed, unless they are there."""
    start_of(*job)


def target_of(plan: Mapping[str, Any], comparison: str, start: StartingPoint) -> float:
    """The UA to end at: a number, or that of the retrained model."""
    target = plan["comparisons"][comparison]["target_ua"]
    if target != "retrained":
        return float(target)
    return float(evaluate_start(start.model("retrained"), start.datasets(("forget", "test")))["UA"])


def run(job: Job) -> dict[str, Any]:
    """Unlearns from one starting point with one setting, unless that was done already."""
    plan, dataset, output_dir, comparison, seed, setting = job
    name = hashlib.sha256(json.dumps([plan["method"], plan["shared"], setting], sort_keys=True).encode()).hexdigest()
    path = Path(output_dir) / comparison / f"seed_{seed}" / f"{name[:16]}.json"
    if path.exists():
        return read_json_object(path)
    logging.disable_progress_bar()
    settings = read_settings(plan["comparisons"][comparison]["config"], dataset)
    start = prepare_start(settings, seed)
    datasets, target = start.datasets(), target_of(plan, comparison, start)
    own = {name: value for name, value in setting.items() if name == "surrogates"}
    arguments = {name: value for name, value in setting.items() if name not in own}
    args = UnlearningArguments(
        output_dir=str(Path(output_dir) / "scratch" / str(os.getpid())), target_ua=target, seed=seed,
        per_device_eval_batch_size=1000, **{**QUIET, **settings.unlearning, **plan["shared"], **arguments},
    )  # fmt: skip
    unlearner = make_unlearner(
        plan["method"], start.model(), args, datasets["forget"], processing_class=start.processor(), **own
    )
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
        "seconds": seconds,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(result, path)
    return result


def choose(results: list[dict[str, Any]]) -> dict[str, Any]:
    """The setting that reaches the target with the highest validation accuracy."""
    best = max(results, key=lambda result: (result["outcome"] == "reached", result["validation"]))
    chosen: dict[str, Any] = best["setting"]
    return chosen


def table(results: Mapping[str, Any]) -> str:
    """Markdown: a row for each comparison and row, the mean and the standard deviation over the seeds."""
    rows = [["forget set", "", *(title for title, _ in SHOWN.values()), "seconds"]]
    for comparison, found in results.items():
        for row, runs in found["rows"].items():
            cells = []
            for name, (_, digits) in SHOWN.items():
                values = [one["metrics"][name] for one in runs["seeds"] if name in one["metrics"]]
                spread = (
                    f"{np.mean(values):.{digits}f} ± {np.std(values, ddof=1):.{digits}f}" if len(values) > 1 else ""
                )
                cells.append(spread)
            seconds = np.mean([one["seconds"] for one in runs["seeds"]])
            rows.append([comparison, row, *cells, f"{seconds:.0f}"])
    return markdown_table(rows, text_columns=2)


def gains(results: Mapping[str, Any]) -> str:
    """Markdown: recovery minus rewinding alone, the mean over the seeds and its 95 % interval (t, paired by seed)."""
    rows = [["forget set", "RA", "TA"]]
    for comparison, found in results.items():
        pairs = list(zip(*(found["rows"][row]["seeds"] for row in ("recovery", "rewinding")), strict=True))
        cells = []
        for name in ("RA", "TA"):
            values = [one["metrics"][name] - other["metrics"][name] for one, other in pairs]
            low, high = stats.t.interval(0.95, len(values) - 1, np.mean(values), stats.sem(values))
            cells.append(f"{np.mean(values):+.1f} ({low:+.1f} to {high:+.1f})")
        rows.append([comparison, *cells])
    return markdown_table(rows)


def main() -> None:
    (args,) = HfArgumentParser(RecoverArguments).parse_args_into_dataclasses()
    plan = read_yaml_mapping(args.config)
    names = args.only or list(plan["comparisons"])

    def jobs(comparison: str, seeds: list[int], settings: list[dict[str, Any]]) -> list[Job]:
        return [(plan, args.dataset, args.output_dir, comparison, seed, one) for seed in seeds for one in settings]

    seeds = (plan["chosen_with"], *plan["seeds"])
    run_jobs(train, [(plan, args.dataset, name, seed) for seed in seeds for name in names], args.workers, "training")
    sweeps = {
        (name, row): jobs(name, [plan["chosen_with"]], settings_of(grid))
        for name in names
        for row, grid in plan["rows"].items()
    }
    run_jobs(run, [job for sweep in sweeps.values() for job in sweep], args.workers, "sweep")
    chosen = {key: choose([run(job) for job in sweep]) for key, sweep in sweeps.items()}
    final = {key: jobs(key[0], list(plan["seeds"]), [setting]) for key, setting in chosen.items()}
    run_jobs(run, [job for runs in final.values() for job in runs], args.workers, "chosen")
    results = {
        name: {
            "rows": {
                row: {
                    "setting": chosen[name, row],
                    "tried": [run(job) for job in sweeps[name, row]],
                    "seeds": [run(job) for job in final[name, row]],
                }
                for row in plan["rows"]
            },
            "references": references(plan, args.dataset, name),
        }
        for name in names
    }
    folder = Path(args.results)
    folder.mkdir(exist_ok=True)
    stem = f"recovery_{Path(args.config).stem}"
    write_json(results, folder / f"{stem}.json")
    (folder / f"{stem}.md").write_text(f"{table(results)}\n\n{gains(results)}\n")


def references(plan: Mapping[str, Any], dataset: str | None, comparison: str) -> dict[str, Any]:
    """The metrics of the original and the retrained models of the reported seeds."""
    found: dict[str, Any] = {"original": [], "retrained": []}
    for seed in plan["seeds"]:
        start = start_of(plan, dataset, comparison, seed)
        for name in ("original", "retrained") if start.has_retrained else ("original",):
            found[name].append(evaluate_start(start.model(name), start.datasets()))
    return found


if __name__ == "__main__":
    main()

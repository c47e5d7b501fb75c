"""Rewinding alone beside rewinding and recovery, at the same UA.

    python recipes/image_classification/recover.py \\
        --config recipes/image_classification/configs/recovery/cifar10_small.yaml --workers 2

For each comparison the settings of a row are chosen by validation accuracy at the target, with a seed that is not
reported. Results are written beside the recipe (`results/`), and every finished run is kept in `output_dir`, so that
a recipe that was interrupted goes on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from recovery_runs import LOCAL_HELP, Job, choose, examine, name_of, read_comparison, run, start_of, train
from scipy import stats
from transformers import HfArgumentParser

from hf_invwnn.audit.tables import markdown_table
from hf_invwnn.benchmark import MethodSweep, evaluate_start
from hf_invwnn.benchmark.jobs import run_jobs
from hf_invwnn.files import read_json_object, read_yaml_mapping, write_json


# Where a value is in the results of a run -> its title and digits.
SHOWN = {
    "UA": ("UA", 1), "RA": ("RA", 1), "TA": ("TA", 1), "forget_clean": ("D_f, true labels", 1),
    "attack_success": ("attack success", 1), "MIA": ("MIA", 1), "loss_auc": ("loss AUC", 3),
}  # fmt: skip
EXAMINED = {
    "relearning_steps": ("steps to relearn", 0), "relearned": ("relearned", 1),
    "ua_8_bits": ("UA in 8 bits", 1), "ua_4_bits": ("UA in 4 bits", 1),
    "changed_in_4_bits": ("weights changed in 4 bits", 1),
}  # fmt: skip


@dataclass
class RecoverArguments:
    config: str = field(metadata={"help": "YAML file: comparisons, seeds, and the settings of the rows."})
    dataset: list[str] | None = field(default=None, metadata={"help": LOCAL_HELP})
    output_dir: str = field(default="outputs/recover", metadata={"help": "Where finished runs are kept."})
    results: str = field(
        default=str(Path(__file__).parent / "results"), metadata={"help": "Folder for the results of all seeds."}
    )
    workers: int = field(default=1, metadata={"help": "Processes."})
    only: list[str] | None = field(default=None, metadata={"help": "Comparisons to run; all by default."})


def table(results: Mapping[str, Any]) -> str:
    """Markdown: the models and rows of each comparison, the mean and the standard deviation over the seeds."""
    shown = {name: title for name, title in SHOWN.items() if _is_measured(results, name)}
    rows = [["forget set", "", *(title for title, _ in shown.values()), "steps", "seconds"]]
    for comparison, found in results.items():
        for name, models in found["references"].items():
            if models and "steps" in models[0]:
                rows.append([comparison, name, *_cells(models, shown), *_costs(models)])
        for row, runs in found["rows"].items():
            seeds = runs["seeds"]
            reached = sum(one["outcome"] == "reached" for one in seeds)
            name = row if reached == len(seeds) else f"{row} ({reached} of {len(seeds)} reached the target)"
            rows.append([comparison, name, *_cells([one["metrics"] for one in seeds], shown), *_costs(seeds)])
    return markdown_table(rows, text_columns=2)


def _cells(metrics: Sequence[Mapping[str, float]], shown: Mapping[str, tuple[str, int]]) -> list[str]:
    return [spread([one.get(key) for one in metrics], digits) for key, (_, digits) in shown.items()]


def _costs(runs: Sequence[Mapping[str, float]]) -> list[str]:
    """Mean steps and seconds, of a run or of training a model."""
    return [f"{np.mean([one[key] for one in runs]):,.0f}" for key in ("steps", "seconds")]


def examined_table(results: Mapping[str, Any]) -> str:
    """Markdown: what fine-tuning on retained examples and rounding bring back, with the retrained models beside it."""
    rows = [["forget set", "", *(title for title, _ in EXAMINED.values())]]
    for comparison, found in results.items():
        named = {row: [one["examined"] for one in runs["seeds"]] for row, runs in found["rows"].items()}
        for row, values in {"retrained": found["references"]["retrained_examined"], **named}.items():
            cells = [spread([one.get(key) for one in values], digits) for key, (_, digits) in EXAMINED.items()]
            rows.append([comparison, row, *cells])
    return markdown_table(rows, text_columns=2)


def differences(results: Mapping[str, Any], bases: str | Mapping[str, str]) -> str:
    """
    Markdown: each row minus a base, one for all comparisons or one for each: the mean over the seeds and its 95 %
    interval (Student's t, paired by seed).
    """
    rows = [["forget set", "", "RA", "TA"]]
    for comparison, found in results.items():
        base = bases if isinstance(bases, str) else bases[comparison]
        for row, runs in found["rows"].items():
            if row == base:
                continue
            pairs = list(zip(runs["seeds"], found["rows"][base]["seeds"], strict=True))
            if any(one.get("outcome", "reached") != "reached" for pair in pairs for one in pair):
                rows.append([comparison, row, "not at the same UA", ""])
                continue
            cells = []
            for name in ("RA", "TA"):
                values = [one["metrics"][name] - other["metrics"][name] for one, other in pairs]
                low, high = stats.t.interval(0.95, len(values) - 1, np.mean(values), stats.sem(values))
                cells.append(f"{np.mean(values):+.1f} ({low:+.1f} to {high:+.1f})")
            rows.append([comparison, row, *cells])
    return markdown_table(rows, text_columns=2)


def spread(values: Sequence[float | None], digits: int) -> str:
    """Mean and standard deviation; `never` if a value is missing that others have, and empty without any."""
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return f"never ({len(values) - len(known)} of {len(values)})" if known or digits == 0 else ""
    return f"{np.mean(known):,.{digits}f} ± {np.std(known, ddof=1):,.{digits}f}" if len(known) > 1 else ""


def _is_measured(results: Mapping[str, Any], metric: str) -> bool:
    runs = (one for found in results.values() for row in found["rows"].values() for one in row["seeds"])
    return any(metric in one["metrics"] for one in runs)


def page(results: Mapping[str, Any], bases: str | Mapping[str, str]) -> str:
    """All tables of a plan."""
    examined = all("retrained_examined" in found["references"] for found in results.values())
    tables = [table(results), differences(results, bases), *([examined_table(results)] if examined else [])]
    return "\n\n".join(tables) + "\n"


def main() -> None:
    (args,) = HfArgumentParser(RecoverArguments).parse_args_into_dataclasses()
    plan = read_yaml_mapping(args.config)
    names = args.only or list(plan["comparisons"])

    def jobs(comparison: str, seeds: list[int], settings: list[dict[str, Any]]) -> list[Job]:
        return [(plan, args.dataset, args.output_dir, comparison, seed, one) for seed in seeds for one in settings]

    seeds = (plan["chosen_with"], *plan["seeds"])
    run_jobs(train, [(plan, args.dataset, name, seed) for seed in seeds for name in names], args.workers, "training")
    tried = {row: MethodSweep(row, grid).settings() for row, grid in plan["rows"].items()}
    sweeps = {
        # Where there is one setting, there is nothing to choose.
        (name, row): jobs(name, [plan["chosen_with"]], settings) if len(settings) > 1 else []
        for name in names
        for row, settings in tried.items()
    }
    run_jobs(run, [job for sweep in sweeps.values() for job in sweep], args.workers, "sweep")
    chosen = {key: choose([run(job) for job in sweep]) if sweep else tried[key[1]][0] for key, sweep in sweeps.items()}
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
            "references": references(plan, args, name),
        }
        for name in names
    }
    folder = Path(args.results)
    folder.mkdir(exist_ok=True)
    stem = f"recovery_{Path(args.config).stem}"
    write_json(results, folder / f"{stem}.json")
    (folder / f"{stem}.md").write_text(page(results, plan["compared_with"]))


def references(plan: Mapping[str, Any], args: RecoverArguments, comparison: str) -> dict[str, Any]:
    """What the original and the retrained models of the reported seeds have and have cost."""
    settings = read_comparison(plan, args.dataset, comparison)
    name = name_of(plan, settings, comparison, [settings.start_hash(seed) for seed in plan["seeds"]])
    path = Path(args.output_dir) / comparison / f"references_{name}.json"
    if path.exists():
        return read_json_object(path)
    found: dict[str, Any] = {"original": [], "retrained": []}
    for seed in plan["seeds"]:
        start = start_of(plan, args.dataset, comparison, seed)
        datasets = start.datasets()
        trained = [name for name in ("original", "retrained") if (start.folder / name).exists()]
        for name in trained:
            metrics = evaluate_start(start.model(name), datasets)
            found[name].append({**metrics, **{key: start.training(name)[key] for key in ("steps", "seconds")}})
        if plan.get("examines") and "retrained" in trained:
            scratch = str(Path(args.output_dir) / "scratch" / "references")
            examined = examine(start.model("retrained"), start, datasets, scratch, plan["examines"])
            found.setdefault("retrained_examined", []).append(examined)
    write_json(found, path)
    return found


if __name__ == "__main__":
    main()

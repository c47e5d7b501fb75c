"""What the defaults of recovery should be: one thing is changed at a time, on several forget sets and architectures.

    python recipes/image_classification/recovery_defaults.py --workers 2 \\
        --config recipes/image_classification/configs/recovery/defaults.yaml

Every run ends at the same UA, and validation accuracy with one seed is what counts; no test image is looked at. The
results are written to `results/`, and finished runs are kept in `output_dir`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from recovery_runs import LOCAL_HELP, Job, run, train
from scipy import stats
from transformers import HfArgumentParser

from hf_invwnn.audit.tables import markdown_table
from hf_invwnn.benchmark.jobs import run_jobs
from hf_invwnn.files import read_yaml_mapping, write_json


DEFAULT = "default"


@dataclass
class DefaultsArguments:
    config: str = field(metadata={"help": "YAML file: comparisons, and what is changed in each row."})
    dataset: list[str] | None = field(default=None, metadata={"help": LOCAL_HELP})
    output_dir: str = field(default="outputs/recover_defaults", metadata={"help": "Where finished runs are kept."})
    results: str = field(default=str(Path(__file__).parent / "results"), metadata={"help": "Folder for the results."})
    workers: int = field(default=1, metadata={"help": "Processes."})
    only: list[str] | None = field(default=None, metadata={"help": "Comparisons to run; all by default."})


def table(results: Mapping[str, Mapping[str, Any]]) -> str:
    """
    Markdown: validation accuracy of the default, and how each change differs from it, in points; the mean over the
    forget sets with its 95 % interval (Student's t).
    """
    names = list(results)
    rows = [["", *names, "mean"]]
    for row in dict.fromkeys(row for found in results.values() for row in found):
        tried = {name: value_of(found, row) for name, found in results.items() if row in found}
        sign = "" if row == DEFAULT else "+"
        shown = {name: "not reached" if value is None else f"{value:{sign}.1f}" for name, value in tried.items()}
        known = [value for value in tried.values() if value is not None]
        mean = "" if row == DEFAULT or len(known) < len(tried) else mean_with_interval(known)
        rows.append([row, *(shown.get(name, "") for name in names), mean])
    distances = [distance_from_best(found) for found in results.values()]
    rows.append(
        ["the best minus the default", *(f"{value:+.1f}" for value in distances), f"{np.mean(distances):+.1f}"]
    )
    return markdown_table(rows)


def mean_with_interval(values: Sequence[float]) -> str:
    if len(values) < 2:
        return f"{np.mean(values):+.1f}"
    low, high = stats.t.interval(0.95, len(values) - 1, np.mean(values), stats.sem(values))
    return f"{np.mean(values):+.1f} ({low:+.1f} to {high:+.1f})"


def value_of(found: Mapping[str, Any], row: str) -> float | None:
    """Validation accuracy of a row, minus that of the default unless it is that; `None` if a target was missed."""
    if found[row]["outcome"] != "reached":
        return None
    value = float(found[row]["validation"])
    return value if row == DEFAULT else value - float(found[DEFAULT]["validation"])


def distance_from_best(found: Mapping[str, Any]) -> float:
    """Validation accuracy of the best row that reached the target, minus that of the default."""
    reached = [one["validation"] for one in found.values() if one["outcome"] == "reached"]
    return max(reached) - found[DEFAULT]["validation"] if reached else float("nan")


def main() -> None:
    (args,) = HfArgumentParser(DefaultsArguments).parse_args_into_dataclasses()
    plan = read_yaml_mapping(args.config)
    names, seed = args.only or list(plan["comparisons"]), plan["chosen_with"]
    run_jobs(train, [(plan, args.dataset, name, seed) for name in names], args.workers, "training")
    jobs: dict[str, dict[str, Job]] = {
        name: {
            row: (plan, args.dataset, args.output_dir, name, seed, plan["rows"][row])
            for row in plan["comparisons"][name].get("rows", plan["rows"])
        }
        for name in names
    }
    run_jobs(run, [job for rows in jobs.values() for job in rows.values()], args.workers, "runs")
    results = {name: {row: run(job) for row, job in rows.items()} for name, rows in jobs.items()}
    folder = Path(args.results)
    folder.mkdir(exist_ok=True)
    stem = f"recovery_{Path(args.config).stem}"
    write_json(results, folder / f"{stem}.json")
    (folder / f"{stem}.md").write_text(table(results) + "\n")


if __name__ == "__main__":
    main()

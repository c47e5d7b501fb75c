"""The table of `compare_in_use.py`: settings chosen on a validation split, results at equal forgetting.

    python recipes/predictor/summarize_in_use.py --chosen_from outputs/in_use/choose
    python recipes/predictor/summarize_in_use.py --chosen_from outputs/in_use/choose \\
        --results outputs/in_use/seed_0 outputs/in_use/seed_1 outputs/in_use/seed_2

The first says which learning rate and residual scale each predictor did best with: highest validation accuracy, on
average over the levels. The second makes the table from runs with those settings, one folder for each seed.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from transformers import HfArgumentParser

from hf_invwnn.audit.tables import markdown_table
from hf_invwnn.benchmark.equal_forgetting import at_ua
from hf_invwnn.files import read_json_object


METRICS = {"test": "eval_test_accuracy", "retain": "eval_retain_accuracy"}


@dataclass
class SummaryArguments:
    chosen_from: str = field(metadata={"help": "Folder of runs that watched the validation split."})
    results: list[str] = field(default_factory=list, metadata={"help": "Folders of runs that watched everything."})
    levels: list[float] = field(
        default_factory=lambda: [25.0, 50.0, 70.0], metadata={"help": "UA in percent: 100 - fake-label accuracy."}
    )


def load(folder: str) -> list[dict[str, Any]]:
    return [read_json_object(path) for path in sorted(Path(folder).glob("*.json"))]


def score(run: dict[str, Any], levels: list[float]) -> float:
    """Validation accuracy, in percent, averaged over the levels; minus infinity if one was not reached."""
    points = [at_ua(run["history"], level) for level in levels]
    if any(point is None for point in points):
        return -np.inf
    return float(np.mean([100 * point["eval_validation_accuracy"] for point in points if point]))


def choose(runs: list[dict[str, Any]], levels: list[float]) -> dict[str, dict[str, Any]]:
    """Predictor -> its best run, with the number of pairs it was chosen from."""
    by_name = defaultdict(list)
    for run in runs:
        by_name[run["predictor"]].append(run)
    best = {}
    for name, own in by_name.items():
        winner = max(own, key=lambda run: score(run, levels))
        best[name] = {**winner, "score": score(winner, levels), "pairs": len(own)}
    return best


def choices_table(best: dict[str, dict[str, Any]]) -> str:
    rows = [["predictor", "pairs tried", "learning rate", "residual scale", "validation"]]
    for name, run in best.items():
        settings = [f"{run['learning_rate']:g}", f"{run['residual_scale']:g}"]
        rows.append([name, str(run["pairs"]), *settings, f"{run['score']:.2f}"])
    return markdown_table(rows)


def results_table(folders: list[str], best: dict[str, dict[str, Any]], levels: list[float]) -> str:
    """Mean and standard deviation over seeds, for each metric at each level."""
    accuracies: dict[tuple[str, str, float], list[float]] = defaultdict(list)
    for folder in folders:
        for run in load(folder):
            chosen = best[run["predictor"]]
            if any(run[name] != chosen[name] for name in ("learning_rate", "residual_scale")):
                continue
            for level in levels:
                point = at_ua(run["history"], level)
                for metric, key in METRICS.items():
                    accuracies[run["predictor"], metric, level].append(np.nan if point is None else 100 * point[key])
    columns = [f"{metric}, UA {level:g}" for metric in METRICS for level in levels]
    rows = [["predictor", "seeds", *columns]]
    for name in best:
        by_column = [accuracies[name, metric, level] for metric in METRICS for level in levels]
        if not by_column[0]:
            continue
        cells = [f"{np.mean(seeds):.2f} ± {np.std(seeds, ddof=1) if len(seeds) > 1 else 0:.2f}" for seeds in by_column]
        rows.append([name, str(len(by_column[0])), *cells])
    return markdown_table(rows)


def main() -> None:
    (args,) = HfArgumentParser(SummaryArguments, description=__doc__).parse_args_into_dataclasses()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    best = choose(load(args.chosen_from), args.levels)
    logging.info("%s", choices_table(best))
    if args.results:
        logging.info("\n%s", results_table(args.results, best, args.levels))


if __name__ == "__main__":
    main()

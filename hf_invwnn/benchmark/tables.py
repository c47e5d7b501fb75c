"""Tables of a comparison, from its results file alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..audit.tables import markdown_table
from ..metrics.catalogue import METRICS, metrics_in
from .equal_forgetting import at_ua
from .verdict_table import NOT_REACHED


_PASSES = ("forward", "backward")


def comparison_table(results: Mapping[str, Any]) -> str:
    """
    Markdown: every model and method at the target UA, mean and standard deviation over seeds.

    A method that did not reach the target with every seed has no numbers, only how many it reached it with. If there
    are controls without data, `RA - accuracy on D_f` is compared with the best of theirs, the floor.

    Args:
        results (`dict`): The results of [`~hf_invwnn.benchmark.compare`].
    """
    references = results["references"]
    columns = [name for name in metrics_in("comparison") if _is_measured(results, name)]
    floor = _floor(results)
    last = [] if floor is None else ["RA - accuracy on D_f"]
    rows = [["method", "data", "tried", *(METRICS[name].title for name in columns), *last]]
    for name in ("original", "retrained"):
        metrics = [references[seed][name] for seed in references if name in references[seed]]
        if metrics:
            rows.append([name, "", "", *_cells(metrics, columns), *([""] * len(last))])
    for method in results["methods"].values():
        metrics = [run["metrics"] for run in method["seeds"].values()]
        edge = f", {' and '.join(method['at_edge'])} at an edge" if method.get("at_edge") else ""
        head = [method["title"], _data_of(method), f"{method['tried']}{edge}"]
        if any(values is None for values in metrics):
            reached = sum(values is not None for values in metrics)
            note = f"{NOT_REACHED} ({reached} of {len(metrics)} seeds)" if reached else NOT_REACHED
            rows.append([*head, note, *[""] * (len(columns) - 1 + len(last))])
        else:
            rows.append([*head, *_cells(metrics, columns), *([] if floor is None else [_selectivity(metrics, floor)])])
    return markdown_table(rows, text_columns=2)


def _floor(results: Mapping[str, Any]) -> float | None:
    """The best `RA - accuracy on D_f` of the controls, the mean over seeds; `None` without any."""
    controls = [method for method in results["methods"].values() if not method.get("needs_forget", True)]
    runs = [[run["metrics"] for run in method["seeds"].values()] for method in controls]
    reached = [metrics for metrics in runs if all(one is not None and "RA" in one for one in metrics)]
    return max((float(np.mean([_kept(one) for one in metrics])) for metrics in reached), default=None)


def _kept(metrics: Mapping[str, float]) -> float:
    """RA minus the accuracy on D_f, in points."""
    return metrics["RA"] - (100 - metrics["UA"])


def _selectivity(metrics: Sequence[Mapping[str, float]], floor: float) -> str:
    values = [_kept(one) for one in metrics]
    return _spread(values) + ("" if np.mean(values) > floor else ", not above the floor")


def _data_of(method: Mapping[str, Any]) -> str:
    """What a method trains on."""
    if method["needs_retain"]:
        return "D_f and D_r"
    return "D_f" if method.get("needs_forget", True) else "none"


def curve_table(results: Mapping[str, Any], split: str = "test") -> str:
    """
    Markdown: accuracy on a set where each method's curve crosses the levels, interpolated.

    Args:
        results (`dict`): The results of [`~hf_invwnn.benchmark.compare`].
        split (`str`, defaults to `"test"`): `"test"` or `"retain"`.
    """
    levels, key = results["levels"], f"eval_{split}_accuracy"
    rows = [["method", *(f"UA {level:g}" for level in levels)]]
    for method in results["methods"].values():
        cells = []
        for level in levels:
            points = [at_ua(run["history"], level) for run in method["seeds"].values()]
            values = [100 * point[key] for point in points if point is not None and key in point]
            cells.append(_spread(values) if len(values) == len(points) else NOT_REACHED)
        rows.append([method["title"], *cells])
    return markdown_table(rows)


def cost_table(results: Mapping[str, Any]) -> str:
    """
    Markdown: what the compared point of a method costs, and what retraining does, means over the runs: optimizer
    steps, images that pass forward and gradients that pass backward, in thousands, seconds, memory; and the passes of
    its whole sweep.
    """
    rows = [["method", "steps", "forward", "backward", "seconds", "extra memory (MiB)", "sweep, forward", "backward"]]
    retrained = [models["retrained"]["cost"] for models in results["references"].values() if "retrained" in models]
    if retrained:
        rows.append(["retrained", *_mean_cost(retrained), "", ""])
    for method in results["methods"].values():
        runs = list(method["seeds"].values())
        search = [f"{sum(one['passes'][name] for one in method.get('sweep', ())) / 1000:,.0f}" for name in _PASSES]
        if any(run["metrics"] is None for run in runs):
            rows.append([method["title"], NOT_REACHED, *[""] * 4, *search])
            continue
        rows.append([method["title"], *_mean_cost([run["cost"] for run in runs]), *search])
    return markdown_table(rows)


def _mean_cost(costs: Sequence[Mapping[str, Any]]) -> list[str]:
    def mean(name: str, unit: float = 1) -> str:
        known = [cost[name] / unit for cost in costs if cost.get(name) is not None]
        return f"{np.mean(known):,.0f}" if known else ""

    passes = [mean(name, 1000) for name in _PASSES]
    return [mean("steps"), *passes, mean("seconds"), mean("memory", 2**20)]


def _is_measured(results: Mapping[str, Any], metric: str) -> bool:
    values = [run["metrics"] for method in results["methods"].values() for run in method["seeds"].values()]
    values += [models["original"] for models in results["references"].values()]
    return all(metric in metrics for metrics in values if metrics is not None)


def _cells(metrics: Sequence[Mapping[str, float]], columns: Sequence[str]) -> list[str]:
    return [_spread([values[name] for values in metrics], digits=METRICS[name].digits) for name in columns]


def _spread(values: Sequence[float], sign: str = "", digits: int = 2) -> str:
    mean = f"{np.mean(values):{sign}.{digits}f}"
    return mean if len(values) < 2 else f"{mean} ± {np.std(values, ddof=1):.{digits}f}"


__all__ = ["NOT_REACHED", "comparison_table", "cost_table", "curve_table"]

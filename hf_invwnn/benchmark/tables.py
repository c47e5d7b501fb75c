"""Tables and the picture of a comparison, from its results file alone."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..audit.charts import COLOURS, MARKERS, UA_AXIS
from ..audit.tables import markdown_table
from ..metrics.catalogue import METRICS, metrics_in
from .equal_forgetting import at_ua
from .verdict_table import NOT_REACHED, verdict_table


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
    """Markdown: optimizer steps, seconds and memory to the target UA, and those of retraining; means over seeds."""
    rows = [["method", "steps", "seconds", "extra memory (MiB)"]]
    retrained = [models["retrained"]["cost"] for models in results["references"].values() if "retrained" in models]
    if retrained:
        rows.append(["retrained", *_mean_cost(retrained)])
    for method in results["methods"].values():
        runs = list(method["seeds"].values())
        if any(run["metrics"] is None for run in runs):
            rows.append([method["title"], NOT_REACHED, "", ""])
            continue
        rows.append([method["title"], *_mean_cost([run["cost"] for run in runs])])
    return markdown_table(rows)


def _mean_cost(costs: Sequence[Mapping[str, Any]]) -> list[str]:
    memory = [cost["memory"] for cost in costs if cost.get("memory") is not None]
    means = [f"{np.mean([cost[name] for cost in costs]):.0f}" for name in ("steps", "seconds")]
    return [*means, f"{np.mean(memory) / 2**20:.0f}" if memory else ""]


def plot_comparison(results: Mapping[str, Any], path: str | os.PathLike) -> None:
    """
    Draws test and retain accuracy over UA, one line for each method, the mean over seeds at each UA.

    Args:
        results (`dict`): The results of [`~hf_invwnn.benchmark.compare`].
        path (`str` or `os.PathLike`): The PNG to write.
    """
    from matplotlib.figure import Figure

    panels = [name for name in ("test", "retain") if _has_curve(results, f"eval_{name}_accuracy")]
    figure = Figure(figsize=(5.2 * len(panels) + 1.9, 4.4), dpi=150, layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for panel, name in zip(axes, panels, strict=True):
        for number, method in enumerate(results["methods"].values()):
            ua, accuracy = _mean_curve(method, f"eval_{name}_accuracy")
            panel.plot(
                ua,
                accuracy,
                "-" if number < len(COLOURS) else "--",
                color=COLOURS[number % len(COLOURS)],
                marker=MARKERS[number % len(MARKERS)],
                markevery=max(1, len(ua) // 6),
                markersize=5,
                label=method["title"],
            )
        retrained = [models["retrained"] for models in results["references"].values() if "retrained" in models]
        metric = "TA" if name == "test" else "RA"
        if retrained:
            point = [np.mean([model[key] for model in retrained]) for key in ("UA", metric)]
            panel.plot(*point, marker="*", markersize=15, color="black", ls="", label="retrained")
        panel.set_xlabel(UA_AXIS)
        panel.set_ylabel(f"{name} accuracy (%)")
        panel.grid(alpha=0.3)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right center", fontsize=8)
    figure.suptitle(results["title"])
    figure.savefig(path)


def write_comparison(results: Mapping[str, Any], folder: str | os.PathLike) -> str:
    """
    Writes `comparison.md` and `comparison.png` into a folder, and returns the text.

    Args:
        results (`dict`): The results of [`~hf_invwnn.benchmark.compare`].
        folder (`str` or `os.PathLike`): Of the results.
    """
    target = "the retrained model's UA" if results["target_ua"] == "retrained" else f"UA {results['target_ua']:g}"
    seeds = len(results["seeds"])
    parts = [
        f"## {results['title']}",
        f"At {target}; {seeds} seed{'s' if seeds > 1 else ''}, each with its own split, initialisation and order. "
        "In percent, except the loss AUC. `data`: what a method trains on; `tried`: number of settings in its sweep.",
        comparison_table(results),
        "Test accuracy where each curve crosses a UA:",
        curve_table(results, "test"),
    ]
    if _has_curve(results, "eval_retain_accuracy"):
        parts += ["Retain accuracy:", curve_table(results, "retain")]
    parts += ["Cost of reaching the target:", cost_table(results)]
    if "invwnn" in results["methods"]:
        parts += ["InvWNN minus each at the target, with a verdict:", verdict_table(results)]
    text = "\n\n".join(parts) + "\n"
    Path(folder, "comparison.md").write_text(text)
    plot_comparison(results, Path(folder, "comparison.png"))
    return text


def _has_curve(results: Mapping[str, Any], key: str) -> bool:
    return any(key in run["history"][0] for method in results["methods"].values() for run in method["seeds"].values())


def _mean_curve(method: Mapping[str, Any], key: str) -> tuple[list[float], list[float]]:
    """UA from the start up to what every seed reached, in steps of two points, and the mean accuracy there."""
    histories = [run["history"] for run in method["seeds"].values()]
    reached = min(max(point["ua"] for point in history) for history in histories)
    first = max(history[0]["ua"] for history in histories)
    ua = [*np.arange(first, reached, 2.0), reached]
    return ua, [float(np.mean([100 * _read(history, level)[key] for history in histories])) for level in ua]


def _read(history: Sequence[Mapping[str, float]], level: float) -> Mapping[str, float]:
    point = at_ua(history, level)
    assert point is not None
    return point


def _is_measured(results: Mapping[str, Any], metric: str) -> bool:
    values = [run["metrics"] for method in results["methods"].values() for run in method["seeds"].values()]
    values += [models["original"] for models in results["references"].values()]
    return all(metric in metrics for metrics in values if metrics is not None)


def _cells(metrics: Sequence[Mapping[str, float]], columns: Sequence[str]) -> list[str]:
    return [_spread([values[name] for values in metrics], digits=METRICS[name].digits) for name in columns]


def _spread(values: Sequence[float], sign: str = "", digits: int = 2) -> str:
    mean = f"{np.mean(values):{sign}.{digits}f}"
    return mean if len(values) < 2 else f"{mean} ± {np.std(values, ddof=1):.{digits}f}"


__all__ = [
    "NOT_REACHED",
    "comparison_table",
    "cost_table",
    "curve_table",
    "plot_comparison",
    "write_comparison",
]

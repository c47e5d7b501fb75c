"""The picture of a comparison, from its results file alone."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..audit.charts import MARKERS, UA_AXIS
from .equal_forgetting import at_ua


# What a method trains on -> its colour. Rewinding is what this package is about.
FAMILIES = {
    "rewinding": "#0072B2",
    "D_f, other methods": "#E69F00",
    "D_f and D_r": "#009E73",
    "no data": "#999999",
}


def family_of(method: Mapping[str, Any]) -> str:
    """The family of a method in the results of [`~hf_invwnn.benchmark.compare`]."""
    if not method.get("needs_forget", True):
        return "no data"
    if method["needs_retain"]:
        return "D_f and D_r"
    return "rewinding" if method.get("records_trajectory") else "D_f, other methods"


def plot_comparison(results: Mapping[str, Any], path: str | os.PathLike) -> None:
    """
    Draws test and retain accuracy: over UA, one line for each method, where curves were measured; otherwise at the
    target, a point for each pair of a model and a forget set and a bar for their mean.

    Args:
        results (`dict`): The results of [`~hf_invwnn.benchmark.compare`].
        path (`str` or `os.PathLike`): The PNG to write.
    """
    from matplotlib.figure import Figure

    if has_curve(results, "eval_test_accuracy"):
        panels = [name for name in ("test", "retain") if has_curve(results, f"eval_{name}_accuracy")]
        figure = Figure(figsize=(5.2 * len(panels) + 2.2, 4.8), dpi=150, layout="constrained")
        axes = figure.subplots(1, len(panels), squeeze=False)[0]
        for panel, name in zip(axes, panels, strict=True):
            _draw_curves(panel, results, name)
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside right center", fontsize=8)
    else:
        shown = {name: one for name, one in results["methods"].items() if _is_reached(one)}
        panels = [
            metric for metric in ("RA", "TA") if all(metric in run for one in shown.values() for run in _runs(one))
        ]
        figure = Figure(figsize=(4.4 * len(panels) + 2.2, 1.4 + 0.28 * len(shown)), dpi=150, layout="constrained")
        axes = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
        for panel, metric in zip(axes, panels, strict=True):
            _draw_points(panel, results, list(shown.values()), metric)
        handles, labels = axes[0].get_legend_handles_labels()
        unique = dict(zip(labels, handles, strict=True))
        figure.legend(unique.values(), unique.keys(), loc="outside lower center", ncols=3, fontsize=8)
    figure.suptitle(results["title"])
    figure.savefig(path)


def has_curve(results: Mapping[str, Any], key: str) -> bool:
    """Whether a metric was measured along the runs of a comparison."""
    return any(
        key in run["history"][0]
        for method in results["methods"].values()
        for run in method["seeds"].values()
        if run["history"]
    )


def _is_reached(method: Mapping[str, Any]) -> bool:
    return all(run["metrics"] is not None for run in method["seeds"].values())


def _runs(method: Mapping[str, Any]) -> list[Mapping[str, float]]:
    return [run["metrics"] for run in method["seeds"].values()]


def _draw_points(panel: Any, results: Mapping[str, Any], methods: Sequence[Mapping[str, Any]], metric: str) -> None:
    means = [float(np.mean([run[metric] for run in _runs(method)])) for method in methods]
    for place, (method, mean) in enumerate(zip(methods, means, strict=True)):
        family = family_of(method)
        values = [run[metric] for run in _runs(method)]
        panel.plot(values, [place] * len(values), "o", color=FAMILIES[family], alpha=0.35, markersize=4, mew=0)
        panel.plot(mean, place, "|", color=FAMILIES[family], markersize=13, mew=2.5, label=family)
    for name, style in (("original", ":"), ("retrained", "--")):
        known = [models[name][metric] for models in results["references"].values() if name in models]
        if known:
            panel.axvline(float(np.mean(known)), ls=style, color="black", lw=1, label=name)
    # A method that is far below all others would squash what distinguishes them.
    low = float(np.quantile(means, 0.15))
    high = max(panel.get_xlim()[1], max(means))
    left = max(panel.get_xlim()[0], low - 0.6 * (high - low) - 1)
    panel.set_xlim(left, high)
    for place, mean in enumerate(means):
        if mean < left:
            panel.text(left, place, f" {mean:.0f} <", va="center", fontsize=8)
    panel.set_yticks(range(len(methods)), [method["title"] for method in methods], fontsize=8)
    panel.set_ylim(len(methods) - 0.5, -0.5)
    panel.set_xlabel(f"{metric} (%)")
    panel.grid(alpha=0.3)


def _draw_curves(panel: Any, results: Mapping[str, Any], name: str) -> None:
    numbers: dict[str, int] = {}
    for method in results["methods"].values():
        if not all(run["history"] for run in method["seeds"].values()):
            continue
        family = family_of(method)
        number = numbers[family] = numbers.get(family, -1) + 1
        ua, accuracy = _mean_curve(method, f"eval_{name}_accuracy")
        panel.plot(
            ua,
            accuracy,
            ("-", "--", ":")[number % 3],
            color=FAMILIES[family],
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


__all__ = ["FAMILIES", "family_of", "has_curve", "plot_comparison"]

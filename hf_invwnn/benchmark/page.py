"""The page of a comparison: what was asked, its tables, its picture."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .figures import has_curve, plot_comparison
from .tables import comparison_table, cost_table, curve_table
from .verdict_table import verdict_table


def comparison_page(results: Mapping[str, Any], picture: str) -> str:
    """
    Markdown.

    Args:
        results (`dict`): The results of [`~hf_invwnn.benchmark.compare`].
        picture (`str`): Name of the picture beside the page.
    """
    starts, sets = len(results["seeds"]), results.get("forget_sets", 1)
    pairs = f"{starts} starting model{'s' if starts > 1 else ''}"
    pairs += f", {sets} forget sets each" if sets > 1 else ", each with its own split, initialisation and order"
    what = "the mean UA of the retrained models" if results["target_ua"] == "retrained" else "UA"
    base = results["compared_with"]
    parts = [
        f"## {results['title']}",
        f"At {what}, {results['target']:.4g}, or beyond it, at the point with the best validation accuracy; {pairs}. "
        f"Settings were chosen with seed {results['chosen_with']}"
        + (", which is reported too" if results["chosen_with"] in results["seeds"] else "")
        + ". In percent, except the loss AUC. `data`: what a method trains on; `tried`: number of settings.",
        comparison_table(results),
        f"![Accuracy of each method]({picture})",
    ]
    if base in results["methods"]:
        title = results["methods"][base]["title"]
        parts += [
            f"{title} minus each of the others, in points, with a 95 % interval: better or worse where a paired "
            "t-test says so (Holm's correction over the others), equivalent within a point (two one-sided tests), "
            "else undecided:",
            verdict_table(results, base),
        ]
    for split, name in (("test", "Test accuracy"), ("retain", "Retain accuracy")):
        if results["levels"] and has_curve(results, f"eval_{split}_accuracy"):
            parts += [f"{name} where each curve first crosses a UA:", curve_table(results, split)]
    parts += [
        "Cost up to the compared point, and of the sweep that chose the setting. Images and gradients in thousands:",
        cost_table(results),
        "Chosen settings: " + "; ".join(_setting(method) for method in results["methods"].values()) + ".",
    ]
    return "\n\n".join(parts) + "\n"


def _setting(method: Mapping[str, Any]) -> str:
    values = [f"{name.replace('_', ' ')} {_value(value)}" for name, value in method["setting"].items()]
    return f"{method['title']} {', '.join(values)}" if values else f"{method['title']} (none)"


def _value(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def write_comparison(results: Mapping[str, Any], path: str | os.PathLike) -> str:
    """
    Writes a page and its picture beside a file of results, and returns the text.

    Args:
        results (`dict`): The results of [`~hf_invwnn.benchmark.compare`].
        path (`str` or `os.PathLike`): The page; the picture has its name with `.png`.
    """
    page = Path(path)
    text = comparison_page(results, page.with_suffix(".png").name)
    page.write_text(text)
    plot_comparison(results, page.with_suffix(".png"))
    return text


__all__ = ["comparison_page", "write_comparison"]

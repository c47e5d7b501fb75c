"""The verdicts on a method and each of the others as a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..audit.tables import markdown_table
from ..metrics import retraining_distance
from .verdicts import paired_difference, verdicts


NOT_REACHED = "not reached"
# Metric -> its title in a table of verdicts.
_COMPARED = {"RA": "RA", "TA": "TA", "average_gap": "average gap", "tug_of_war": "tug-of-war (in hundredths)"}
# Metrics whose distance from the retrained model is the average gap.
_DISTANCE_OF = ("UA", "RA", "TA", "MIA")


def verdict_table(results: Mapping[str, Any], method: str = "invwnn") -> str:
    """
    Markdown: what the seeds show about a method and each of the others at the target UA, see
    [`~hf_invwnn.benchmark.verdicts`]: a verdict, the mean difference in points and its 95 % interval, for RA, TA and,
    with retrained models, the average gap to them (less is better) and the tug-of-war.

    Args:
        results (`dict`): The results of [`~hf_invwnn.benchmark.compare`].
        method (`str`, defaults to `"invwnn"`): The method.
    """
    differences = {name: _differences(results, method, name) for name in results["methods"] if name != method}
    metrics = [name for name in _COMPARED if any(found and name in found for found in differences.values())]
    starts = [pair.partition(".")[0] for pair in results["methods"][method]["seeds"]]
    tested = {
        metric: {
            name: paired_difference(found[metric], starts)
            for name, found in differences.items()
            if found and len(found.get(metric, ())) > 1
        }
        for metric in metrics
    }
    found = {metric: verdicts(pairs) for metric, pairs in tested.items()}
    rows = [["against", *(_COMPARED[metric] for metric in metrics)]]
    for name, other in differences.items():
        title = results["methods"][name]["title"]
        if other is None:
            rows.append([title, NOT_REACHED, *[""] * (len(metrics) - 1)])
            continue
        cells = []
        for metric in metrics:
            if name not in tested[metric]:
                cells.append(f"one seed, {other[metric][0]:+.2f}" if metric in other else "")
                continue
            # A gap is a loss: what is worse by it has the larger one.
            pair, sign = tested[metric][name], -1 if metric == "average_gap" else 1
            low, high = sorted((sign * pair.low, sign * pair.high))
            cells.append(f"{found[metric][name]}, {sign * pair.mean:+.2f} ({low:+.2f} to {high:+.2f})")
        rows.append([title, *cells])
    return markdown_table(rows, text_columns=len(metrics) + 1)


def _differences(results: Mapping[str, Any], method: str, other: str) -> dict[str, list[float]] | None:
    """For each seed the method minus another, more is better; `None` if one of them did not reach the target."""
    pairs = []
    for seed, mine in results["methods"][method]["seeds"].items():
        theirs = results["methods"][other]["seeds"].get(seed, {})
        if mine["metrics"] is None or theirs.get("metrics") is None:
            return None
        retrained = _retrained(results, seed)
        pairs.append(tuple(_with_distance(one["metrics"], retrained) for one in (mine, theirs)))
    return {
        name: [ours[name] - theirs[name] for ours, theirs in pairs]
        for name in _COMPARED
        if all(name in metrics for pair in pairs for metrics in pair)
    }


def _retrained(results: Mapping[str, Any], pair: str) -> dict[str, float] | None:
    """Metrics of the model retrained without the forget set of a pair; where that has none, the mean of all."""
    references = results.get("references", {})
    if results.get("forget_sets", 1) == 1:
        found: dict[str, float] | None = references.get(pair, {}).get("retrained")
        return found
    models = [one["retrained"] for one in references.values()]
    return {name: float(np.mean([model[name] for model in models])) for name in _DISTANCE_OF}


def _with_distance(metrics: Mapping[str, float], retrained: Mapping[str, float] | None) -> dict[str, float]:
    if retrained is None or any(name not in one for name in _DISTANCE_OF for one in (metrics, retrained)):
        return dict(metrics)
    distance = retraining_distance(
        [metrics[name] for name in _DISTANCE_OF], [retrained[name] for name in _DISTANCE_OF]
    )
    return {**metrics, "average_gap": -distance["average_gap"], "tug_of_war": 100 * distance["tug_of_war"]}


__all__ = ["NOT_REACHED", "verdict_table"]

"""The choice of settings: sweeps with one seed, whose grids are widened for all methods alike."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..trainer.arguments import UnlearningArguments
from .settings import MethodSweep


Setting = Mapping[str, Any]


def choose(tried: Sequence[tuple[Setting, Mapping[str, Any]]]) -> Setting:
    """
    The setting with the best validation accuracy at the target; of those that do not reach it, the one that comes
    nearest.

    Args:
        tried (`Sequence[tuple[dict, dict]]`): Settings and the results of their runs.
    """
    setting, _ = max(tried, key=lambda pair: (_validation(pair[1]), pair[1]["highest_ua"]))
    return setting


def _validation(result: Mapping[str, Any]) -> float:
    return -1.0 if result["validation"] is None else result["validation"]


def at_edge(setting: Setting, tried: Sequence[Setting]) -> list[str]:
    """Names of the arguments whose value in a setting is the smallest or the largest of those tried."""
    return [
        name
        for name, value in setting.items()
        if len(values := numbers_of(name, setting, tried)) > 1 and value in (values[0], values[-1])
    ]


def numbers_of(name: str, setting: Setting, tried: Sequence[Setting]) -> list[float]:
    """The values of an argument, in order, in the settings that are of the same grid; none if they are no numbers."""
    words = {key for key, value in setting.items() if isinstance(value, (str, list))}
    same = [one for one in tried if one.keys() == setting.keys() and all(one[key] == setting[key] for key in words)]
    values = [one[name] for one in same]
    if any(isinstance(value, bool) or not isinstance(value, (int, float)) for value in values):
        return []
    return sorted(set(values))


def further_settings(
    setting: Setting, tried: Sequence[Setting], is_allowed: Callable[[Setting], bool] = lambda setting: True
) -> list[Setting]:
    """
    Two more settings of the same grid. They change one argument that has three values or more: beyond the edge, by the
    ratio between its last two values, where the chosen value lies at one; otherwise, and where that is not allowed,
    halfway (in the geometric mean) to its neighbours.

    Args:
        setting (`dict`): The chosen setting.
        tried (`Sequence[dict]`): All settings tried.
        is_allowed (`Callable`, *optional*): Whether a setting can be run.
    """
    names = [name for name in setting if len(numbers_of(name, setting, tried)) > 2]
    if not names:
        return []
    edges = at_edge(setting, tried)
    name = next((name for name in names if name in edges), names[0])
    values = numbers_of(name, setting, tried)
    place, last = values.index(setting[name]), len(values) - 1
    added = []
    if place in (0, last):
        inner = values[1] if place == 0 else values[-2]
        added = [_further(inner, setting[name], steps) for steps in (1, 2)]
    # From the nearest neighbours outwards.
    pairs = sorted(range(last), key=lambda lower: abs(lower + 0.5 - place))
    added += [_between(values[lower], values[lower + 1]) for lower in pairs]
    whole = all(isinstance(value, int) for value in values)
    rounded = [round(value) if whole else float(f"{value:.3g}") for value in added]
    new: list[Setting] = [{**setting, name: value} for value in dict.fromkeys(rounded) if value not in values]
    return [one for one in new if is_allowed(one)][:2]


def is_allowed(setting: Setting) -> bool:
    """Whether [`UnlearningArguments`] takes the values of a setting."""
    known = {item.name for item in dataclasses.fields(UnlearningArguments)}
    try:
        UnlearningArguments(output_dir="unused", **{name: value for name, value in setting.items() if name in known})
    except ValueError:
        return False
    return True


def _further(inner: float, edge: float, steps: int = 1) -> float:
    """Beyond an edge by as much as it lies beyond its neighbour."""
    return edge * (edge / inner) ** steps if inner > 0 and edge > 0 else edge + steps * (edge - inner)


def _between(one: float, other: float) -> float:
    return math.sqrt(one * other) if one > 0 and other > 0 else (one + other) / 2


def sweep(
    rows: Sequence[MethodSweep],
    widenings: int,
    run_all: Callable[[Mapping[str, Sequence[Setting]]], Mapping[str, Sequence[Mapping[str, Any]]]],
) -> dict[str, dict[str, Any]]:
    """
    Tries the grids of all rows and chooses a setting of each. As long as a chosen value lies at the edge of its grid,
    and at most `widenings` times, every row gets two further settings.

    Args:
        rows (`Sequence[MethodSweep]`): The rows.
        widenings (`int`): How often grids are widened at most.
        run_all (`Callable`): Row -> settings, to row -> results of their runs.

    Returns:
        `dict`: Row -> `setting`, `tried` (number of settings), `at_edge`, `validation` in percent, and `sweep`, every
        setting with its validation accuracy and its passes.
    """
    tried: dict[str, list[tuple[Setting, Mapping[str, Any]]]] = {row.name: [] for row in rows}
    new: dict[str, list[Setting]] = {row.name: list(row.settings()) for row in rows}
    for widening in range(widenings + 1):
        found = run_all(new)
        for name, settings in new.items():
            tried[name] += zip(settings, found[name], strict=True)
        chosen = {name: choose(pairs) for name, pairs in tried.items()}
        of = {name: [setting for setting, _ in pairs] for name, pairs in tried.items()}
        can_widen = [
            name
            for name, setting in chosen.items()
            if any(len(numbers_of(edge, setting, of[name])) > 2 for edge in at_edge(setting, of[name]))
        ]
        if widening == widenings or not can_widen:
            break
        new = {name: further_settings(setting, of[name], is_allowed) for name, setting in chosen.items()}
    return {
        name: {
            "setting": dict(chosen[name]),
            "tried": len(pairs),
            "at_edge": at_edge(chosen[name], of[name]),
            "validation": next(result["validation"] for setting, result in pairs if setting == chosen[name]),
            "sweep": [
                {"setting": dict(setting), **{key: result[key] for key in ("validation", "highest_ua", "passes")}}
                for setting, result in pairs
            ],
        }
        for name, pairs in tried.items()
    }


__all__ = ["at_edge", "choose", "further_settings", "is_allowed", "numbers_of", "sweep"]

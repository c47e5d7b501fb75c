"""Where unlearning went: accuracy on the plane of weights that holds most of every path (figure 7 of the paper)."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Landscape:
    """
    Accuracies on a plane through the starting weights, and the paths projected onto it.

    Args:
        first (`np.ndarray` of shape `(R,)`), second (`np.ndarray` of shape `(R,)`): Coordinates of the grid, in units
            of weight distance; the start is at (0, 0).
        values (`dict[str, np.ndarray]`): Name of a set -> accuracy in percent, `(R, R)`, row by `second`.
        paths (`dict[str, np.ndarray]`): Name of a method -> `(T, 2)`, the start first.
        explained (`float`): Share of the squared length of all displacements that lies in the plane, 0..1.
    """

    first: np.ndarray
    second: np.ndarray
    values: dict[str, np.ndarray]
    paths: dict[str, np.ndarray]
    explained: float


def landscape(
    paths: Mapping[str, Sequence[np.ndarray]],
    measures: Mapping[str, Callable[[np.ndarray], float]],
    resolution: int = 15,
    margin: float = 0.25,
) -> Landscape:
    """
    Finds the plane by principal components of all displacements from the start, and measures on a grid of it.

    Args:
        paths (`dict[str, list[np.ndarray]]`): Name of a method -> flat weights `(D,)` of every turn; all begin with
            the same start.
        measures (`dict[str, Callable]`): Name of a set -> accuracy in percent of a model with given weights `(D,)`.
        resolution (`int`, defaults to 15): R, points along an axis.
        margin (`float`, defaults to 0.25): How far the grid goes beyond the paths, as a share of their extent.

    Raises:
        ValueError: There is no path of two points, or two paths begin at different weights.
    """
    from sklearn.decomposition import PCA

    if not paths or any(len(path) < 2 for path in paths.values()):
        raise ValueError("`paths` must hold at least one method, and two points of each.")
    start = next(iter(paths.values()))[0]
    for name, path in paths.items():
        if not np.array_equal(path[0], start):
            raise ValueError(f"`paths`: {name} begins at other weights than the first; all must start at one model.")
    moves = {name: np.stack(path) - start for name, path in paths.items()}
    every = np.concatenate([move[1:] for move in moves.values()])
    # Through the start and not through the mean, so mirrored displacements stand in for the missing half.
    components = PCA(n_components=2).fit(np.concatenate([every, -every])).components_
    projected = {name: move @ components.T for name, move in moves.items()}
    reach = np.concatenate(list(projected.values()))
    low, high = reach.min(axis=0), reach.max(axis=0)
    space = margin * np.maximum(high - low, 1e-12)
    first, second = (np.linspace(low[i] - space[i], high[i] + space[i], resolution) for i in range(2))
    values = {name: np.empty((resolution, resolution)) for name in measures}
    for row, b in enumerate(second):
        for column, a in enumerate(first):
            weights = start + a * components[0] + b * components[1]
            for name, measure in measures.items():
                values[name][row, column] = measure(weights)
    inside = sum(float(np.square(path).sum()) for path in projected.values())
    whole = sum(float(np.square(move).sum()) for move in moves.values())
    return Landscape(first, second, values, projected, inside / whole if whole else 1.0)


def plot_landscape(found: Landscape, path: str | os.PathLike, title: str = "") -> None:
    """
    One panel for each set: accuracy as shade and contours, paths on it.

    Args:
        found ([`Landscape`]): What to draw.
        path (`str` or `os.PathLike`): The PNG to write.
        title (`str`, *optional*): Stands above.
    """
    from matplotlib.figure import Figure

    from .comparison import COLOURS, MARKERS

    figure = Figure(figsize=(5.6 * len(found.values) + 1.2, 4.8), dpi=150, layout="constrained")
    axes = figure.subplots(1, len(found.values), squeeze=False)[0]
    for panel, (name, values) in zip(axes, found.values.items(), strict=True):
        # One hue from dark to light reads the same to every eye, and in print.
        levels = np.linspace(values.min(), max(values.max(), values.min() + 1e-6), 13)
        shade = panel.contourf(found.first, found.second, values, levels=levels, cmap="cividis")
        figure.colorbar(shade, ax=panel, label=f"accuracy on {name} (%)", format="%.0f")
        for number, (method, points) in enumerate(found.paths.items()):
            colour, marker = COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]
            panel.plot(*points.T, color="white", linewidth=3.2)
            every = max(1, len(points) // 12)
            panel.plot(
                *points.T, color=colour, marker=marker, markevery=every, markersize=4, linewidth=1.4, label=method
            )
        panel.plot(0, 0, marker="*", color="white", markeredgecolor="black", markersize=15, ls="", label="start")
        panel.set_xlabel("first principal component (distance in weights)")
        panel.set_ylabel("second principal component")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(5, len(labels)), fontsize=8)
    figure.suptitle(f"{title}\n" * bool(title) + f"the plane holds {100 * found.explained:.0f} % of the way")
    figure.savefig(path)


__all__ = ["Landscape", "landscape", "plot_landscape"]

"""Paths in weight space, on the plane that holds most of them, and accuracies there (figure 7 of the paper)."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hf_invwnn.audit.charts import COLOURS, MARKERS


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
    Fits a plane to all displacements from the start by principal components, and measures on a grid of it.

    Args:
        paths (`dict[str, list[np.ndarray]]`): Name of a method -> flat weights `(D,)` after every round; the first
            are those of the start, the same for all methods.
        measures (`dict[str, Callable]`): Name of a set -> function from weights `(D,)` to the accuracy in percent.
        resolution (`int`, defaults to 15): R, points along an axis.
        margin (`float`, defaults to 0.25): Width of the grid beyond the paths, as a share of their extent.

    Raises:
        ValueError: A path has fewer than two points, there are no paths, or two paths begin at different weights.
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
    # PCA fits a plane through the mean; mirrored displacements put the mean at the start.
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


def plot_landscape(plane: Landscape, path: str | os.PathLike, title: str = "") -> None:
    """
    Draws one panel for each set: accuracy as filled contours, with the paths on top.

    Args:
        plane ([`Landscape`]): The landscape to draw.
        path (`str` or `os.PathLike`): The PNG to write.
        title (`str`, *optional*): Title of the figure.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.6 * len(plane.values) + 1.2, 4.8), dpi=150, layout="constrained")
    axes = figure.subplots(1, len(plane.values), squeeze=False)[0]
    for panel, (name, values) in zip(axes, plane.values.items(), strict=True):
        # A map of monotonic lightness, legible with every kind of colour vision and in print.
        levels = np.linspace(values.min(), max(values.max(), values.min() + 1e-6), 13)
        shade = panel.contourf(plane.first, plane.second, values, levels=levels, cmap="cividis")
        figure.colorbar(shade, ax=panel, label=f"accuracy on {name} (%)", format="%.0f")
        for number, (method, points) in enumerate(plane.paths.items()):
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
    figure.suptitle(f"{title}\n" * bool(title) + f"the plane holds {100 * plane.explained:.0f} % of the displacements")
    figure.savefig(path)


__all__ = ["Landscape", "landscape", "plot_landscape"]

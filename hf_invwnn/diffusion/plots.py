"""Plots and a table of forget ratio and KID, and grids of generated images. Takes arrays and histories, no models."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..audit.charts import COLOURS, MARKERS
from ..audit.tables import markdown_table
from ..metrics import METRICS


if TYPE_CHECKING:
    from matplotlib.axes import Axes

# KID has a logarithmic axis if its largest value is so many times the median.
_SQUASHED = 10
# Frames of images: colour and line style, so that they differ in greyscale too.
_NEAR = (COLOURS[4], "-")
_BROKEN = (COLOURS[5], (0, (2, 1)))


class GeneratedRow(NamedTuple):
    """
    Generated `images` of one model, `(N, H, W)` or `(N, H, W, 3)` in 0..1, and their class `probabilities` `(N, C)`.
    """

    images: np.ndarray
    probabilities: np.ndarray


def plot_forgetting(
    histories: Mapping[str, Sequence[Mapping[str, float]]],
    path: str | os.PathLike,
    target: float = 1.0,
    x: str = "step",
    x_label: str = "optimizer steps",
    features: str = "",
    title: str = "",
) -> None:
    """
    Plots the share of the forgotten class and KID over the length of the runs, and KID over the share, as a PNG.

    Args:
        histories (`dict[str, list[dict[str, float]]]`): Title of a method -> points with `eval_forget_ratio` in
            percent, `eval_kid` and `x`, as [`Unlearner.history`] holds them.
        path (`str` or `os.PathLike`): The PNG to write.
        target (`float`, defaults to 1.0): Target of the forget ratio in percent, drawn as a line.
        x (`str`, defaults to `"step"`), x_label (`str`): Key of the points for the x axis, and its label.
        features (`str`, *optional*): Description of the features of KID, for the title.
        title (`str`, *optional*): Title of the figure.

    Raises:
        ValueError: There is no history, or one is empty.
    """
    if not histories or not all(histories.values()):
        raise ValueError("`histories` is empty, or the history of a method is; there is no curve to draw.")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 3.8), dpi=150, layout="constrained")
    ratio_axes, kid_axes, both_axes = figure.subplots(1, 3)
    for index, (name, points) in enumerate(histories.items()):
        style: dict[str, Any] = {
            "color": COLOURS[index % len(COLOURS)],
            "marker": MARKERS[index % len(MARKERS)],
            "markersize": 4,
            "label": name,
            # A run with a second phase begins as one without, which is to be seen.
            "zorder": 3 - index / len(histories),
        }
        length, ratio, kid = ([point[key] for point in points] for key in (x, "eval_forget_ratio", "eval_kid"))
        ratio_axes.plot(length, ratio, **style)
        kid_axes.plot(length, kid, **style)
        both_axes.plot(ratio, kid, **style)
    for axes in (ratio_axes, kid_axes):
        axes.set_xlabel(x_label)
    ratio_axes.set_ylabel("forget ratio (%)")
    ratio_axes.axhline(target, color="#000000", linestyle=":", linewidth=1)
    for axes in (kid_axes, both_axes):
        axes.set_ylabel("KID (lower is better)")
    kids = np.array([point["eval_kid"] for points in histories.values() for point in points])
    if kids.min() > 0 and kids.max() > _SQUASHED * np.median(kids):
        # One run that ruins its images would squash the others.
        for axes in (kid_axes, both_axes):
            axes.set_yscale("log")
    both_axes.set_xlabel("forget ratio (%)")
    both_axes.axvline(target, color="#000000", linestyle=":", linewidth=1)
    both_axes.invert_xaxis()
    for axes in (ratio_axes, kid_axes, both_axes):
        axes.grid(alpha=0.3)
    ratio_axes.legend(fontsize=8)
    figure.suptitle(f"{title}\nKID in: {features}" if features else title, fontsize=9)
    figure.savefig(path)


def plot_generated(
    rows: Mapping[str, GeneratedRow],
    path: str | os.PathLike,
    forget_class: int,
    near: float = 0.2,
    sure: float = 0.6,
    title: str = "",
) -> None:
    """
    Plots the images that models generate from the same noise, a row for each model and a column for each noise, as a
    PNG. Two kinds of images get a frame, and below it the predicted class and its probability: those near the
    forgotten class (solid), with a probability of at least `near` for it, and broken ones (dashed), whose largest
    probability is below `sure`.

    Args:
        rows (`dict[str, GeneratedRow]`): Title of a model -> its images; all of the same length.
        path (`str` or `os.PathLike`): The PNG to write.
        forget_class (`int`): The class to forget.
        near (`float`, defaults to 0.2): Smallest probability of the forgotten class for a solid frame.
        sure (`float`, defaults to 0.6): Largest class probability below which the frame is dashed.
        title (`str`, *optional*): Title of the figure.

    Raises:
        ValueError: There is no row, or rows differ in length.
    """
    lengths = {len(row.images) for row in rows.values()}
    if len(lengths) != 1 or not all(lengths):
        raise ValueError(f"`rows` must have the same number of images for every model, got {sorted(lengths)}.")
    from matplotlib.figure import Figure

    count = lengths.pop()
    figure = Figure(figsize=(1.2 + 0.52 * count, 0.5 + 0.72 * len(rows)), dpi=150, layout="constrained")
    grid = figure.subplots(len(rows), count, squeeze=False)
    for line, (name, row) in zip(grid, rows.items(), strict=True):
        for axes, image, probabilities in zip(line, row.images, row.probabilities, strict=True):
            axes.imshow(image, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
            axes.set_xticks([])
            axes.set_yticks([])
            predicted, confidence = int(probabilities.argmax()), float(probabilities.max())
            if probabilities[forget_class] >= near:
                _frame(axes, _NEAR)
            elif confidence < sure:
                _frame(axes, _BROKEN)
            else:
                _frame(axes, None)
                continue
            axes.set_xlabel(f"{predicted} {100 * confidence:.0f}%", fontsize=6, labelpad=1)
        line[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=8)
    legend = (
        f"solid: class {forget_class} at {100 * near:.0f} % or more; dashed: no class at {100 * sure:.0f} %; "
        "below: predicted class and its probability"
    )
    figure.suptitle(f"{title}\n{legend}" if title else legend, fontsize=8)
    figure.savefig(path)


def _frame(axes: Axes, style: tuple[str, Any] | None) -> None:
    for spine in axes.spines.values():
        if style is None:
            spine.set_visible(False)
        else:
            spine.set_color(style[0])
            spine.set_linestyle(style[1])
            spine.set_linewidth(2)


def forgetting_table(methods: Mapping[str, Sequence[Mapping[str, Any]]], original: Mapping[str, float]) -> str:
    """
    A Markdown table of forget ratio and KID: of the original model, and of every method at the end of its run. With
    several seeds the mean and the standard deviation over them; with one, that of KID over subsets of the images.

    Args:
        methods (`dict[str, list[dict]]`): Title of a method -> for each seed `forget_ratio` in percent, `kid`,
            `kid_std`, `tried`, `steps` and `seconds`.
        original (`dict[str, float]`): `forget_ratio`, `kid` and `kid_std` of the original model.
    """
    rows = [["method", "tried", f"{METRICS['forget_ratio'].title} (%)", METRICS["kid"].title, "steps", "seconds"]]
    rows.append(["original", "", *_ratio_and_kid([original]), "", ""])
    for name, seeds in methods.items():
        costs = [f"{np.mean([values[key] for values in seeds]):,.0f}" for key in ("steps", "seconds")]
        rows.append([name, str(seeds[0]["tried"]), *_ratio_and_kid(seeds), *costs])
    return markdown_table(rows)


def _ratio_and_kid(seeds: Sequence[Mapping[str, float]]) -> list[str]:
    ratio, kid = METRICS["forget_ratio"], METRICS["kid"]
    if len(seeds) == 1:
        return [ratio.format(seeds[0]["forget_ratio"]), f"{kid.format(seeds[0]['kid'])} ± {seeds[0]['kid_std']:.3f}"]
    cells = []
    for metric, key in ((ratio, "forget_ratio"), (kid, "kid")):
        values = [one[key] for one in seeds]
        cells.append(f"{metric.format(float(np.mean(values)))} ± {metric.format(float(np.std(values, ddof=1)))}")
    return cells


__all__ = ["GeneratedRow", "forgetting_table", "plot_forgetting", "plot_generated"]

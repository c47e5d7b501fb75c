"""The picture of a run: what forgetting costs, as test and retain accuracy over UA."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any


# Okabe and Ito's palette, told apart by readers with any kind of colour vision.
SERIES = (
    ("test", "TA", "eval_test_accuracy", "#0072B2", "o", "-"),
    ("retain", "RA", "eval_retain_accuracy", "#D55E00", "s", "--"),
)


def plot_curves(
    history: Sequence[Mapping[str, float]],
    path: str | os.PathLike,
    retrained: Mapping[str, Any] | None = None,
    title: str = "",
) -> None:
    """
    Draws the curve of a run into a PNG.

    Args:
        history (`list[dict[str, float]]`): Points with `ua` in percent and `eval_test_accuracy`,
            `eval_retain_accuracy` or both in 0..1, as [`InvWNNUnlearner.history`] holds them.
        path (`str` or `os.PathLike`): The PNG to write.
        retrained (`dict`, *optional*): `UA`, `TA` and `RA` of the model trained without the forget set, in percent.
        title (`str`, *optional*): Stands above the axes.

    Raises:
        ValueError: `history` is empty, or has nothing to draw.
    """
    if not history:
        raise ValueError("`history` is empty; there is no curve to draw.")
    if not any(key in history[0] for _, _, key, *_ in SERIES):
        raise ValueError("`history` has neither a test nor a retain accuracy; evaluate sets of those names.")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.2), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    ua = [point["ua"] for point in history]
    for name, metric, key, colour, marker, line in SERIES:
        if key not in history[0]:
            continue
        accuracy = [100 * point[key] for point in history]
        axes.plot(ua, accuracy, line, marker=marker, color=colour, markersize=5, label=f"{name} accuracy")
        axes.annotate("start", (ua[0], accuracy[0]), textcoords="offset points", xytext=(6, -12), fontsize=8)
        if retrained is not None:
            label = f"retrained, {name}"
            axes.plot(retrained["UA"], retrained[metric], marker="*", markersize=14, color=colour, ls="", label=label)
    axes.margins(0.06, 0.1)
    axes.set_xlabel("UA: share of the forget set no longer predicted as labelled (%)")
    axes.set_ylabel("accuracy (%)")
    axes.set_title(title)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, loc="best")
    figure.savefig(path)


__all__ = ["plot_curves"]

"""The curves of a run: accuracy over UA as PNG or SVG, losses as SVG; and the colours of all figures."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple


# The palette of Okabe and Ito, distinguishable with any colour vision, with #999933 in place of yellow.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999933")
MARKERS = "osD^v<>PX*h"
UA_AXIS = "UA: share of the forget set no longer predicted as labelled (%)"
# Placeholder for the text colour of the surrounding page.
_TEXT = "#010203"


class Series(NamedTuple):
    """An accuracy of a run: its evaluation set, the same metric of the retrained model, and its style."""

    split: str
    metric: str
    colour: str
    marker: str
    line: str

    @property
    def key(self) -> str:
        """The key in a point of the history."""
        return f"eval_{self.split}_accuracy"


SERIES = (Series("test", "TA", COLOURS[0], "o", "-"), Series("retain", "RA", COLOURS[1], "s", "--"))


def plot_curves(
    history: Sequence[Mapping[str, float]],
    path: str | os.PathLike,
    retrained: Mapping[str, Any] | None = None,
    title: str = "",
) -> None:
    """
    Draws test and retain accuracy over UA into a PNG: of the rewinding, and of the end of a recovery.

    Args:
        history (`list[dict[str, float]]`): Points with `ua` in percent and `eval_test_accuracy`,
            `eval_retain_accuracy` or both in 0..1, as [`Unlearner.history`] holds them.
        path (`str` or `os.PathLike`): The PNG to write.
        retrained (`dict`, *optional*): `UA`, `TA` and `RA` of the retrained model, in percent.
        title (`str`, *optional*): Title of the axes.

    Raises:
        ValueError: `history` is empty, or has neither accuracy.
    """
    if not history:
        raise ValueError("`history` is empty; there is no curve to draw.")
    if not any(series.key in history[0] for series in SERIES):
        raise ValueError("`history` has neither a test nor a retain accuracy; evaluate sets of those names.")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.2), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    _draw_accuracies(axes, history, retrained, annotate_start=True)
    axes.set_title(title)
    axes.legend(fontsize=8, loc="best")
    figure.savefig(path)


def accuracy_curve(history: Sequence[Mapping[str, float]], retrained: Mapping[str, float] | None = None) -> str | None:
    """
    The curve of [`plot_curves`] as an SVG element; `None` if neither accuracy was measured.

    Args:
        history (`list[dict[str, float]]`), retrained (`dict`, *optional*): As for [`plot_curves`].
    """
    if not history or not any(series.key in history[0] for series in SERIES) or "ua" not in history[0]:
        return None
    figure, axes = _figure()
    _draw_accuracies(axes, history, retrained)
    return _svg(figure, axes, "accuracy")


def loss_curve(history: Sequence[Mapping[str, float]]) -> str | None:
    """
    Losses of the evaluation sets over the rounds of a run, as an SVG element; `None` if there are none. A recovery is
    as wide as a round.
    """
    names = [key for key in (history[0] if history else {}) if key.endswith("_loss")][:5]
    if not names:
        return None
    figure, axes = _figure()
    longest = max((point.get("recovery", 0) for point in history), default=0)
    rounds = [
        point["round"] + point["recovery"] / longest
        if point.get("recovery")
        else (point["round"] - 1 + point.get("fraction", 1.0) if point["round"] else 0)
        for point in history
    ]
    for name, colour, marker in zip(names, COLOURS, MARKERS, strict=False):
        label = name.removeprefix("eval_").removesuffix("_loss").replace("_", " ")
        axes.plot(rounds, [point[name] for point in history], marker=marker, color=colour, markersize=4, label=label)
    axes.set_xlabel("rounds, then recovery" if longest else "rounds")
    axes.set_ylabel("loss")
    return _svg(figure, axes, "loss")


def _draw_accuracies(
    axes: Any,
    history: Sequence[Mapping[str, float]],
    retrained: Mapping[str, Any] | None,
    annotate_start: bool = False,
) -> None:
    rewinding = [point for point in history if "recovery" not in point]
    ua = [point["ua"] for point in rewinding]
    end = history[-1] if "recovery" in history[-1] else None
    for series in SERIES:
        if series.key not in history[0]:
            continue
        accuracy = [100 * point[series.key] for point in rewinding]
        style = {"marker": series.marker, "color": series.colour, "markersize": 5}
        axes.plot(ua, accuracy, series.line, label=f"{series.split} accuracy", **style)
        if end is not None:
            recovered = {**style, "markersize": 11, "markerfacecolor": "none", "markeredgewidth": 2}
            path = ([ua[-1], end["ua"]], [accuracy[-1], 100 * end[series.key]])
            axes.plot(*path, ":", color=series.colour)
            axes.plot(path[0][1], path[1][1], ls="", label=f"{series.split}, recovered", **recovered)
        if annotate_start:
            axes.annotate("start", (ua[0], accuracy[0]), textcoords="offset points", xytext=(6, -12), fontsize=8)
        if retrained is not None:
            star = {"marker": "*", "markersize": 14, "color": series.colour, "ls": ""}
            axes.plot(retrained["UA"], retrained[series.metric], label=f"retrained, {series.split}", **star)
    axes.margins(0.06, 0.1)
    axes.grid(alpha=0.3)
    axes.set_xlabel(UA_AXIS)
    axes.set_ylabel("accuracy (%)")


def _figure() -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.0, 3.6), layout="constrained")
    axes = figure.add_subplot()
    axes.margins(0.06, 0.1)
    axes.grid(alpha=0.3)
    return figure, axes


def _svg(figure: Any, axes: Any, salt: str) -> str:
    """The figure as an SVG element that takes the text colour of the page it is embedded in."""
    from matplotlib import rc_context

    legend = axes.legend(fontsize=9, loc="best", frameon=False)
    for text in (*legend.get_texts(), axes.xaxis.label, axes.yaxis.label):
        text.set_color(_TEXT)
    axes.tick_params(colors=_TEXT)
    for spine in axes.spines.values():
        spine.set_color(_TEXT)
    file = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": salt, "font.family": "sans-serif"}):
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    element = file.getvalue()[file.getvalue().index("<svg") :]
    element = re.sub(r"<metadata>.*?</metadata>", "", element, flags=re.DOTALL)
    # The identifiers of two figures on one page must differ.
    element = re.sub(r'id="([^"]+)"', rf'id="{salt}-\1"', element)
    element = re.sub(r'(xlink:href="#|url\(#)', rf"\g<1>{salt}-", element)
    element = re.sub(r' width="[^"]+pt" height="[^"]+pt"| height="[^"]+pt"| width="[^"]+pt"', "", element, count=2)
    return element.replace(_TEXT, "currentColor")


__all__ = ["COLOURS", "MARKERS", "SERIES", "UA_AXIS", "accuracy_curve", "loss_curve", "plot_curves"]

"""The curves of a run as SVG that takes the colours of the page it stands in."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

from .curves import SERIES


# Okabe and Ito's palette, told apart by readers with any kind of colour vision.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00")
_MARKERS = ("o", "s", "^", "D", "v")
# Stands for the colour of the text around the picture.
_TEXT = "#010203"


def accuracy_curve(history: Sequence[Mapping[str, float]], oracle: Mapping[str, float] | None = None) -> str | None:
    """
    Accuracy on retained and test examples over UA, as an SVG element; `None` where neither was watched.

    Args:
        history (`list[dict[str, float]]`): The measured points of a run.
        oracle (`dict`, *optional*): `UA`, `TA` and `RA` of the retrained model.
    """
    if not history or not any(key in history[0] for _, _, key, *_ in SERIES) or "ua" not in history[0]:
        return None
    figure, axes = _figure()
    for name, metric, key, colour, marker, line in SERIES:
        if key in history[0]:
            points = [(point["ua"], 100 * point[key]) for point in history]
            axes.plot(*zip(*points, strict=True), line, marker=marker, color=colour, markersize=4, label=name)
            if oracle:
                label = f"{name}, retrained"
                axes.plot(oracle["UA"], oracle[metric], marker="*", markersize=13, color=colour, ls="", label=label)
    axes.set_xlabel("UA: forget set no longer predicted as labelled (%)")
    axes.set_ylabel("accuracy (%)")
    return _svg(figure, axes, "accuracy")


def loss_curve(history: Sequence[Mapping[str, float]]) -> str | None:
    """Losses of the evaluation sets over the turns of a run, as an SVG element; `None` where there are none."""
    names = [key for key in (history[0] if history else {}) if key.endswith("_loss")][: len(_COLOURS)]
    if not names:
        return None
    figure, axes = _figure()
    for name, colour, marker in zip(names, _COLOURS, _MARKERS, strict=False):
        label = name.removeprefix("eval_").removesuffix("_loss").replace("_", " ")
        turns = [point["rewind"] - 1 + point.get("fraction", 1.0) if point["rewind"] else 0 for point in history]
        losses = [point[name] for point in history]
        axes.plot(turns, losses, marker=marker, color=colour, markersize=4, label=label)
    axes.set_xlabel("turns")
    axes.set_ylabel("loss")
    return _svg(figure, axes, "loss")


def _figure() -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.0, 3.6), layout="constrained")
    axes = figure.add_subplot()
    axes.margins(0.06, 0.1)
    axes.grid(alpha=0.3)
    return figure, axes


def _svg(figure: Any, axes: Any, salt: str) -> str:
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
    # Two pictures in a page may not have the same identifiers.
    element = re.sub(r'id="([^"]+)"', rf'id="{salt}-\1"', element)
    element = re.sub(r'(xlink:href="#|url\(#)', rf"\g<1>{salt}-", element)
    element = re.sub(r' width="[^"]+pt" height="[^"]+pt"| height="[^"]+pt"| width="[^"]+pt"', "", element, count=2)
    return element.replace(_TEXT, "currentColor")


__all__ = ["accuracy_curve", "loss_curve"]

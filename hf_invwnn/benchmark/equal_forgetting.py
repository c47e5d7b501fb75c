"""Comparison at equal forgetting: the curve of a run, read off at a given UA."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise


def at_ua(history: Sequence[Mapping[str, float]], ua: float) -> dict[str, float] | None:
    """
    The metrics of a run where its UA first reaches `ua`, interpolated linearly between the two points around it.

    Args:
        history (`list[dict[str, float]]`): Points with `ua` in percent, in the order they were measured, as
            [`Unlearner.history`] holds them.
        ua (`float`): In percent.

    Returns:
        `dict[str, float]` with every metric that both points have, or `None` if the run did not reach `ua`. A run
        that starts beyond `ua` is read off at its start.

    Raises:
        ValueError: `history` is empty.
    """
    if not history:
        raise ValueError("`history` is empty; there is no curve to read off.")
    if history[0]["ua"] >= ua:
        return dict(history[0])
    for before, after in pairwise(history):
        if after["ua"] >= ua:
            fraction = (ua - before["ua"]) / (after["ua"] - before["ua"])
            return {name: before[name] + fraction * (after[name] - before[name]) for name in before if name in after}
    return None


__all__ = ["at_ua"]

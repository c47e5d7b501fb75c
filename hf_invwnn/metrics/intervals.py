"""Confidence intervals of shares."""

from __future__ import annotations

from typing import NamedTuple


class Interval(NamedTuple):
    """A share in percent, its interval, and the number of examples."""

    value: float
    low: float
    high: float
    examples: int


def share_interval(percent: float, count: int, confidence: float = 0.95) -> Interval:
    """
    The Wilson interval of a share of independent examples.

    Args:
        percent (`float`): The share, in 0..100.
        count (`int`): Number of examples.
        confidence (`float`, defaults to 0.95): Coverage of the interval.

    Raises:
        ValueError: `count` is below 1, or `percent` is not a share of `count` examples.
    """
    from scipy.stats import binomtest

    successes = percent / 100 * count
    if count < 1 or not 0 <= percent <= 100 or abs(successes - round(successes)) > 1e-6 * count:
        raise ValueError(f"`percent` must be a share of `count` examples, got {percent} of {count}.")
    interval = binomtest(round(successes), count).proportion_ci(confidence, method="wilson")
    return Interval(percent, 100 * float(interval.low), 100 * float(interval.high), count)


__all__ = ["Interval", "share_interval"]

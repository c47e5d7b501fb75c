"""How far a share of so many examples can be trusted."""

from __future__ import annotations

from typing import NamedTuple


class Interval(NamedTuple):
    """A share in percent, and the interval around it."""

    value: float
    low: float
    high: float
    examples: int


def share_interval(percent: float, count: int, confidence: float = 0.95) -> Interval:
    """
    Wilson's interval of a share of independent examples.

    Args:
        percent (`float`): The share, in 0..100.
        count (`int`): Examples it is a share of.
        confidence (`float`, defaults to 0.95): Coverage.

    Raises:
        ValueError: `count` is below 1, or `percent` is no share of `count` examples.
    """
    from scipy.stats import binomtest

    successes = percent / 100 * count
    if count < 1 or not 0 <= percent <= 100 or abs(successes - round(successes)) > 1e-6 * count:
        raise ValueError(f"`percent` must be a share of `count` examples, got {percent} of {count}.")
    found = binomtest(round(successes), count).proportion_ci(confidence, method="wilson")
    return Interval(percent, 100 * float(found.low), 100 * float(found.high), count)


__all__ = ["Interval", "share_interval"]

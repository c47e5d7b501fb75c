"""When enough is forgotten: stopping rules, and the search for the exact point between two rewinds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol


class MissingMetric(ValueError):
    """A stopping rule needs a metric that the evaluation does not give."""


class StoppingRule(Protocol):
    """
    Says how far a measured point is past the goal.

    `splits` are the evaluation sets it needs; `tolerance` is how near to the goal, in the unit of `excess`, the search
    between two rewinds has to come; `never_past` is whether it must end before the goal and not just near it.
    """

    splits: tuple[str, ...]
    tolerance: float
    never_past: bool

    def excess(self, metrics: Mapping[str, float]) -> float:
        """Below 0: go on. 0 or above: the goal is reached, or passed by that much."""
        ...


def _metric(metrics: Mapping[str, float], name: str, rule: StoppingRule) -> float:
    if name not in metrics:
        raise MissingMetric(f"{rule} needs the metric `{name}`, but the evaluation gives only {sorted(metrics)}.")
    return metrics[name]


@dataclass
class UATarget:
    """
    Stop where UA, `100 * (1 - accuracy on D_f)`, reaches `target` (an oracle's UA, for instance).

    Args:
        target (`float`): UA in percent, 0 to 100.
        tolerance (`float`, defaults to 0.5): In points; the caller widens it to one example where the set is small.
    """

    target: float
    tolerance: float = 0.5
    splits: tuple[str, ...] = ("forget",)
    never_past: bool = False

    def __str__(self) -> str:
        return f"target_ua = {self.target:g}"

    def excess(self, metrics: Mapping[str, float]) -> float:
        return 100 * (1 - _metric(metrics, "eval_forget_accuracy", self)) - self.target


@dataclass
class UnseenLoss:
    """
    Stop where the model is as unsure of the forget set as of data it has never seen: the forget loss meets the
    held-out loss. Needs no retrained model.

    Args:
        tolerance (`float`, defaults to 0.02): How near the ratio of the two losses has to come to 1.
    """

    tolerance: float = 0.02
    splits: tuple[str, ...] = ("forget", "held_out")
    never_past: bool = False

    def __str__(self) -> str:
        return "stop_at_unseen_loss"

    def excess(self, metrics: Mapping[str, float]) -> float:
        held_out = _metric(metrics, "eval_held_out_loss", self)
        return _metric(metrics, "eval_forget_loss", self) / max(held_out, 1e-12) - 1


@dataclass
class UtilityFloor:
    """
    Never let a metric fall below `floor`; stop at the last point that keeps it.

    Args:
        metric (`str`): A metric of the evaluation, such as `"eval_held_out_accuracy"`; larger is better.
        floor (`float`): The least value allowed, in the metric's own unit.
        tolerance (`float`, defaults to 0.005): How far above the floor the search may end.
        splits (`tuple[str]`): The evaluation set that `metric` comes from.
    """

    metric: str
    floor: float
    splits: tuple[str, ...]
    tolerance: float = 0.005
    never_past: bool = True

    def __str__(self) -> str:
        return f"min_utility = {self.floor:g} of {self.metric}"

    def excess(self, metrics: Mapping[str, float]) -> float:
        return self.floor - _metric(metrics, self.metric, self)


@dataclass(frozen=True)
class Crossing:
    """Where on a segment the goal lies: the fraction of the way, its excess, and the evaluations it took."""

    fraction: float
    excess: float
    evaluations: int


def find_crossing(
    excess_at: Callable[[float], float],
    excess_at_end: float,
    tolerance: float,
    never_past: bool = False,
    max_evaluations: int = 25,
) -> Crossing:
    """
    Bisects a segment whose start lies before the goal and whose end lies past it, with evaluations only.

    Args:
        excess_at (`Callable[[float], float]`): Excess at a fraction in (0, 1) of the way from start to end.
        excess_at_end (`float`): Excess at the end, at least 0.
        tolerance (`float`): A point within this of the goal ends the search.
        never_past (`bool`, defaults to `False`): Accept only points whose excess is 0 or less.
        max_evaluations (`int`, defaults to 25): Give up here, with the nearest acceptable point seen (the start, at
            fraction 0, if nothing else was acceptable: past the goal with `never_past`, or not finite).

    Returns:
        [`Crossing`].
    """

    def acceptable(excess: float) -> bool:
        return excess <= 0 if never_past else excess < float("inf")  # neither holds for a NaN

    best = Crossing(1.0, excess_at_end, 0) if acceptable(excess_at_end) else Crossing(0.0, float("-inf"), 0)
    low, high = 0.0, 1.0
    for evaluations in range(max_evaluations + 1):
        if acceptable(best.excess) and abs(best.excess) <= tolerance:
            return Crossing(best.fraction, best.excess, evaluations)
        if evaluations == max_evaluations:
            break
        middle = (low + high) / 2
        excess = excess_at(middle)
        if acceptable(excess) and abs(excess) < abs(best.excess):
            best = Crossing(middle, excess, evaluations)
        # A NaN counts as past the goal: nothing beyond it is worth having.
        low, high = (middle, high) if excess < 0 else (low, middle)
    return Crossing(best.fraction, best.excess, max_evaluations)


__all__ = [
    "Crossing",
    "MissingMetric",
    "StoppingRule",
    "UATarget",
    "UnseenLoss",
    "UtilityFloor",
    "find_crossing",
]

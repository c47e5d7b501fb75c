"""Stopping rules, and the bisection that finds the point between two rounds where one is reached."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import MissingMetricError
from ..metrics.unlearning_accuracy import ua


if TYPE_CHECKING:
    from .arguments import UnlearningArguments


class StoppingRule(Protocol):
    """
    Computes how far a measured point exceeds a goal.

    Attributes:
        splits (`tuple[str, ...]`): Evaluation sets that the rule needs.
        tolerance (`float`): Distance from the goal, in the unit of `excess`, at which the search between two rounds
            ends.
        must_not_exceed (`bool`): Whether the search must end before the goal, not only near it.
    """

    splits: tuple[str, ...]
    tolerance: float
    must_not_exceed: bool

    def excess(self, metrics: Mapping[str, float]) -> float:
        """Negative before the goal; 0 or positive where it is reached or exceeded."""
        ...


def _metric(metrics: Mapping[str, float], name: str, rule: StoppingRule) -> float:
    if name not in metrics:
        raise MissingMetricError(
            f"{rule} needs the metric `{name}`, but the evaluation returns only {sorted(metrics)}."
        )
    return metrics[name]


@dataclass
class UATarget:
    """
    Stops where UA, `100 * (1 - accuracy on D_f)`, reaches `target` (for instance the UA of a retrained model).

    Args:
        target (`float`): UA in percent, 0 to 100.
        tolerance (`float`, defaults to 0.5): In points; the caller raises it to one example for a small set.
    """

    target: float
    tolerance: float = 0.5
    splits: tuple[str, ...] = ("forget",)
    must_not_exceed: bool = False

    def __str__(self) -> str:
        return f"target_ua = {self.target:g}"

    def excess(self, metrics: Mapping[str, float]) -> float:
        _metric(metrics, "eval_forget_accuracy", self)
        return ua(metrics) - self.target


@dataclass
class UnseenLoss:
    """
    Stops where the loss on the forget set reaches the loss on unseen examples: the model is then as unsure of the
    forget set as of data it has never seen. Needs no retrained model.

    Args:
        tolerance (`float`, defaults to 0.02): Allowed distance of the ratio of the two losses from 1.
    """

    tolerance: float = 0.02
    splits: tuple[str, ...] = ("forget", "unseen")
    must_not_exceed: bool = False

    def __str__(self) -> str:
        return "stop_at_unseen_loss"

    def excess(self, metrics: Mapping[str, float]) -> float:
        unseen = _metric(metrics, "eval_unseen_loss", self)
        return _metric(metrics, "eval_forget_loss", self) / max(unseen, 1e-12) - 1


@dataclass
class UtilityFloor:
    """
    Stops at the last point where a metric is not below `floor`.

    Args:
        metric (`str`): A metric of the evaluation, such as `"eval_unseen_accuracy"`; larger is better.
        floor (`float`): The smallest allowed value, in the unit of the metric.
        splits (`tuple[str, ...]`): The evaluation set of the metric.
        tolerance (`float`, defaults to 0.005): How far above the floor the search may end.
    """

    metric: str
    floor: float
    splits: tuple[str, ...]
    tolerance: float = 0.005
    must_not_exceed: bool = True

    def __str__(self) -> str:
        return f"min_utility = {self.floor:g} of {self.metric}"

    def excess(self, metrics: Mapping[str, float]) -> float:
        return self.floor - _metric(metrics, self.metric, self)


@dataclass(frozen=True)
class Crossing:
    """A point on a segment: the fraction of the way, its excess, and the number of evaluations that found it."""

    fraction: float
    excess: float
    evaluations: int


def find_crossing(
    excess_at: Callable[[float], float],
    excess_at_end: float,
    tolerance: float,
    must_not_exceed: bool = False,
    max_evaluations: int = 25,
) -> Crossing:
    """
    Bisects a segment whose start lies before the goal and whose end exceeds it, with evaluations only.

    Args:
        excess_at (`Callable[[float], float]`): Excess at a fraction in (0, 1) of the way from start to end.
        excess_at_end (`float`): Excess at the end, at least 0.
        tolerance (`float`): A point within this of the goal ends the search.
        must_not_exceed (`bool`, defaults to `False`): Accept only points whose excess is 0 or less.
        max_evaluations (`int`, defaults to 25): Number of evaluations after which the nearest acceptable point is
            returned; the start, at fraction 0, if no other was acceptable.

    Returns:
        [`Crossing`].
    """

    def acceptable(excess: float) -> bool:
        return excess <= 0 if must_not_exceed else excess < float("inf")  # both are false for a NaN

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
        # A NaN counts as exceeding the goal.
        low, high = (middle, high) if excess < 0 else (low, middle)
    return Crossing(best.fraction, best.excess, max_evaluations)


def rules_from(args: UnlearningArguments, evaluation_sets: Mapping[str, Any]) -> list[StoppingRule]:
    """The stopping rules that the arguments ask for."""
    rules: list[StoppingRule] = []
    if args.target_ua is not None:
        size = len(evaluation_sets["forget"]) if "forget" in evaluation_sets else 1
        rules.append(UATarget(args.target_ua, tolerance=max(args.ua_tolerance, 100 / size)))
    if args.stop_at_unseen_loss:
        rules.append(UnseenLoss())
    if args.min_utility is not None:
        split = args.utility_metric.removeprefix("eval_").rpartition("_")[0]
        rules.append(UtilityFloor(args.utility_metric, args.min_utility, splits=(split,)))
    return rules


__all__ = [
    "Crossing",
    "StoppingRule",
    "UATarget",
    "UnseenLoss",
    "UtilityFloor",
    "find_crossing",
    "rules_from",
]

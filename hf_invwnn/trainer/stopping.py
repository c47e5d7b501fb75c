"""Stopping rules, and the bisection that finds the point between two rounds where one is reached."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import MissingMetricError
from ..metrics.unlearning_accuracy import ua


if TYPE_CHECKING:
    from .arguments import UnlearningArguments


# Nats by which the loss of a classifier on unseen examples may always rise.
_SLACK = 0.2


class StoppingRule(Protocol):
    """
    Computes how far a measured point exceeds a goal.

    Attributes:
        splits (`tuple[str, ...]`): Evaluation sets that the rule needs.
        tolerance (`float`): Distance from the goal, in the unit of `excess`, at which the search between two rounds
            ends.
        must_not_exceed (`bool`): Whether the search must end before the goal, not only near it.

    Five members are optional: `begin(metrics)` is called with the metrics of the original model; `start_splits` are
    the evaluation sets that it needs in addition; `is_floor = True` marks a rule that limits the damage of a run, and
    whose end is no success if the run has another goal; `deeper(share)` is the rule with which rewinding ends before a
    recovery; and `steering(metrics)`, within a recovery, is 1 where a model is as far beyond the goal as it should be
    at most, and -1 where it is as far short of it.
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

    def deeper(self, share: float) -> Deeper:
        """Further by a share of the points from the target to 100."""
        return Deeper(self, share * (100 - self.target))


@dataclass
class UnseenLoss:
    """
    Stops where the loss on the forget set reaches the loss that the original model has on unseen examples: the model
    is then as unsure of the forget set as it was of data it had never seen. Needs no retrained model.

    The reference is measured once, before the first round. The loss on unseen examples after a round is no reference,
    because the run itself raises it.

    Args:
        tolerance (`float`, defaults to 0.01): Allowed distance of the ratio of the two losses from 1.
    """

    tolerance: float = 0.01
    splits: tuple[str, ...] = ("forget",)
    start_splits: tuple[str, ...] = ("unseen",)
    must_not_exceed: bool = False
    reference: float | None = field(default=None, init=False)

    def __str__(self) -> str:
        return "stop_at_unseen_loss"

    def begin(self, metrics: Mapping[str, float]) -> None:
        self.reference = _metric(metrics, "eval_unseen_loss", self)

    def excess(self, metrics: Mapping[str, float]) -> float:
        reference = self.reference if self.reference is not None else _metric(metrics, "eval_unseen_loss", self)
        return _metric(metrics, "eval_forget_loss", self) / max(reference, 1e-12) - 1

    def deeper(self, share: float) -> Deeper:
        """Further by a share of the loss."""
        return Deeper(self, share)


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
    is_floor: bool = True

    def __str__(self) -> str:
        return f"min_utility = {self.floor:g} of {self.metric}"

    def excess(self, metrics: Mapping[str, float]) -> float:
        return self.floor - _metric(metrics, self.metric, self)


@dataclass
class UnseenFloor:
    """
    Ends a run before the loss on unseen examples rises, or the accuracy on them falls, by more than a bound. It is set
    in every run with an evaluation set `"unseen"`, so that no run is called a success that ruined the model.

    With L and A the loss and the accuracy before the first round, a point must keep

        loss     <= max((1 + rise) L, L + slack)        slack is 0.2 where an accuracy is measured, otherwise 0
        accuracy >= A - drop                            where an accuracy is measured

    The slack is for a classifier whose loss on unseen examples is close to 0, of which a share would be too little.

    Args:
        rise (`float`): Share by which the loss may rise.
        drop (`float`): Share of the examples by which the accuracy may fall.
    """

    rise: float
    drop: float
    splits: tuple[str, ...] = ("unseen",)
    tolerance: float = 0.01
    must_not_exceed: bool = True
    is_floor: bool = True
    max_loss: float = field(default=float("inf"), init=False)
    min_accuracy: float = field(default=0.0, init=False)

    def __str__(self) -> str:
        return f"max_unseen_loss_rise = {self.rise:g}, max_unseen_accuracy_drop = {self.drop:g}"

    def begin(self, metrics: Mapping[str, float]) -> None:
        loss, accuracy = _metric(metrics, "eval_unseen_loss", self), metrics.get("eval_unseen_accuracy")
        self.max_loss = max(loss * (1 + self.rise), loss + (_SLACK if accuracy is not None else 0.0))
        self.min_accuracy = 0.0 if accuracy is None else accuracy - self.drop

    def excess(self, metrics: Mapping[str, float]) -> float:
        """The larger of the two excesses: of the loss as a share of its bound, of the accuracy as a share."""
        too_high = _metric(metrics, "eval_unseen_loss", self) / max(self.max_loss, 1e-12) - 1
        too_low = self.min_accuracy - metrics.get("eval_unseen_accuracy", 1.0)
        return too_high if too_high != too_high else max(too_high, too_low)


@dataclass
class Deeper:
    """
    A goal that lies further than another, because recovery gives some of it back.

    Args:
        goal ([`StoppingRule`]): The other goal.
        by (`float`): How much further, in the unit of its excess.
    """

    goal: StoppingRule
    by: float
    must_not_exceed: bool = False

    def __post_init__(self) -> None:
        self.splits, self.tolerance = self.goal.splits, self.goal.tolerance

    def __str__(self) -> str:
        return str(self.goal)

    def excess(self, metrics: Mapping[str, float]) -> float:
        return self.goal.excess(metrics) - self.by


def deeper(rule: StoppingRule, share: float) -> StoppingRule:
    """
    The rule with which rewinding ends before a recovery.

    Args:
        rule ([`StoppingRule`]): A goal of the run. A rule that has no `deeper(share)` stays as it is.
        share (`float`): How much further, as a share.
    """
    further: StoppingRule = rule.deeper(share) if hasattr(rule, "deeper") else rule
    return further


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


def begin_rules(rules: Sequence[StoppingRule], metrics: Mapping[str, float]) -> None:
    """Tells the rules the metrics of the original model."""
    for rule in rules:
        if hasattr(rule, "begin"):
            rule.begin(metrics)


def goals_of(rules: Sequence[StoppingRule]) -> list[StoppingRule]:
    """The rules that say what a run is for: those that are no floor; `min_utility` if there is no other."""
    goals = [rule for rule in rules if not getattr(rule, "is_floor", False)]
    return goals or [rule for rule in rules if isinstance(rule, UtilityFloor)]


def floors_of(rules: Sequence[StoppingRule]) -> list[StoppingRule]:
    """The rules that limit the damage of a run."""
    return [rule for rule in rules if getattr(rule, "is_floor", False)]


def splits_of(rule: StoppingRule) -> tuple[str, ...]:
    """The evaluation sets that a rule needs, at the start or after every round."""
    return (*rule.splits, *getattr(rule, "start_splits", ()))


def rules_from(args: UnlearningArguments, evaluation_sets: Mapping[str, Any]) -> list[StoppingRule]:
    """The stopping rules that the arguments ask for, and the floor of a run with unseen examples."""
    rules: list[StoppingRule] = []
    if args.target_ua is not None:
        size = len(evaluation_sets["forget"]) if "forget" in evaluation_sets else 1
        rules.append(UATarget(args.target_ua, tolerance=max(args.ua_tolerance, 100 / size)))
    if args.stop_at_unseen_loss:
        rules.append(UnseenLoss())
    if "unseen" in evaluation_sets:
        rules.append(UnseenFloor(args.max_unseen_loss_rise, args.max_unseen_accuracy_drop))
    if args.min_utility is not None:
        # Names of sets and of metrics may hold underscores.
        named = [name for name in evaluation_sets if args.utility_metric.startswith(f"eval_{name}_")]
        split = max(named, key=len, default=args.utility_metric.removeprefix("eval_").rpartition("_")[0])
        rules.append(UtilityFloor(args.utility_metric, args.min_utility, splits=(split,)))
    return rules


__all__ = [
    "Crossing",
    "Deeper",
    "StoppingRule",
    "UATarget",
    "UnseenFloor",
    "UnseenLoss",
    "UtilityFloor",
    "begin_rules",
    "deeper",
    "find_crossing",
    "floors_of",
    "goals_of",
    "splits_of",
    "rules_from",
]

"""Stopping rules, and the search for the exact point between two rewinds."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from hf_invwnn.errors import MissingMetricError
from hf_invwnn.trainer.stopping import UATarget, UnseenLoss, UtilityFloor, find_crossing


# ---- Rules ----


@pytest.mark.parametrize(("accuracy", "excess"), [(1.0, -20.0), (0.8, 0.0), (0.5, 30.0)])
def test_ua_target_measures_points_of_ua(accuracy: float, excess: float) -> None:
    assert UATarget(20.0).excess({"eval_forget_accuracy": accuracy}) == pytest.approx(excess, abs=1e-9)


@pytest.mark.parametrize(("forget", "unseen", "excess"), [(0.1, 1.0, -0.9), (1.0, 1.0, 0.0), (3.0, 2.0, 0.5)])
def test_unseen_loss_measures_the_ratio_of_the_losses(forget: float, unseen: float, excess: float) -> None:
    metrics = {"eval_forget_loss": forget, "eval_unseen_loss": unseen}
    assert UnseenLoss().excess(metrics) == pytest.approx(excess)


def test_unseen_loss_stands_a_loss_of_zero() -> None:
    assert UnseenLoss().excess({"eval_forget_loss": 0.1, "eval_unseen_loss": 0.0}) > 0


@pytest.mark.parametrize(("metric", "excess"), [(0.9, -0.2), (0.7, 0.0), (0.6, 0.1)])
def test_utility_floor_measures_what_is_lacking(metric: float, excess: float) -> None:
    rule = UtilityFloor("eval_unseen_accuracy", 0.7, splits=("unseen",))
    assert rule.excess({"eval_unseen_accuracy": metric}) == pytest.approx(excess)
    assert rule.must_not_exceed


@pytest.mark.parametrize(
    ("rule", "metric"),
    [
        (UATarget(10.0), "eval_forget_accuracy"),
        (UnseenLoss(), "eval_unseen_loss"),
        (UtilityFloor("eval_test_f1", 0.5, splits=("test",)), "eval_test_f1"),
    ],
)
def test_a_missing_metric_is_named_with_the_rule_and_what_there_is(rule: object, metric: str) -> None:
    with pytest.raises(MissingMetricError, match=f"`{metric}`.*eval_runtime") as refused:
        rule.excess({"eval_runtime": 1.0})
    assert str(rule) in str(refused.value)


# ---- The search ----


class Counted:
    """A function that counts its calls and sees that they lie inside the segment."""

    def __init__(self, function: Callable[[float], float]) -> None:
        self.function, self.asked = function, []

    def __call__(self, fraction: float) -> float:
        assert 0 < fraction < 1, "the ends have been measured already"
        self.asked.append(fraction)
        return self.function(fraction)


@pytest.mark.parametrize("crossing", [0.03, 0.3, 0.5, 0.97])
@pytest.mark.parametrize("must_not_exceed", [False, True])
def test_a_monotone_excess_is_met_within_the_tolerance(crossing: float, must_not_exceed: bool) -> None:
    function = Counted(lambda fraction: 40 * (fraction - crossing))
    found = find_crossing(function, function.function(1.0), tolerance=0.5, must_not_exceed=must_not_exceed)
    assert abs(found.excess) <= 0.5
    assert found.excess == function.function(found.fraction), "the excess must be that of the point returned"
    assert found.evaluations == len(function.asked) <= 8
    if must_not_exceed:
        assert found.excess <= 0


def test_an_end_within_the_tolerance_is_taken_without_an_evaluation() -> None:
    function = Counted(lambda fraction: 0.0)
    found = find_crossing(function, 0.3, tolerance=0.5)
    assert (found.fraction, found.excess, found.evaluations) == (1.0, 0.3, 0)
    assert function.asked == []


def test_an_end_past_a_floor_is_not_taken_even_within_the_tolerance() -> None:
    found = find_crossing(Counted(lambda fraction: 0.4 * (2 * fraction - 1)), 0.4, tolerance=0.5, must_not_exceed=True)
    assert found.fraction < 1
    assert -0.5 <= found.excess <= 0


def test_an_end_exactly_on_the_floor_is_taken() -> None:
    found = find_crossing(Counted(lambda fraction: -1.0), 0.0, tolerance=0.5, must_not_exceed=True)
    assert (found.fraction, found.evaluations) == (1.0, 0)


def test_at_a_jump_the_nearer_side_is_taken() -> None:
    """No point lies within the tolerance; the search must end, with the nearer of the two."""
    nearer_before = find_crossing(Counted(lambda fraction: -2.0 if fraction < 0.6 else 9.0), 9.0, tolerance=0.5)
    assert nearer_before.excess == -2.0
    assert nearer_before.fraction < 0.6
    nearer_after = find_crossing(Counted(lambda fraction: -9.0 if fraction < 0.6 else 2.0), 3.0, tolerance=0.5)
    assert nearer_after.excess == 2.0
    assert nearer_after.fraction >= 0.6


def test_at_a_jump_a_floor_is_kept() -> None:
    found = find_crossing(
        Counted(lambda fraction: -9.0 if fraction < 0.6 else 0.01), 2.0, tolerance=0.5, must_not_exceed=True
    )
    assert found.excess == -9.0
    assert found.fraction < 0.6


def test_a_floor_that_no_point_keeps_leads_back_to_the_start() -> None:
    found = find_crossing(Counted(lambda fraction: 1.0), 2.0, tolerance=0.5, must_not_exceed=True)
    assert found.fraction == 0.0


@pytest.mark.parametrize("must_not_exceed", [False, True])
def test_a_nan_counts_as_past_the_goal(must_not_exceed: bool) -> None:
    """The search must turn back from it and never return it."""
    function = Counted(lambda fraction: 10 * (fraction - 0.3) if fraction < 0.7 else math.nan)
    found = find_crossing(function, 50.0, tolerance=0.1, must_not_exceed=must_not_exceed)
    assert abs(found.excess) <= 0.1
    assert found.fraction == pytest.approx(0.3, abs=0.011)


@pytest.mark.parametrize("must_not_exceed", [False, True])
def test_a_nan_at_the_end_is_turned_back_from(must_not_exceed: bool) -> None:
    function = Counted(lambda fraction: 10 * (fraction - 0.3) if fraction < 0.7 else math.nan)
    found = find_crossing(function, math.nan, tolerance=0.1, must_not_exceed=must_not_exceed)
    assert abs(found.excess) <= 0.1


def test_nothing_but_nan_leads_back_to_the_start() -> None:
    """Better no rewind than a point that cannot be measured."""
    found = find_crossing(Counted(lambda fraction: math.nan), math.nan, tolerance=0.1)
    assert found.fraction == 0.0


@pytest.mark.parametrize("budget", [1, 4, 25])
def test_the_budget_of_evaluations_is_kept(budget: int) -> None:
    function = Counted(lambda fraction: -1.0 if fraction < 1 / 3 else 1.0)
    found = find_crossing(function, 1.0, tolerance=1e-9, max_evaluations=budget)
    assert found.evaluations == len(function.asked) == budget

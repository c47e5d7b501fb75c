"""The second phase of a run: when it begins, what is measured in it, and where it ends."""

from __future__ import annotations

import math
import weakref
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from transformers import TrainerControl, TrainerState
from transformers.utils import logging

from ..errors import NonFiniteLossError, NonFiniteWeightsError
from .measuring import check_finite
from .stopping import Deeper, StoppingRule, deeper, floors_of, goals_of


if TYPE_CHECKING:
    from .callback import UnlearningCallback
    from .recovery import Recovery
    from .state import RunState
    from .unlearner import Unlearner


logger = logging.get_logger(__name__)

# Most measured points of one recovery.
_MOST_POINTS = 20
# The weight of what is kept is not steered in the first part of a recovery, in which the model changes most, and never
# beyond this factor.
_NOT_STEERED, _MOST_STEERED = 0.2, 16.0

_WHERE = {"rewound": "at the end of rewinding", "beyond": "where they were last beyond it"}


class RecoveryPhase:
    r"""
    Decides between rewinding and recovery, and ends a run exactly where it was asked to.

    Rewinding ends deeper than the goal, and recovery gives some of it back. If the recovered model is short of the
    goal, the point is searched on the segment from it to the last measured model that was not, or to the rewound one
    if there was none; if it lies beyond the goal, on the segment from the original model to it. Both searches
    evaluate the sets of the goal only, which for a target UA is D_f.

    Args:
        callback ([`UnlearningCallback`]): The schedule that it is a part of.
    """

    def __init__(self, callback: UnlearningCallback) -> None:
        self._callback = weakref.ref(callback)

    @property
    def callback(self) -> UnlearningCallback:
        callback = self._callback()
        assert callback is not None  # it owns the phase
        return callback

    @property
    def unlearner(self) -> Unlearner:
        return self.callback.unlearner

    @property
    def recovery(self) -> Recovery:
        return self.unlearner.recovery

    @property
    def run(self) -> RunState:
        return self.unlearner.run_state

    # ---- Events ----

    def after_rewinding(
        self, state: TrainerState, control: TrainerControl, optimizer: Any, reason: str, met: bool
    ) -> None:
        """Begins the recovery, or ends the run if it has none or nothing was changed."""
        changed = any(point["round"] > self.run.rounds_before and point["fraction"] > 0 for point in self.run.history)
        if not (self.recovery.steps and changed):
            self.callback.stop(control, reason, met)
            return
        try:
            self.run.drift = self.recovery.begin()
        except NonFiniteLossError as error:
            self.callback.stop(control, f"{reason}; there was no recovery, because {error}")
            return
        self.run.recovering, self.run.phase_began = True, state.global_step
        self.run.rewinding_ended, self.run.rewinding_met = reason, met
        self.run.weight = self.unlearner.args.recovery_weight
        optimizer.state.clear()

    def is_point(self, steps: int) -> bool:
        """Whether the model is measured after so many steps of a recovery."""
        return steps == self.recovery.steps or steps % -(-self.recovery.steps // _MOST_POINTS) == 0

    def after_step(self, state: TrainerState, control: TrainerControl, steps: int, optimizer: Any) -> None:
        """Measures the model, and ends the recovery after its last step."""
        try:
            self.unlearner.tracked.check_finite()
            metrics = self.unlearner.measure_round()
            check_finite(metrics)
        except (NonFiniteWeightsError, NonFiniteLossError) as error:
            self._undo(state, control, str(error))
            return
        self.callback.append_to_history(state, metrics, recovery=steps)
        self.unlearner.last_good.mark()
        if any(goal.excess(metrics) >= 0 for goal in _of(goals_of(self.callback.rules))):
            self.recovery.keep("beyond")
        if steps == self.recovery.steps:
            self._finish(state, control, metrics, optimizer)
        elif steps >= _NOT_STEERED * self.recovery.steps:
            self._steer(metrics)

    def _steer(self, metrics: Mapping[str, float]) -> None:
        """
        Keeps more if more than the goal is forgotten, and less otherwise: the weight is doubled where the model is as
        far beyond the goal as rewinding was, halved where it is as far short of it.
        """
        args, run = self.unlearner.args, self.run
        shares = [
            share
            for goal in _of(goals_of(self.callback.rules))
            if (share := _share_beyond(goal, metrics, args.recovery_overshoot)) is not None
        ]
        if not shares or run.weight is None:
            return
        factor = 2.0 ** min(1.0, max(-1.0, max(shares)))
        lowest, highest = (args.recovery_weight * bound for bound in (1 / _MOST_STEERED, _MOST_STEERED))
        run.weight = min(highest, max(lowest, run.weight * factor))

    def out_of_time(self, state: TrainerState, control: TrainerControl, reason: str) -> None:
        """Ends the run; within a recovery, with what is recovered."""
        if not self.run.recovering:
            self.callback.stop(control, reason)
            return
        metrics = self.unlearner.measure_round()
        self.unlearner.last_good.mark()
        self._settle(state, control, metrics, f"; {reason}")

    # ---- The end of a recovery ----

    def _finish(self, state: TrainerState, control: TrainerControl, metrics: dict[str, float], optimizer: Any) -> None:
        self.run.recoveries += 1
        if harm := self._harm(metrics):
            self._undo(state, control, harm)
        elif self._may_rewind_again(metrics):
            self.run.recovering, self.run.phase_began = False, state.global_step
            self.recovery.end()
            optimizer.state.clear()
            self.unlearner.on_round_begin()
        else:
            self._settle(state, control, metrics)

    def _harm(self, metrics: Mapping[str, float]) -> str | None:
        """
        What a recovery has made worse, in words: the divergence from the original model on surrogates or, by more than
        its standard error, the accuracy on unseen examples.
        """
        drift, before = self.recovery.drift(), self.run.drift
        if before is not None and not drift < before:
            return f"it moved the model away from the original ({before:.3g} to {drift:.3g})"
        name: str = "eval_unseen_accuracy"
        sets: Any = self.unlearner.eval_dataset
        rewound = next(point for point in reversed(self.run.history) if "recovery" not in point)
        if name not in metrics or name not in rewound:
            return None
        high, low = rewound[name], metrics[name]
        if high - low > math.sqrt(high * (1 - high) / len(sets["unseen"])):
            return f"the accuracy on unseen examples fell from {high:.3f} to {low:.3f}"
        return None

    def _may_rewind_again(self, metrics: Mapping[str, float]) -> bool:
        args, goals = self.unlearner.args, _of(goals_of(self.callback.rules))
        more = self.run.recoveries < args.recovery_cycles and self.run.rounds < args.num_rewinds
        return more and all(goal.excess(metrics) < -goal.tolerance for goal in goals)

    def _undo(self, state: TrainerState, control: TrainerControl, why: str) -> None:
        """Returns to the rewound weights, and goes from there towards the original ones until the goal is met."""
        message = f"recovery was undone, because {why}"
        logger.warning(f"{message}. A smaller `recovery_learning_rate` may help.")
        self.recovery.rewound.restore()
        self.recovery.copies.pop("beyond", None)
        self.unlearner.last_good.mark()
        self._settle(state, control, self.unlearner.measure_round(), f"; {message}")

    def _settle(
        self, state: TrainerState, control: TrainerControl, metrics: dict[str, float], remark: str = ""
    ) -> None:
        """Goes to where the goals are met and no floor is broken, and ends the run; `metrics` are those of now."""
        floors = floors_of(self.callback.rules)
        goals = _of(goals_of(self.callback.rules))
        where, met = "", self.run.rewinding_met and not goals
        if goals:
            metrics, where, met = self._go_to_goal(goals, metrics)
        if broken := [(floor, excess) for floor in floors if (excess := floor.excess(metrics)) > 0]:
            metrics, rule = self._towards_original(broken)
            where, met = f", {rule} ends it before the goal", False
        steps = state.global_step - self.run.phase_began
        if where or remark or self.run.history[-1].get("recovery") != steps:
            self.callback.append_to_history(state, metrics, recovery=steps)
        self.unlearner.last_good.mark()
        self.run.recovering = False
        self.recovery.end()
        goal = f"{goals[0]} is {'met' if met else 'not met'}" if goals else "rewinding and recovery are done"
        self.callback.stop(control, f"{goal} after recovery ({self.run.rewinding_ended}){where}{remark}", met)

    def _go_to_goal(
        self, goals: Sequence[StoppingRule], metrics: dict[str, float]
    ) -> tuple[dict[str, float], str, bool]:
        excesses = [(goal, goal.excess(metrics)) for goal in goals]
        if beyond := [(goal, excess) for goal, excess in excesses if excess > goal.tolerance]:
            metrics, rule = self._towards_original(beyond)
            return metrics, ", on the way back to the original weights", abs(rule.excess(metrics)) <= rule.tolerance
        if any(abs(excess) <= goal.tolerance for goal, excess in excesses):
            return metrics, "", True
        return self._towards_beyond(goals, metrics)

    def _towards_original(self, passed: Sequence[tuple[StoppingRule, float]]) -> tuple[dict[str, float], StoppingRule]:
        """Goes from the current weights towards the original ones until the first rule is no longer exceeded."""
        end = self.unlearner.last_good.copy("end")
        self.recovery.original.restore()
        self.unlearner.last_good.mark()
        _, rule = self.callback.go_to_first(passed, end)
        return self.unlearner.measure_round(), rule

    def _towards_beyond(
        self, goals: Sequence[StoppingRule], metrics: dict[str, float]
    ) -> tuple[dict[str, float], str, bool]:
        """Goes from the recovered weights, which are the last good ones, towards the last that were not short."""
        kind = "beyond" if "beyond" in self.recovery.copies else "rewound"
        self.recovery.copies[kind].restore()
        self.unlearner.last_good.sync_copies()
        at_end = self.unlearner.measure(tuple(dict.fromkeys(split for goal in goals for split in goal.splits)))
        excesses = [(goal, goal.excess(at_end)) for goal in goals]
        passed = [(goal, excess) for goal, excess in excesses if excess >= 0]
        if not passed:
            if any(abs(excess) <= goal.tolerance for goal, excess in excesses):
                return self.unlearner.measure_round(), f", back at the weights {_WHERE[kind]}", True
            self.unlearner.last_good.restore()
            return metrics, "", False
        crossing, rule = self.callback.go_to_first(passed, self.unlearner.last_good.copy("end"))
        where = f", {crossing.fraction:.3f} of the way back to the weights {_WHERE[kind]}"
        return self.unlearner.measure_round(), where, abs(crossing.excess) <= rule.tolerance


def _share_beyond(goal: StoppingRule, metrics: Mapping[str, float], overshoot: float) -> float | None:
    """How far the model is beyond a goal, as a share of how far rewinding went; `None` if the rule does not tell."""
    if hasattr(goal, "steering"):
        return float(goal.steering(metrics))
    further = deeper(goal, overshoot)
    return goal.excess(metrics) / further.by if isinstance(further, Deeper) and further.by > 0 else None


def _of(goals: Sequence[StoppingRule]) -> list[StoppingRule]:
    """The goals that recovery can miss: a floor that is the only goal of a run is kept by it."""
    return [goal for goal in goals if not getattr(goal, "is_floor", False)]


__all__ = ["RecoveryPhase"]

"""The schedule of an unlearning run, a function of the step: rounds, measurements, stopping rules."""

from __future__ import annotations

import math
import weakref
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from accelerate.utils import broadcast, extract_model_from_parallel
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.utils import logging

from ..errors import NonFiniteLossError, NonFiniteWeightsError
from ..metrics.unlearning_accuracy import ua
from ..trajectory.snapshot import Snapshot
from .identity import note_settings
from .measuring import check_finite
from .recovery_phase import RecoveryPhase
from .state import NOT_REACHED, UNCHANGED, RunState, outcome_of
from .stopping import Crossing, StoppingRule, begin_rules, deeper, find_crossing, floors_of, goals_of


if TYPE_CHECKING:
    from .unlearner import Unlearner


logger = logging.get_logger(__name__)

# Suffixes of the metrics that the history keeps.
_KEPT_METRICS = ("_loss", "_accuracy", "_ratio", "_kid")


class UnlearningCallback(TrainerCallback):
    r"""
    Forwards the events of the Trainer to the hooks of an [`Unlearner`], and decides after every round. A round is
    `intervals_per_rewind` intervals of steps:

        on_round_begin      before the first step of a round
        on_interval_end     after every interval but the last
        update_weights      after the last step
        measure             UA, losses, accuracies; a stopping rule that is passed ends the run between two rounds
        on_round_end        after the round was kept

    Args:
        unlearner ([`Unlearner`]): The run.
        rules (`Sequence[StoppingRule]`): Each of them can end the run.
    """

    def __init__(self, unlearner: Unlearner, rules: Sequence[StoppingRule]) -> None:
        # Weak: otherwise the two would keep each other, the model and the trajectory until a garbage collection.
        self._unlearner = weakref.ref(unlearner)
        self.rules = list(rules)
        self.phase = RecoveryPhase(self)
        self.steps_per_interval = 1
        # The checkpoint to resume from, loaded instead of measuring the start.
        self.resume_from: str | None = None
        self._attempts = 0
        self._earlier: RunState | None = None

    @property
    def unlearner(self) -> Unlearner:
        unlearner = self._unlearner()
        assert unlearner is not None  # it owns the callback
        return unlearner

    @property
    def run(self) -> RunState:
        return self.unlearner.run_state

    def begin_call(self, resume_from: str | None) -> None:
        """Prepares for a call of `train()`, which may resume from a checkpoint."""
        self.resume_from, self._attempts = resume_from, 0
        self._earlier = self.run.next_call() if resume_from is None and self.run.history else None

    # ---- Events of the Trainer ----

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        unlearner, arguments = self.unlearner, self.unlearner.args
        intervals = arguments.num_rewinds * arguments.intervals_per_rewind
        self.steps_per_interval = max(1, (state.max_steps - unlearner.recovery.total_steps) // intervals)
        self._attempts += 1
        if self._attempts > 1 and self.resume_from is None:
            unlearner.restart(kwargs["optimizer"])
        unlearner.run_state = RunState() if self._earlier is None else self._earlier.next_call()
        unlearner.tracked.bind(extract_model_from_parallel(kwargs["model"], keep_torch_compile=False))
        unlearner.last_good.storage = arguments.trajectory_storage
        unlearner.recovery.remember_original()
        unlearner.prepare_run()
        if self.resume_from is not None:
            unlearner.load_run(self.resume_from)
            begin_rules(self.rules, self.run.history[0])
            return
        self._begin_run(state, control)

    def _begin_run(self, state: TrainerState, control: TrainerControl) -> None:
        unlearner, run = self.unlearner, self.run
        unlearner.on_round_end()
        unlearner.last_good.mark()
        metrics = unlearner.measure_round()
        if not run.history:
            self.append_to_history(state, metrics)
        note_settings(unlearner, state)
        begin_rules(self.rules, {**metrics, **run.history[0]})
        if not goals_of(self.rules):
            logger.warning(
                "No stopping rule is set, so the run ends after `num_rewinds` rounds whatever is forgotten then; set "
                "`target_ua` or `stop_at_unseen_loss`."
            )
        if reached := [rule for rule in self.rules if rule.excess(metrics) >= 0]:
            what = "already fails" if reached[0] in floors_of(self.rules) else "holds"
            self.stop(control, f"{reached[0]} {what} before the first round; the model is unchanged")
        elif not self._is_affordable(state):
            self.stop(control, "the budget does not suffice for the first round; the model is unchanged")
        else:
            unlearner.on_round_begin()

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        # The engine of DeepSpeed steps within `backward`, before `on_pre_optimizer_step`.
        if getattr(args, "deepspeed_plugin", None) is not None:
            self._before_optimizer_step(state, kwargs["optimizer"])

    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._before_optimizer_step(state, kwargs["optimizer"])

    def on_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if not self.run.recovering:
            self.unlearner.after_optimizer_step(kwargs["optimizer"])

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        arguments = self.unlearner.args
        self.unlearner.weights_at_entry = None
        if self.run.stop_reason is not None:
            # The Trainer takes one step before it checks whether to stop; `on_train_end` undoes it.
            control.should_training_stop = True
            return
        optimizer, steps = kwargs.get("optimizer"), state.global_step - self.run.phase_began
        if not (self.phase.is_point(steps) if self.run.recovering else steps % self.steps_per_interval == 0):
            return
        if self.run.recovering:
            self.phase.after_step(state, control, steps, optimizer)
        else:
            self._finish_interval(state, control, steps // self.steps_per_interval, optimizer)
        if self.run.stop_reason is None and arguments.max_seconds and self._agreed_seconds() > arguments.max_seconds:
            self.phase.out_of_time(state, control, f"the budget of {arguments.max_seconds:g} seconds is used up")

    def _finish_interval(
        self, state: TrainerState, control: TrainerControl, interval: int, optimizer: torch.optim.Optimizer | None
    ) -> None:
        interval %= self.unlearner.args.intervals_per_rewind
        try:
            if interval == 0:
                self._finish_round(state, control, optimizer)
            else:
                self.unlearner.on_interval_end(interval)
        except (NonFiniteWeightsError, NonFiniteLossError) as error:
            self._undo_round(state, control, optimizer, error)

    def _before_optimizer_step(self, state: TrainerState, optimizer: Any) -> None:
        if self.run.recovering:
            self.unlearner.recovery.set_learning_rate(state.global_step - self.run.phase_began, optimizer)
        else:
            self.unlearner.before_optimizer_step()

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self.unlearner.last_good.restore()
        self.run.recovering = False
        if self.run.stop_reason is None:
            done = self.run.rounds == self.unlearner.args.num_rewinds
            self.run.stop_reason = f"all {self.run.rounds} rounds are done" if done else "another callback ended it"
        if self.run.outcome is None:
            self.run.outcome = outcome_of(self.run.history, self.rules)
        message = f"Unlearning ended after {self.run.total_rounds} rounds, {self.run.outcome}: {self.run.stop_reason}."
        if self.run.outcome in (UNCHANGED, NOT_REACHED):
            logger.warning(message)
        else:
            logger.info(message)

    # ---- One round ----

    def _finish_round(
        self, state: TrainerState, control: TrainerControl, optimizer: torch.optim.Optimizer | None
    ) -> None:
        unlearner = self.unlearner
        unlearner.update_weights()
        unlearner.last_good.sync_copies()
        metrics = unlearner.measure_round()
        check_finite(metrics)
        self.run.rounds += 1
        end = self._apply_stopping_rules(state, metrics)
        unlearner.last_good.mark()
        unlearner.on_round_end()
        if end is None and self.unlearner.recovery.steps and self.run.rounds == self.unlearner.args.num_rewinds:
            end = f"all {self.run.rounds} rounds are done", False
        if end is None:
            self._begin_next_round(state, control, optimizer)
        else:
            self.phase.after_rewinding(state, control, optimizer, *end)

    def _begin_next_round(
        self, state: TrainerState, control: TrainerControl, optimizer: torch.optim.Optimizer | None
    ) -> None:
        arguments = self.unlearner.args
        if not self._is_affordable(state):
            reason = f"the budget of {arguments.max_forget_steps} steps does not suffice for another round"
            self.phase.after_rewinding(state, control, optimizer, reason, False)
            return
        if arguments.reset_optimizer and optimizer is not None:
            optimizer.state.clear()
        self.unlearner.on_round_begin()
        if arguments.save_every_rewinds and self.run.rounds % arguments.save_every_rewinds == 0:
            control.should_save = True

    def _undo_round(
        self,
        state: TrainerState,
        control: TrainerControl,
        optimizer: torch.optim.Optimizer | None,
        error: ArithmeticError,
    ) -> None:
        self.unlearner.last_good.restore()
        message = f"round {self.run.rounds + 1} was undone, {error}; the weights are those before it"
        logger.warning(f"{message}. A smaller `learning_rate` (or `residual_scale`) may help.")
        self.phase.after_rewinding(state, control, optimizer, message, False)

    def _is_affordable(self, state: TrainerState) -> bool:
        arguments = self.unlearner.args
        steps = arguments.intervals_per_rewind * self.steps_per_interval + self.unlearner.recovery.steps
        taken = self.run.steps_before + state.global_step
        return arguments.max_forget_steps is None or taken + steps <= arguments.max_forget_steps

    # ---- Stopping ----

    def _apply_stopping_rules(self, state: TrainerState, metrics: dict[str, float]) -> tuple[str, bool] | None:
        """
        If a rule is passed, returns to the point of the segment where the first of them was reached; the reason to
        end the rewinding, and whether a goal is met.
        """
        rules = self.rules_of_rewinding()
        excesses = [(rule, rule.excess(metrics)) for rule in rules]
        passed = [(rule, excess) for rule, excess in excesses if not excess < 0]
        if not passed:
            self.append_to_history(state, metrics)
            return None
        number = self.run.rounds
        crossing, rule = self.go_to_first(passed, self.unlearner.last_good.copy("end"))
        if crossing.fraction < 1:
            metrics = self.unlearner.measure_round()
        self.append_to_history(state, metrics, fraction=crossing.fraction)
        if crossing.fraction == 0:
            return f"no point of round {number} satisfies {rule}; the weights are those before it", False
        if abs(crossing.excess) > rule.tolerance:
            logger.warning(
                f"{rule} could be met only to {crossing.excess:+.3g} between rounds {number - 1} and {number}: the "
                "metric jumps there."
            )
        where = "" if crossing.fraction == 1 else f", {crossing.fraction:.3f} of the way"
        goals = goals_of(rules)
        met = rule in goals and abs(crossing.excess) <= rule.tolerance
        broken = [floor for floor in floors_of(rules) if floor not in goals and floor.excess(metrics) > 0]
        ended = "is met by" if rule in goals else "ends the run in"
        return f"{rule} {ended} round {number}{where}", met and not broken

    def rules_of_rewinding(self) -> list[StoppingRule]:
        """The rules that end rewinding: before a recovery, goals lie deeper, and damage is what it repairs."""
        if not self.unlearner.recovery.steps:
            return self.rules
        return [deeper(goal, self.unlearner.args.recovery_overshoot) for goal in goals_of(self.rules)]

    def go_to_first(
        self, passed: Sequence[tuple[StoppingRule, float]], end: Snapshot
    ) -> tuple[Crossing, StoppingRule]:
        """
        Moves the weights, between the last good ones and `end`, to where the first of some rules is reached.

        Args:
            passed (`Sequence[tuple[StoppingRule, float]]`): Rules that the end exceeds, each with its excess there.
            end ([`Snapshot`]): The end of the segment.
        """
        crossings = [(self._search(rule, excess, end), rule) for rule, excess in passed]
        crossing, rule = min(crossings, key=lambda pair: pair[0].fraction)
        self.unlearner.last_good.go_to(end, crossing.fraction)
        return crossing, rule

    def _search(self, rule: StoppingRule, excess_at_end: float, end: Snapshot) -> Crossing:
        def excess_at(fraction: float) -> float:
            self.unlearner.last_good.go_to(end, fraction)
            try:
                return rule.excess(self.unlearner.measure(rule.splits))
            except NonFiniteWeightsError:  # an evaluator's; elsewhere it undoes the round
                return math.nan

        return find_crossing(excess_at, excess_at_end, rule.tolerance, rule.must_not_exceed)

    def stop(self, control: TrainerControl, reason: str, met: bool = False) -> None:
        """Ends the run with the current weights, and says what it has achieved."""
        self.run.stop_reason = reason
        self.run.outcome = outcome_of(self.run.history, self.rules, met)
        control.should_training_stop = True

    # ---- Bookkeeping ----

    def append_to_history(
        self, state: TrainerState, metrics: Mapping[str, float], fraction: float = 1.0, recovery: int | None = None
    ) -> None:
        """Adds a measured point; `recovery` is the number of steps of recovery before it."""
        run = self.run
        point = {
            "round": run.total_rounds,
            "fraction": fraction,
            "step": run.steps_before + state.global_step,
            "seconds": run.seconds(),
        }
        if "eval_forget_accuracy" in metrics:
            point["ua"] = ua(metrics)
        if recovery is not None:
            point["recovery"] = recovery
        run.history.append({**point, **{k: v for k, v in metrics.items() if k.endswith(_KEPT_METRICS)}})
        self.unlearner.log_point({name: value for name, value in point.items() if name in ("round", "ua", "seconds")})

    def _agreed_seconds(self) -> float:
        """The clock of the first rank, so that all ranks stop at the same step."""
        return float(broadcast(torch.tensor(self.run.seconds(), device=self.unlearner.args.device)))


__all__ = ["UnlearningCallback"]

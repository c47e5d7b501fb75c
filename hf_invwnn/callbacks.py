"""The callback that measures, keeps, stops and goes back; all of it a function of the step, so that it resumes."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import broadcast
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR
from transformers.utils import logging

from .checkpoint import CURRENT, EXTRA, LAST_GOOD, load_unlearning_state, save_unlearning_state
from .stopping import Crossing, StoppingRule, find_crossing
from .training_args import UnlearningArguments
from .trajectory import NonFiniteWeights, Snapshot, interpolate, non_finite


logger = logging.get_logger(__name__)

# Evaluates the model as it is now on some evaluation sets (on all of them without an argument).
Measure = Callable[..., dict[str, float]]


class UnlearningCallback(TrainerCallback):
    r"""
    The course of an unlearning run inside a `Trainer`. Every `intervals_per_rewind` intervals end a *turn*: the
    model is measured, and the run stops or goes on. A method that does more at the end of a turn, or within it,
    overrides `begin_turn`, `on_interval`, `move` and `end_turn`.

    The weights after the last turn that was measured and kept are the *last good* ones. Whatever ends the run, the
    model has them at the end.

    Args:
        parameters (`dict[str, nn.Parameter]`): What the method may change.
        rules (`Sequence[StoppingRule]`): Any of them ends the run.
        measure (`Callable`): `measure(splits=None) -> dict[str, float]`, evaluations of the model as it is.
        report (`Callable`): Gets a `dict[str, float]` after every turn, for the log.
        buffers (`dict[str, torch.Tensor]`, *optional*): Buffers that fine-tuning changes; kept and restored with the
            last good weights.
        device (`torch.device` or `str`, *optional*): Where copies live; beside the parameters by default.
    """

    turn_name = "turn"

    def __init__(
        self,
        parameters: Mapping[str, torch.nn.Parameter],
        rules: Sequence[StoppingRule],
        measure: Measure,
        report: Callable[[dict[str, float]], None],
        buffers: Mapping[str, torch.Tensor] | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        self.parameters = dict(parameters)
        self.rules = list(rules)
        self.measure = measure
        self.report = report
        self.device = device
        # What "the last good weights" are made of.
        self.kept: dict[str, torch.Tensor] = {**self.parameters, **(buffers or {})}
        self.last_good: Snapshot | None = None
        self.rewinds = 0
        self.stop_reason: str | None = None
        self.history: list[dict[str, float]] = []
        self.resume_from: str | None = None
        self.has_stepped = False
        self._steps_per_interval = 1
        self._started = 0.0
        self._seconds_before = 0.0

    # ---- What a method may add ----

    def begin_turn(self, arguments: UnlearningArguments) -> None:
        """Called before the first step of a turn."""

    def on_interval(self, arguments: UnlearningArguments, interval: int) -> None:
        """Called after each interval but the last of a turn; `interval` counts from 1."""

    def move(self, arguments: UnlearningArguments) -> None:
        """Called after the last step of a turn, before it is measured."""
        if bad := non_finite(self.parameters.items()):
            raise NonFiniteWeights(f"`{bad[0]}` is not finite")

    def end_turn(self) -> None:
        """Called after a turn was kept; also before the first."""

    def extra_state(self) -> tuple[dict[str, torch.Tensor], int]:
        """Tensors of the method for a checkpoint, and how many snapshots they hold."""
        return {}, 0

    def load_extra_state(self, tensors: dict[str, torch.Tensor], snapshots: int) -> None:
        """Takes back what `extra_state` gave."""

    # ---- The course of a run ----

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        arguments = _unlearning(args)
        intervals = arguments.num_rewinds * arguments.intervals_per_rewind
        self._steps_per_interval = max(1, state.max_steps // intervals)
        self._started = time.monotonic()
        if self.resume_from is not None:
            self._resume(self.resume_from, self._schedule(arguments))
            return
        self.rewinds, self.stop_reason, self.history, self._seconds_before = 0, None, [], 0.0
        self.end_turn()
        self._keep()
        metrics = self.measure()
        self._note(state, metrics)
        if reached := [rule for rule in self.rules if rule.excess(metrics) >= 0]:
            self._stop(control, f"{reached[0]} holds before the first {self.turn_name}; the model is as it was")
        elif not self._affordable(arguments, state):
            self._stop(control, f"the budget does not reach to the first {self.turn_name}; the model is as it was")
        else:
            self.begin_turn(arguments)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        arguments = _unlearning(args)
        self.has_stepped = True
        if self.stop_reason is not None:
            # The Trainer takes one step before it looks whether to stop; `on_train_end` undoes it.
            control.should_training_stop = True
            return
        if state.global_step % self._steps_per_interval:
            return
        interval = (state.global_step // self._steps_per_interval) % arguments.intervals_per_rewind
        if interval == 0:
            self._turn(arguments, state, control, kwargs.get("optimizer"))
        else:
            self.on_interval(arguments, interval)
        if self.stop_reason is None and arguments.max_seconds and self._agreed_seconds(args) > arguments.max_seconds:
            self._stop(control, f"the budget of {arguments.max_seconds:g} seconds is used up")

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self.restore_last_good()
        if self.stop_reason is None:
            done = self.rewinds == _unlearning(args).num_rewinds
            self.stop_reason = (
                f"all {self.rewinds} {self.turn_name}s are done" if done else "another callback ended it"
            )
        logger.info(f"Unlearning ended after {self.rewinds} {self.turn_name}s: {self.stop_reason}.")

    def restore_last_good(self) -> None:
        """Puts the weights of the last kept turn back (those of the start, if there was none)."""
        if self.last_good is not None:
            self.last_good.restore(self.kept)

    # ---- One turn ----

    def _turn(
        self,
        arguments: UnlearningArguments,
        state: TrainerState,
        control: TrainerControl,
        optimizer: torch.optim.Optimizer | None,
    ) -> None:
        try:
            self.move(arguments)
            metrics = self.measure()
            _refuse_non_finite(metrics)
        except (NonFiniteWeights, NonFiniteLoss) as error:
            self.restore_last_good()
            message = f"{self.turn_name} {self.rewinds + 1} was undone, {error}; the weights are those before it"
            logger.warning(f"{message}. A smaller `learning_rate` (or `residual_scale`) may help.")
            self._stop(control, message)
            return
        self.rewinds += 1
        self._decide(state, control, metrics)
        self._keep()
        self.end_turn()
        if self.stop_reason is None:
            self._begin_next(arguments, state, control, optimizer)

    def _decide(self, state: TrainerState, control: TrainerControl, metrics: dict[str, float]) -> None:
        """Stops if a rule is past its goal, after going back on the segment to where the first of them was reached."""
        past = [(rule, rule.excess(metrics)) for rule in self.rules]
        past = [(rule, excess) for rule, excess in past if not excess < 0]
        if not past:
            self._note(state, metrics)
            return
        assert self.last_good is not None
        end = Snapshot(self.parameters, self.device)
        crossings = [(self._search(rule, excess, end), rule) for rule, excess in past]
        crossing, rule = min(crossings, key=lambda found: found[0].fraction)
        interpolate(self.parameters, self.last_good, end, crossing.fraction)
        if crossing.fraction < 1:
            metrics = self.measure()
        self._note(state, metrics, fraction=crossing.fraction)
        if crossing.fraction == 0:
            self._stop(
                control,
                f"no point of {self.turn_name} {self.rewinds} keeps to {rule}; the weights are those before it",
            )
            return
        if abs(crossing.excess) > rule.tolerance:
            logger.warning(
                f"{rule} could be met only to {crossing.excess:+.3g} between {self.turn_name}s {self.rewinds - 1} and "
                f"{self.rewinds}: the metric jumps there."
            )
        where = "" if crossing.fraction == 1 else f", {crossing.fraction:.3f} of the way"
        self._stop(control, f"{rule} is met by {self.turn_name} {self.rewinds}{where}")

    def _search(self, rule: StoppingRule, excess_at_end: float, end: Snapshot) -> Crossing:
        def excess_at(fraction: float) -> float:
            assert self.last_good is not None
            interpolate(self.parameters, self.last_good, end, fraction)
            return rule.excess(self.measure(rule.splits))

        return find_crossing(excess_at, excess_at_end, rule.tolerance, rule.never_past)

    def _begin_next(
        self,
        arguments: UnlearningArguments,
        state: TrainerState,
        control: TrainerControl,
        optimizer: torch.optim.Optimizer | None,
    ) -> None:
        if not self._affordable(arguments, state):
            self._stop(
                control, f"the budget of {arguments.max_forget_steps} steps does not reach to another {self.turn_name}"
            )
            return
        if arguments.reset_optimizer and optimizer is not None:
            optimizer.state.clear()
        self.begin_turn(arguments)
        if arguments.save_every_rewinds and self.rewinds % arguments.save_every_rewinds == 0:
            control.should_save = True

    def _affordable(self, arguments: UnlearningArguments, state: TrainerState) -> bool:
        needed = arguments.intervals_per_rewind * self._steps_per_interval
        return arguments.max_forget_steps is None or state.global_step + needed <= arguments.max_forget_steps

    def _keep(self) -> None:
        if bad := non_finite(self.kept.items()):
            raise ValueError(f"`model` holds weights that are not finite: {', '.join(bad[:3])}.")
        if self.last_good is None:
            self.last_good = Snapshot(self.kept, self.device)
        else:
            self.last_good.take(self.kept)

    def _stop(self, control: TrainerControl, reason: str) -> None:
        self.stop_reason = reason
        control.should_training_stop = True

    def _seconds(self) -> float:
        return self._seconds_before + time.monotonic() - self._started

    def _agreed_seconds(self, args: TrainingArguments) -> float:
        """The clock of the first rank, so that every rank stops at the same step."""
        return float(broadcast(torch.tensor(self._seconds(), device=args.device)))

    def _note(self, state: TrainerState, metrics: Mapping[str, float], fraction: float = 1.0) -> None:
        """Remembers a measured point of the curve."""
        kept = {name: value for name, value in metrics.items() if name.endswith(("_loss", "_accuracy"))}
        point = {"rewind": self.rewinds, "fraction": fraction, "step": state.global_step, "seconds": self._seconds()}
        if "eval_forget_accuracy" in metrics:
            point["ua"] = 100 * (1 - metrics["eval_forget_accuracy"])
        self.history.append({**point, **kept})
        self.report({name: value for name, value in point.items() if name in ("rewind", "ua", "seconds")})

    # ---- Checkpoints ----

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        if not state.is_world_process_zero or self.last_good is None:
            return
        folder = Path(str(args.output_dir)) / f"{PREFIX_CHECKPOINT_DIR}-{state.global_step}"
        extra, snapshots = self.extra_state()
        tensors = {f"{EXTRA}{name}": value for name, value in extra.items()}
        tensors |= {f"{CURRENT}{name}": value.detach() for name, value in self.parameters.items()}
        tensors |= {f"{LAST_GOOD}{name}": value for name, value in self.last_good.values.items()}
        save_unlearning_state(
            folder,
            tensors,
            {
                "schedule": self._schedule(_unlearning(args)),
                "snapshots": snapshots,
                "rewinds": self.rewinds,
                "stop_reason": self.stop_reason,
                "history": self.history,
                "seconds": self._seconds(),
            },
        )

    def _resume(self, folder: str, schedule: Mapping[str, int]) -> None:
        tensors, state = load_unlearning_state(folder)
        for name, value in schedule.items():
            if state["schedule"][name] != value:
                raise ValueError(f"it was saved with `{name}` = {state['schedule'][name]}, but this run has {value}")
        extra, current, good = (
            {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
            for prefix in (EXTRA, CURRENT, LAST_GOOD)
        )
        self.load_extra_state(extra, state["snapshots"])
        # The Trainer has loaded model.safetensors, but leaves out without an error what `save_pretrained` stores under
        # another name (the layers of a ViT, transformers issue 43701). So what is tracked comes from our own file.
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                parameter.copy_(current[name])
        self._keep()
        assert self.last_good is not None
        for name, tensor in self.last_good.values.items():
            tensor.copy_(good[name])
        self.rewinds, self.stop_reason = state["rewinds"], state["stop_reason"]
        self.history, self._seconds_before = state["history"], state["seconds"]

    def _schedule(self, arguments: UnlearningArguments) -> dict[str, int]:
        """What must not change between two parts of a run, for where a step belongs follows from it."""
        return {
            "num_snapshots": arguments.num_snapshots,
            "warmup_intervals": arguments.warmup_intervals,
            "steps_per_interval": self._steps_per_interval,
        }


class NonFiniteLoss(ArithmeticError):
    """An evaluation after a turn gave a loss that is no finite number."""


def _refuse_non_finite(metrics: Mapping[str, float]) -> None:
    for name, value in metrics.items():
        if name.endswith("_loss") and not math.isfinite(value):
            raise NonFiniteLoss(f"`{name}` became {value}")


def _unlearning(args: TrainingArguments) -> UnlearningArguments:
    if not isinstance(args, UnlearningArguments):
        raise TypeError(f"`args` must be UnlearningArguments, got {type(args).__name__}.")
    return args


__all__ = ["NonFiniteLoss", "UnlearningCallback"]

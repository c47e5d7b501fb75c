"""The callback that measures, keeps, stops and goes back; all of it a function of the step, so that it resumes."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import broadcast, extract_model_from_parallel
from torch import nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.utils import logging

from .masters import tell_masters
from .parts import Parts
from .snapshot import Snapshot, interpolate
from .stopping import Crossing, StoppingRule, find_crossing
from .training_args import UnlearningArguments
from .trajectory import NonFiniteWeights, non_finite


logger = logging.get_logger(__name__)

# The metrics that the history of a run keeps, by the ends of their names.
_KEPT = ("_loss", "_accuracy", "_ratio", "_kid")
# Evaluates the model as it is now on some evaluation sets (on all of them without an argument).
Measure = Callable[..., dict[str, float]]


class UnlearningCallback(TrainerCallback):
    r"""
    The course of an unlearning run inside a `Trainer`. Every `intervals_per_rewind` intervals end a *turn*: the
    model is measured, and the run stops or goes on. A method that does more at the end of a turn, or within it,
    overrides `prepare`, `begin_turn`, `on_interval`, `move` and `end_turn`.

    The weights after the last turn that was measured and kept are the *last good* ones. Whatever ends the run, the
    model has them at the end.

    Args:
        parameters (`dict[str, nn.Parameter]`): What the method may change.
        rules (`Sequence[StoppingRule]`): Any of them ends the run.
        measure (`Callable`): `measure(splits=None) -> dict[str, float]`, evaluations of the model as it is.
        report (`Callable`): Gets a `dict[str, float]` after every turn, for the log.
        buffers (`dict[str, torch.Tensor]`, *optional*): Buffers that fine-tuning changes; kept and restored with the
            last good weights.
    """

    turn_name = "turn"

    def __init__(
        self,
        parameters: Mapping[str, nn.Parameter],
        rules: Sequence[StoppingRule],
        measure: Measure,
        report: Callable[[dict[str, float]], None],
        buffers: Mapping[str, torch.Tensor] | None = None,
    ) -> None:
        self.parameters = dict(parameters)
        self.buffers = dict(buffers or {})
        self.rules = list(rules)
        self.measure = measure
        self.report = report
        self.parts = Parts(self.parameters)
        self.last_good: Snapshot | None = None
        self.good_buffers: dict[str, torch.Tensor] = {}
        self.rewinds = 0
        self.stop_reason: str | None = None
        self.history: list[dict[str, float]] = []
        # Set before a run that is to go on: it takes the place of the start.
        self.resume: Callable[[], None] | None = None
        # All weights and buffers as they were given, of a run that is to go on, until it has.
        self.before: Snapshot | None = None
        self.steps_per_interval = 1
        self.seconds_before = 0.0
        self._started = 0.0
        self._model: nn.Module | None = None
        # For tensors that are kept on disk; whoever makes the callback says where.
        self.folder = Path()
        self._storage = "model"

    # ---- What a method may add ----

    def prepare(self, arguments: UnlearningArguments) -> None:
        """Called when a run begins or goes on, with `parts` set."""

    def begin_turn(self, arguments: UnlearningArguments) -> None:
        """Called before the first step of a turn."""

    def on_interval(self, arguments: UnlearningArguments, interval: int) -> None:
        """Called after each interval but the last of a turn; `interval` counts from 1."""

    def move(self, arguments: UnlearningArguments) -> None:
        """Called after the last step of a turn, before it is measured."""
        self.refuse_non_finite()

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
        self.steps_per_interval = max(1, state.max_steps // intervals)
        self._started = time.monotonic()
        self._bind(kwargs["model"], arguments)
        self.prepare(arguments)
        if self.resume is not None:
            self.resume()
            return
        self.rewinds, self.stop_reason, self.history, self.seconds_before = 0, None, [], 0.0
        self.end_turn()
        self.keep()
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
        self.before = None
        if self.stop_reason is not None:
            # The Trainer takes one step before it looks whether to stop; `on_train_end` undoes it.
            control.should_training_stop = True
            return
        if state.global_step % self.steps_per_interval:
            return
        interval = (state.global_step // self.steps_per_interval) % arguments.intervals_per_rewind
        try:
            if interval == 0:
                self._turn(arguments, state, control, kwargs.get("optimizer"))
            else:
                self.on_interval(arguments, interval)
        except (NonFiniteWeights, NonFiniteLoss) as error:
            self._undo(control, error)
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
        if self.last_good is None:
            return
        self.last_good.restore()
        for name, value in self.good_buffers.items():
            self.buffers[name].copy_(value)
        self.changed()

    def _bind(self, model: nn.Module, arguments: UnlearningArguments) -> None:
        """Takes hold of the parameters as they are in this run, in whose place `fully_shard` has put others."""
        self._model = extract_model_from_parallel(model, keep_torch_compile=False)
        present = dict(self._model.named_parameters())
        self.parameters = {name: present.get(name, parameter) for name, parameter in self.parameters.items()}
        self.parts = Parts(self.parameters)
        self._storage = arguments.trajectory_storage
        self.folder = arguments.trajectory_path

    # ---- For methods ----

    def changed(self) -> None:
        """To be called after parameters have been put in by hand."""
        tell_masters(self.parameters)

    def refuse_non_finite(self) -> None:
        """
        Raises:
            NonFiniteWeights: A parameter is not finite, on any process.
        """
        bad = non_finite(self.parts.items())
        if self.parts.any(bool(bad)):
            raise NonFiniteWeights(f"`{bad[0] if bad else 'a weight of another process'}` is not finite")

    def check_parameters(self) -> None:
        """
        Raises:
            RuntimeError: A tracked parameter is gone or has been replaced, or the model has another trainable one.
        """
        assert self._model is not None
        present = {name: parameter for name, parameter in self._model.named_parameters() if parameter.requires_grad}
        if present.keys() != self.parameters.keys():
            differing = ", ".join(sorted(present.keys() ^ self.parameters.keys())[:3])
            raise RuntimeError(
                f"`model`: its trainable parameters changed between two snapshots ({differing}); a trajectory needs "
                "the same ones throughout. Freeze, add and remove parameters before `train()`."
            )
        if self.parts.is_sharded:
            return  # a shard and the whole parameter take turns in the model
        if replaced := [name for name, parameter in present.items() if parameter is not self.parameters[name]]:
            raise RuntimeError(f"`model`: {replaced[0]} was replaced between two snapshots; change it in place.")

    def path_on_disk(self, name: str) -> Path:
        """The file of this process for tensors that are kept on disk."""
        return self.folder / f"{name}_{self.parts.rank}.safetensors"

    # ---- One turn ----

    def _turn(
        self,
        arguments: UnlearningArguments,
        state: TrainerState,
        control: TrainerControl,
        optimizer: torch.optim.Optimizer | None,
    ) -> None:
        self.move(arguments)
        self.changed()
        metrics = self.measure()
        _refuse_non_finite(metrics)
        self.rewinds += 1
        self._decide(state, control, metrics)
        self.keep()
        self.end_turn()
        if self.stop_reason is None:
            self._begin_next(arguments, state, control, optimizer)

    def _undo(self, control: TrainerControl, error: ArithmeticError) -> None:
        self.restore_last_good()
        message = f"{self.turn_name} {self.rewinds + 1} was undone, {error}; the weights are those before it"
        logger.warning(f"{message}. A smaller `learning_rate` (or `residual_scale`) may help.")
        self._stop(control, message)

    def _decide(self, state: TrainerState, control: TrainerControl, metrics: dict[str, float]) -> None:
        """Stops if a rule is past its goal, after going back on the segment to where the first of them was reached."""
        past = [(rule, rule.excess(metrics)) for rule in self.rules]
        past = [(rule, excess) for rule, excess in past if not excess < 0]
        if not past:
            self._note(state, metrics)
            return
        end = self._snapshot("end")
        crossings = [(self._search(rule, excess, end), rule) for rule, excess in past]
        crossing, rule = min(crossings, key=lambda found: found[0].fraction)
        self._go_to(end, crossing.fraction)
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
            self._go_to(end, fraction)
            return rule.excess(self.measure(rule.splits))

        return find_crossing(excess_at, excess_at_end, rule.tolerance, rule.never_past)

    def _go_to(self, end: Snapshot, fraction: float) -> None:
        """Puts the weights at a fraction of the way from the last good ones."""
        assert self.last_good is not None
        interpolate(self.last_good, end, fraction)
        self.changed()

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
        needed = arguments.intervals_per_rewind * self.steps_per_interval
        return arguments.max_forget_steps is None or state.global_step + needed <= arguments.max_forget_steps

    def keep(self) -> None:
        """Makes the weights as they are now the last good ones."""
        bad = non_finite([*self.parts.items(), *self.buffers.items()])
        if self.parts.any(bool(bad)):
            raise ValueError(
                f"`model` holds weights that are not finite: {', '.join(bad[:3]) or 'on another process'}."
            )
        self.good_buffers = {name: value.detach().clone() for name, value in self.buffers.items()}
        if self.last_good is None:
            self.last_good = self._snapshot("last_good")
        else:
            self.last_good.take()

    def _snapshot(self, name: str) -> Snapshot:
        return Snapshot(self.parts, self._storage, self.path_on_disk(name))

    def _stop(self, control: TrainerControl, reason: str) -> None:
        self.stop_reason = reason
        control.should_training_stop = True

    def seconds(self) -> float:
        """Seconds of this run so far, those before an interruption among them."""
        return self.seconds_before + time.monotonic() - self._started

    def _agreed_seconds(self, args: TrainingArguments) -> float:
        """The clock of the first rank, so that every rank stops at the same step."""
        return float(broadcast(torch.tensor(self.seconds(), device=args.device)))

    def _note(self, state: TrainerState, metrics: Mapping[str, float], fraction: float = 1.0) -> None:
        """Remembers a measured point of the curve."""
        kept = {name: value for name, value in metrics.items() if name.endswith(_KEPT)}
        point = {"rewind": self.rewinds, "fraction": fraction, "step": state.global_step, "seconds": self.seconds()}
        if "eval_forget_accuracy" in metrics:
            point["ua"] = 100 * (1 - metrics["eval_forget_accuracy"])
        self.history.append({**point, **kept})
        self.report({name: value for name, value in point.items() if name in ("rewind", "ua", "seconds")})


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

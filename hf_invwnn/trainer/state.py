"""The state of an unlearning run that is not tensors: rounds, history, stop reason, seconds."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from .stopping import StoppingRule, goals_of


# What a run achieved. "no target": no rule said what to reach.
UNCHANGED, NOT_REACHED, REACHED, NO_TARGET = OUTCOMES = ("unchanged", "target not reached", "reached", "no target")


@dataclass
class RunState:
    """
    What a run has done so far; saved as JSON in checkpoints.

    Args:
        rounds (`int`, defaults to 0): Rounds done: for InvWNN, rewinds.
        stop_reason (`str`, *optional*): Why the run ended; `None` before that.
        outcome (`str`, *optional*): What the run achieved, one of [`OUTCOMES`]; `None` before its end.
        history (`list[dict[str, float]]`): The measured points, the starting point first.
        seconds_before (`float`, defaults to 0.0): Seconds of the parts of the run before it was resumed.
        steps_before (`int`, defaults to 0), rounds_before (`int`, defaults to 0): Steps and rounds of earlier calls of
            `train()`, which the history includes.
        phase_began (`int`, defaults to 0): Step of this call of `train()` at which the current phase began.
        recoveries (`int`, defaults to 0): Recoveries done in this call.
        recovering (`bool`, defaults to `False`): Whether the current phase is recovery.
        rewinding_ended (`str`, defaults to `""`), rewinding_met (`bool`, defaults to `False`): Why the last rewinding
            ended, and whether that was its goal.
        weight (`float`, *optional*): The current weight of what recovery keeps, which steers it to its goal.
        drift (`float`, *optional*): Divergence of the rewound model from the original one on surrogates.
        changes (`list[dict]`): Settings that were changed during the run: `step`, `argument`, `from` and `to`.
    """

    rounds: int = 0
    stop_reason: str | None = None
    outcome: str | None = None
    history: list[dict[str, float]] = field(default_factory=list)
    seconds_before: float = 0.0
    steps_before: int = 0
    rounds_before: int = 0
    changes: list[dict[str, Any]] = field(default_factory=list)
    phase_began: int = 0
    recoveries: int = 0
    recovering: bool = False
    rewinding_ended: str = ""
    rewinding_met: bool = False
    weight: float | None = None
    drift: float | None = None

    def __post_init__(self) -> None:
        self._started = time.monotonic()

    def seconds(self) -> float:
        """Seconds of the run so far, including the parts before it was resumed."""
        return self.seconds_before + time.monotonic() - self._started

    @property
    def total_rounds(self) -> int:
        """Rounds of this and of earlier calls of `train()`."""
        return self.rounds_before + self.rounds

    def next_call(self) -> RunState:
        """The state with which another call of `train()` goes on from the end of this one."""
        steps = int(self.history[-1]["step"]) if self.history else self.steps_before
        return RunState(
            history=list(self.history),
            seconds_before=float(self.history[-1]["seconds"]) if self.history else self.seconds_before,
            steps_before=steps,
            rounds_before=self.total_rounds,
            changes=list(self.changes),
        )

    def note_changes(self, step: int, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
        """Records the settings that differ, and the step from which the new values hold."""
        self.changes += [
            {"step": step, "argument": name, "from": before.get(name), "to": value}
            for name, value in now.items()
            if before.get(name) != value
        ]

    def to_dict(self) -> dict[str, Any]:
        """The state as JSON types; [`RunState.from_dict`] continues from it."""
        return {**asdict(self), "seconds_before": self.seconds()}

    @classmethod
    def from_dict(cls, state: dict[str, Any]) -> RunState:
        """The state of a run to resume; the clock starts now."""
        return cls(**{item.name: state[item.name] for item in fields(cls)})


def outcome_of(history: Sequence[Mapping[str, float]], rules: Sequence[StoppingRule], met: bool = False) -> str:
    """
    What a run has achieved, one of [`OUTCOMES`].

    Args:
        history (`list[dict[str, float]]`): The measured points, the starting point first.
        rules (`Sequence[StoppingRule]`): The rules of the run.
        met (`bool`, defaults to `False`): Whether a goal is met, and no floor is broken.
    """
    if not any(point["round"] > 0 and point["fraction"] > 0 for point in history):
        return UNCHANGED
    if met:
        return REACHED
    return NOT_REACHED if goals_of(rules) else NO_TARGET


__all__ = ["NOT_REACHED", "NO_TARGET", "OUTCOMES", "REACHED", "UNCHANGED", "RunState", "outcome_of"]

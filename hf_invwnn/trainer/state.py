"""The state of an unlearning run that is not tensors: rounds, history, stop reason, seconds."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field, fields
from typing import Any


@dataclass
class RunState:
    """
    What a run has done so far; saved as JSON in checkpoints.

    Args:
        rounds (`int`, defaults to 0): Rounds done: for InvWNN, rewinds.
        stop_reason (`str`, *optional*): Why the run ended; `None` before that.
        history (`list[dict[str, float]]`): The measured points, the starting point first.
        seconds_before (`float`, defaults to 0.0): Seconds of the parts of the run before it was resumed.
    """

    rounds: int = 0
    stop_reason: str | None = None
    history: list[dict[str, float]] = field(default_factory=list)
    seconds_before: float = 0.0

    def __post_init__(self) -> None:
        self._started = time.monotonic()

    def seconds(self) -> float:
        """Seconds of the run so far, including the parts before it was resumed."""
        return self.seconds_before + time.monotonic() - self._started

    def to_dict(self) -> dict[str, Any]:
        """The state as JSON types; [`RunState.from_dict`] continues from it."""
        return {**asdict(self), "seconds_before": self.seconds()}

    @classmethod
    def from_dict(cls, state: dict[str, Any]) -> RunState:
        """The state of a run to resume; the clock starts now."""
        return cls(**{item.name: state[item.name] for item in fields(cls)})


__all__ = ["RunState"]

"""A Trainer that reports to its caller only."""

from __future__ import annotations

from typing import Any, TypeVar

from transformers import Trainer
from transformers.trainer_callback import PrinterCallback


QUIET: dict[str, Any] = {
    "save_strategy": "no",
    "logging_strategy": "no",
    "report_to": "none",
    "disable_tqdm": True,
    "dataloader_pin_memory": False,
}

AnyTrainer = TypeVar("AnyTrainer", bound=Trainer)


def without_printing(trainer: AnyTrainer) -> AnyTrainer:
    """The trainer without the callback that prints its logs: standard output belongs to a command's own lines."""
    trainer.remove_callback(PrinterCallback)
    return trainer


__all__ = ["QUIET", "without_printing"]

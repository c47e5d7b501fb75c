"""A Trainer that reports to its caller only."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
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


@contextmanager
def without_warnings() -> Iterator[None]:
    """Silences what a run says of its end, where the caller says it: a run of a comparison, or relearning."""
    log = logging.getLogger("hf_invwnn.trainer.callback")

    def is_error(record: logging.LogRecord) -> bool:
        return record.levelno >= logging.ERROR

    log.addFilter(is_error)
    try:
        yield
    finally:
        log.removeFilter(is_error)


__all__ = ["QUIET", "without_printing", "without_warnings"]

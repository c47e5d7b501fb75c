"""One progress bar for one training run, instead of the Trainer's bars and log lines."""

from __future__ import annotations

from typing import Any

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import PrinterCallback, ProgressCallback


class OneBar(TrainerCallback):
    """
    Shows the steps of a run, and after every rewind the UA reached, in one line.

    Args:
        progress (`rich.progress.Progress`): Where the bar is drawn.
        description (`str`): What the run does.
    """

    def __init__(self, progress: Progress, description: str) -> None:
        self.progress, self.description = progress, description
        self.task = progress.add_task(description, total=None)

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self.progress.update(self.task, total=state.max_steps)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self.progress.update(self.task, completed=state.global_step)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        if logs and "ua" in logs:
            reached = f"{self.description}: rewind {logs['rewind']:.0f}, UA {logs['ua']:.1f} %"
            self.progress.update(self.task, description=reached)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self.progress.update(self.task, total=state.global_step, completed=state.global_step)


def progress_bars() -> Progress:
    """A live display for the bars of several runs, one below the other."""
    return Progress(TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())


def show_one_bar(trainer: Trainer, progress: Progress, description: str) -> None:
    """Gives a trainer a bar of `progress` and takes its own displays away."""
    for display in (ProgressCallback, PrinterCallback):
        trainer.remove_callback(display)
    trainer.add_callback(OneBar(progress, description))


__all__ = ["OneBar", "progress_bars", "show_one_bar"]

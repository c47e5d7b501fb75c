"""Measurements of a run: every example of every evaluation set, without an effect on the run itself."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from accelerate.utils import broadcast_object_list
from transformers import Trainer, TrainingArguments

from ..errors import NonFiniteLossError
from ..trajectory.sharding import reshard
from .accuracy import measured_by
from .stopping import splits_of


if TYPE_CHECKING:
    from .unlearner import Unlearner


def measure(unlearner: Unlearner, splits: Sequence[str] | None = None) -> dict[str, float]:
    """Evaluates the model of a run; see [`~Unlearner.measure`]."""
    assert isinstance(unlearner.eval_dataset, dict)
    names = unlearner.eval_dataset if splits is None else splits
    # A data loader draws a seed from the generator of torch; a run must not depend on what is measured.
    with (
        preserved_control(unlearner),
        torch.random.fork_rng(devices=[]),
        measured_by(unlearner, unlearner.accuracy),
    ):
        metrics: dict[str, float] = unlearner.evaluate({name: unlearner.eval_dataset[name] for name in names})
    if unlearner.model is not None:
        reshard(unlearner.model)
    if unlearner.evaluators and not splits:
        model = unlearner.accelerator.unwrap_model(unlearner.model)
        extra = {name: value for evaluate in unlearner.evaluators for name, value in evaluate(model).items()}
        # Every rank has to stop at the same step.
        metrics |= broadcast_object_list([extra])[0] if unlearner.args.world_size > 1 else extra
    return metrics


def measure_round(unlearner: Unlearner) -> dict[str, float]:
    """Evaluates the model after a round; see [`~Unlearner.measure_round`]."""
    if unlearner.evaluate_others is None:
        return unlearner.measure()
    metrics = unlearner.measure(("forget",))
    assert isinstance(unlearner.eval_dataset, dict)
    others = [name for name in unlearner.eval_dataset if name != "forget"]
    if unlearner.evaluate_others(metrics):
        return {**metrics, **unlearner.measure(others)}
    needed = {split for rule in unlearner.unlearning.rules for split in splits_of(rule)}
    needed_others = [name for name in others if name in needed]
    return {**metrics, **unlearner.measure(needed_others)} if needed_others else metrics


def name_of_set(trainer: Trainer, dataset: Any) -> Any:
    """
    The name of an evaluation set of a Trainer; another data set is returned as it is. The Trainer keeps loaders with
    persistent workers by name, and gives all data sets without a name the same.
    """
    sets = trainer.eval_dataset if isinstance(trainer.eval_dataset, dict) else {}
    return next((name for name, candidate in sets.items() if candidate is dataset), dataset)


def check_finite(metrics: Mapping[str, float]) -> None:
    """
    Raises:
        NonFiniteLossError: A loss is infinite or NaN.
    """
    for name, value in metrics.items():
        if name.endswith("_loss") and not math.isfinite(value):
            raise NonFiniteLossError(f"`{name}` became {value}")


@contextmanager
def all_examples(args: TrainingArguments) -> Iterator[None]:
    """Within this context loaders keep the last, incomplete batch: `dataloader_drop_last` is for training."""
    drop_last, args.dataloader_drop_last = args.dataloader_drop_last, False
    try:
        yield
    finally:
        args.dataloader_drop_last = drop_last


@contextmanager
def preserved_control(trainer: Trainer) -> Iterator[None]:
    """The Trainer counts an evaluation or a log within this context as the scheduled one, and would skip that."""
    flags = {name: getattr(trainer.control, name) for name in ("should_log", "should_evaluate", "should_save")}
    yield
    for name, value in flags.items():
        setattr(trainer.control, name, value)


__all__ = ["all_examples", "check_finite", "measure", "measure_round", "name_of_set", "preserved_control"]

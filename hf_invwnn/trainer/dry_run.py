"""One batch of each data set through collator and model before any work; model and generators stay as they are."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from typing import Any

import torch
from datasets import Dataset
from torch import nn
from transformers import Trainer

from .fingerprint import seeded
from .heads import CLASSES, head_of


# What data sets, collators and models raise at examples they cannot work with.
FAILURES = (ValueError, TypeError, KeyError, IndexError, AttributeError, RuntimeError, NotImplementedError)


def check_examples(trainer: Trainer, datasets: Mapping[str, Any]) -> None:
    """
    Evaluates two examples of each data set, without gradients and in evaluation mode.

    Args:
        trainer (`Trainer`): Its collator, model and loss. Weights, buffers, mode, gradients and configuration of the
            model, and the random generators, are afterwards as before.
        datasets (`dict[str, Dataset]`): The argument that each was passed as -> the data set. Of one that can be read
            only once nothing is read.

    Raises:
        ValueError: The examples do not fit the model: a column or the labels are missing, images are not processed, a
            value is not finite, examples have different shapes, or the model fails or returns no loss.
    """
    model: Any = trainer.model
    if any(parameter.is_meta for parameter in model.parameters()):
        return
    for argument, dataset in datasets.items():
        with seeded():
            examples = first_examples(argument, dataset)
            if examples:
                inputs = collated(trainer, argument, dataset, examples)
                _check_inputs(trainer, argument, inputs)
                _check_loss(trainer, argument, inputs)


def first_examples(argument: str, dataset: Any, count: int = 2) -> list[Any]:
    """The first examples of a data set; none, if reading them would use them up."""
    try:
        if hasattr(dataset, "__getitem__") and hasattr(dataset, "__len__"):
            return [dataset[index] for index in range(min(count, len(dataset)))]
        iterator = iter(dataset)
        return [] if iter(dataset) is iterator else list(islice(iterator, count))
    except FAILURES as error:
        raise ValueError(f"`{argument}`: its first examples cannot be read ({in_words(error)}).") from error


def collated(trainer: Trainer, argument: str, dataset: Any, examples: list[Any]) -> dict[str, Any]:
    """
    A batch of examples as the model takes it, on the device of the model.

    Raises:
        ValueError: The examples cannot be batched; the message names the argument.
    """
    _check_raw(trainer, argument, examples[0])
    if isinstance(dataset, Dataset):
        kept = set(trainer._remove_unused_columns(dataset, description="training").column_names)
        examples = [{name: value for name, value in example.items() if name in kept} for example in examples]
        collate: Any = trainer.data_collator
    else:
        collate = trainer._get_collator_with_removed_columns(trainer.data_collator, description="training")
    try:
        batch = collate(examples)
    except FAILURES as error:
        shapes = _shapes(examples)
        raise ValueError(
            f"`{argument}`: `data_collator` cannot make a batch of its examples ({in_words(error)}).{shapes}"
        ) from error
    if not isinstance(batch, Mapping):
        raise ValueError(
            f"`data_collator` must return a dictionary of tensors, got {type(batch).__name__} for `{argument}`."
        )
    device = next(iter(trainer.model.parameters())).device  # type: ignore[union-attr]
    return {name: value.to(device) if torch.is_tensor(value) else value for name, value in batch.items()}


def _check_raw(trainer: Trainer, argument: str, example: Any) -> None:
    if not isinstance(example, Mapping):
        return
    for name, value in example.items():
        if type(value).__module__.startswith("PIL."):
            raise ValueError(
                f"`{argument}` holds raw images under {name!r}; process them first (`ImageTensors.from_dataset`), or "
                "set a transform that returns `pixel_values`."
            )
    forward = inspect.signature(trainer.model.forward).parameters  # type: ignore[union-attr]
    takes_anything = any(parameter.kind is parameter.VAR_KEYWORD for parameter in forward.values())
    if trainer.args.remove_unused_columns and not any(name in forward for name in example) and not takes_anything:
        takes = [name for name in forward if name not in ("return_dict", "kwargs", "return_loss")]
        raise ValueError(
            f"`{argument}` has no column that the model takes: its columns are {', '.join(map(str, example))}; the "
            f"model takes {', '.join(takes[:8])}."
        )
    needed = getattr(trainer.model, "main_input_name", None)
    if isinstance(needed, str) and needed in forward and needed not in example and "inputs_embeds" not in example:
        raise ValueError(
            f"`{argument}` has no column {needed!r}, which the model needs; its columns are "
            f"{', '.join(map(str, example))}."
        )


def _check_inputs(trainer: Trainer, argument: str, inputs: Mapping[str, Any]) -> None:
    for name, value in inputs.items():
        if torch.is_tensor(value) and value.is_floating_point() and not torch.isfinite(value).all():
            raise ValueError(f"`{argument}` holds values under {name!r} that are infinite or NaN; replace them.")
    model: Any = trainer.model
    labels, head = inputs.get("labels"), head_of(model)
    if labels is None and head is not None and list(trainer.label_names) == ["labels"]:
        raise ValueError(
            f"`{argument}` has no labels: a batch holds {', '.join(inputs) or 'nothing'}; add a column `labels`."
        )
    if head == CLASSES and torch.is_tensor(labels) and (labels.ndim != 1 or labels.is_floating_point()):
        raise ValueError(
            f"`{argument}` has labels of shape {tuple(labels.shape)} and type {labels.dtype}, and the model needs one "
            "whole number per example, not a one-hot list or a float."
        )


def _check_loss(trainer: Trainer, argument: str, inputs: dict[str, Any]) -> None:
    model: Any = trainer.model
    with evaluated(model):
        try:
            with torch.no_grad(), trainer.compute_loss_context_manager():
                items = trainer._get_num_items_in_batch([inputs], trainer.args.device)
                loss = trainer.compute_loss(model, dict(inputs), num_items_in_batch=items)
        except FAILURES as error:
            raise ValueError(
                f"`model` cannot compute its loss on two examples of `{argument}` ({in_words(error)})."
            ) from error
    if not torch.is_tensor(loss) or loss.numel() != 1:
        found = f"a tensor of shape {tuple(loss.shape)}" if torch.is_tensor(loss) else type(loss).__name__
        raise ValueError(
            f"`model` must return a dictionary with a scalar `loss` (and `logits`) when labels are passed, got "
            f"{found} on two examples of `{argument}`; or pass `compute_loss_func`."
        )


@contextmanager
def evaluated(model: nn.Module) -> Iterator[None]:
    """Within this context a model is in evaluation mode; its modes and its `problem_type` are restored."""
    config: Any = getattr(model, "config", None)
    problem_type = getattr(config, "problem_type", None)
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training
        if hasattr(config, "problem_type"):
            config.problem_type = problem_type  # the losses of transformers set it


def _shapes(examples: list[Any]) -> str:
    """The column whose shapes differ between examples, if there is one."""
    if not all(isinstance(example, Mapping) for example in examples):
        return ""
    for name in examples[0]:
        shapes = {tuple(getattr(example.get(name), "shape", ())) for example in examples}
        if len(shapes) > 1:
            return f" {name!r} has the shapes {' and '.join(map(str, sorted(shapes)))}; pad or resize them."
    return ""


def in_words(error: BaseException) -> str:
    """The first line of an error and its type."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__


__all__ = ["FAILURES", "check_examples", "collated", "evaluated", "first_examples", "in_words"]

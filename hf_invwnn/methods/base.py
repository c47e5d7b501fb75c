"""`GradientUnlearner`: a method that takes optimizer steps on a loss of its own."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import nn

from ..trainer.checks import check_model, check_retain
from ..trainer.dry_run import collated, first_examples
from ..trainer.heads import CLASSES, NEXT_TOKEN, TOKEN_CLASSES, TOKENS, head_of, may_have_accuracy
from ..trainer.labels import check_has_labels
from ..trainer.unlearner import Unlearner


class GradientUnlearner(Unlearner):
    r"""
    Minimises `unlearning_loss` in training, and evaluates with the loss of the task. A round is
    `num_snapshots - 1 + warmup_intervals` intervals, as for [`InvWNNUnlearner`]; `num_snapshots=2` makes it one.

    Args:
        retain_dataset (`Dataset`, *optional*): D_r, for methods that train on it; refused by the others.
        kwargs: Arguments of [`Unlearner`], and of the method.

    Raises:
        ValueError, TypeError: As [`Unlearner`]; or the task has no class labels but the method needs them, or
            `retain_dataset` is missing or not used by the method.
    """

    needs_labels = True
    # The heads that a method with labels works on, see `hf_invwnn.trainer.heads`.
    heads: ClassVar[tuple[str, ...]] = (CLASSES,)
    # `unlearning_loss` is a mean over its batch, which the Trainer divides by the number of accumulated batches.
    loss_is_scaled_for_ga = False

    def __init__(
        self, model: nn.Module, args: Any, forget_dataset: Any, *rest: Any, retain_dataset: Any = None, **kwargs: Any
    ) -> None:
        check_model(model)
        check_retain(self.title, self.needs_retain, retain_dataset)
        if self.needs_labels:
            if head_of(model) not in (TOKENS, NEXT_TOKEN):  # a collator may make labels of tokens
                check_has_labels(self.title, forget_dataset, model)
            check_head(self.title, model, self.heads)
        self._items_in_step: Any = None
        super().__init__(model, args, forget_dataset, *rest, **kwargs)

    def check_inputs(self) -> None:
        """
        Raises:
            ValueError: The inputs of the model are ids and not numbers, which the method moves or derives by.
        """
        examples = first_examples("forget_dataset", self.forget_dataset)
        numbers_of(self.title, collated(self, "forget_dataset", self.forget_dataset, examples))

    @property
    def num_classes(self) -> int:
        """Number of classes C."""
        return self.accelerator.unwrap_model(self.model).config.num_labels

    def unlearning_loss(self, model: nn.Module, inputs: dict[str, Any]) -> torch.Tensor:
        """The loss that a step of the method minimises, a mean over the batch."""
        return self.task_loss(model, inputs)

    def task_loss(self, model: nn.Module, inputs: dict[str, Any], items_in_step: Any = None) -> torch.Tensor:
        """
        The loss that the model was trained with, of a batch.

        Args:
            model (`nn.Module`), inputs (`dict[str, Any]`): The model and the batch.
            items_in_step (*optional*): `num_items_in_batch` of the Trainer, the number of labels in all batches that
                a step accumulates; by default that of the current step.

        Returns:
            `torch.Tensor`: A mean over the batch; if the loss is one that divides by the number of labels of the
            whole step, this number is shared evenly among the batches.
        """
        items = self._items_in_step if items_in_step is None else items_in_step
        batches = 1 if items is None else self.current_gradient_accumulation_steps
        if items is None:
            items = self._get_num_items_in_batch([inputs], self.args.device)
        loss: Any = super().compute_loss(model, dict(inputs), num_items_in_batch=items)
        return loss * batches

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        # The Trainer calls this in evaluations too, which report the loss of the task.
        if not model.training or self.recovering:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        self._items_in_step = num_items_in_batch
        try:
            return self.unlearning_loss(model, inputs)
        finally:
            self._items_in_step = None


def check_positive(name: str, value: float, or_zero: bool = False) -> None:
    """
    Raises:
        ValueError: A parameter of a method is not a finite positive number (or 0, with `or_zero`).
    """
    if not (value > 0 or (or_zero and value == 0)) or not math.isfinite(value):
        raise ValueError(f"`{name}` must be {'0 or above' if or_zero else 'positive'} and finite, got {value}.")


def check_head(method: str, model: nn.Module, heads: Sequence[str]) -> None:
    """
    Raises:
        ValueError: The labels of the model are of a kind that a method cannot work with.
    """
    head = head_of(model)
    unknown = head is None and may_have_accuracy(model)
    if head not in heads and not unknown:
        known = " and ".join(dict.fromkeys(_KINDS[kind] for kind in heads))
        raise ValueError(
            f"`model`: {method} works on {known}, and the labels of {type(model).__name__} are {_KINDS[head]}; "
            "neg_grad, task_vector and invwnn work on any loss."
        )


_KINDS = {
    CLASSES: "classes of examples",
    TOKEN_CLASSES: "classes of tokens",
    TOKENS: "tokens of a vocabulary",
    NEXT_TOKEN: "tokens of a vocabulary",
    None: "no classes (several labels per example, numbers, answers or boxes)",
}


def logits_of(model: nn.Module, inputs: Mapping[str, Any]) -> torch.Tensor:
    """The logits of a model, computed without its loss."""
    outputs = model(**{name: value for name, value in inputs.items() if name != "labels"})
    return outputs["logits"] if isinstance(outputs, Mapping) else outputs[0]


def numbers_of(method: str, inputs: Mapping[str, Any]) -> str:
    """
    The name of the input that is numbers, such as images and audio, and not ids.

    Raises:
        ValueError: There is none.
    """
    for name, value in inputs.items():
        if name != "labels" and torch.is_tensor(value) and value.is_floating_point():
            return name
    raise ValueError(f"`forget_dataset`: {method} needs inputs that are numbers, got {', '.join(inputs)}.")


def other_classes(labels: torch.Tensor, num_classes: int) -> torch.Tensor:
    """A class for each label that it is not, all others with the same probability."""
    drawn = torch.randint(1, num_classes, labels.shape, device=labels.device)
    return (labels + drawn) % num_classes


__all__ = [
    "GradientUnlearner",
    "check_head",
    "check_positive",
    "logits_of",
    "numbers_of",
    "other_classes",
]

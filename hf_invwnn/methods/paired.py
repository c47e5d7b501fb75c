"""Pairs of a retained and a forgotten example, for the methods that train on both."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import nn

from ..trainer.dry_run import check_examples
from ..trainer.labels import check_labels
from .base import GradientUnlearner


class Pair(NamedTuple):
    """Two examples, each of any kind."""

    retain: Any
    forget: Any


class PairedDataset(torch.utils.data.Dataset):
    """
    Every example of D_r with one of D_f; an epoch is one epoch of D_r.

    Args:
        retain (`Dataset`), forget (`Dataset`): D_r and D_f; a shorter D_f is repeated.
    """

    def __init__(self, retain: Any, forget: Any) -> None:
        self.retain, self.forget = retain, forget

    def __len__(self) -> int:
        return len(self.retain)

    def __getitem__(self, index: int) -> Pair:
        return Pair(self.retain[index], self.forget[index % len(self.forget)])


class PairedUnlearner(GradientUnlearner):
    """
    A method whose steps use a batch of D_r and one of D_f, `{"retain": inputs, "forget": inputs}`.

    Takes and raises what [`GradientUnlearner`] does; `retain_dataset` is required.
    """

    needs_retain = True

    def __init__(
        self, model: nn.Module, args: Any, forget_dataset: Any, *rest: Any, retain_dataset: Any = None, **kwargs: Any
    ) -> None:
        self.items_in_step: dict[str, Any] = {}
        super().__init__(model, args, forget_dataset, *rest, retain_dataset=retain_dataset, **kwargs)
        check_labels("retain_dataset", retain_dataset, model)
        check_examples(self, {"retain_dataset": retain_dataset})
        self.train_dataset = PairedDataset(retain_dataset, forget_dataset)
        # The Trainer removes columns that the model does not take, but not within pairs.
        collate: Any = self._get_collator_with_removed_columns(self.data_collator, description="training")
        self.data_collator = PairedCollator(self.data_collator, collate)

    def get_batch_samples(self, *args: Any) -> tuple[list[Any], Any]:
        """Counts the labels of a step in each half, see [`~GradientUnlearner.task_loss`]."""
        batches, items = super().get_batch_samples(*args)
        self.items_in_step = {
            part: self._get_num_items_in_batch([batch[part] for batch in batches], self.args.device)
            if batches
            else None
            for part in ("retain", "forget")
        }
        return batches, items

    def part_loss(self, model: nn.Module, inputs: dict[str, Any], part: str) -> torch.Tensor:
        """The loss of the task on `"retain"` or `"forget"`, see [`~GradientUnlearner.task_loss`]."""
        return self.task_loss(model, inputs[part], self.items_in_step.get(part))

    def forget_part(self, inputs: dict[str, Any]) -> dict[str, Any]:
        return inputs["forget"]

    def floating_point_ops(self, inputs: dict[str, Any]) -> int:
        return sum(super(PairedUnlearner, self).floating_point_ops(part) for part in inputs.values())


class PairedCollator:
    """Collates the two halves of pairs separately, and single examples (of an evaluation) as before."""

    def __init__(self, single: Callable[[Any], Any], paired: Callable[[Any], Any]) -> None:
        self.single, self.paired = single, paired

    def __call__(self, examples: Sequence[Any]) -> Any:
        if not isinstance(examples[0], Pair):
            return self.single(examples)
        retain, forget = zip(*examples, strict=True)
        return {"retain": self.paired(list(retain)), "forget": self.paired(list(forget))}


__all__ = ["PairedCollator", "PairedDataset", "PairedUnlearner"]

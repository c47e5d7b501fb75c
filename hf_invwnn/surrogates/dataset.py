"""Surrogates from a data set of the user's own: unlabelled examples of the same kind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.utils.data import default_collate

from .base import Answer, Inputs


class UnlabelledExamples:
    """
    Examples drawn from a data set, whose labels are not used. The unlearning is then no longer from the forget set
    alone, and the record says so.

    Args:
        dataset (`Dataset`): Sized, of dictionaries with the inputs of the model. It must not hold the forget set: its
            answers would teach the model again what it is to forget.
        collate (`Callable`, *optional*): Makes a batch of examples; that of torch by default.

    Raises:
        ValueError: The data set is empty.
    """

    name, forget_only = "unlabelled examples", False

    def __init__(self, dataset: Any, collate: Callable[[Sequence[Any]], dict[str, Any]] | None = None) -> None:
        if len(dataset) == 0:
            raise ValueError("`dataset` of the surrogates is empty.")
        self.dataset, self.collate = dataset, collate or default_collate

    def __call__(self, inputs: Inputs, generator: torch.Generator, answer: Answer) -> Inputs:
        rows = len(next(iter(inputs.values())))
        drawn = torch.randint(len(self.dataset), (rows,), generator=generator).tolist()
        batch = self.collate([self.dataset[index] for index in drawn])
        return {name: batch[name].to(value.device) for name, value in inputs.items() if name in batch}


__all__ = ["UnlabelledExamples"]

"""Batches of the forget set that say which examples they hold."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import datasets
import torch
from transformers import Trainer


# The name, in a batch, of the indices of its examples.
INDEX = "example_index"


class Indexed(NamedTuple):
    """An example and its place in the data set."""

    place: int
    example: Any


class IndexedDataset(torch.utils.data.Dataset):
    """
    The examples of a sized data set with their places.

    Args:
        examples (`Dataset`): The data set.
    """

    def __init__(self, examples: Any) -> None:
        self.examples = examples

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int) -> Indexed:
        return Indexed(int(index), self.examples[index])

    def __getitems__(self, indices: Sequence[int]) -> list[Indexed]:
        whole = getattr(self.examples, "__getitems__", None)
        examples = [self.examples[index] for index in indices] if whole is None else whole(indices)
        return [Indexed(int(index), example) for index, example in zip(indices, examples, strict=True)]


class IndexedCollator:
    """Collates the examples as before, and adds their places to the batch."""

    def __init__(self, collate: Callable[[Any], Any]) -> None:
        self.collate = collate

    def __call__(self, examples: Sequence[Indexed]) -> Any:
        batch = self.collate([item.example for item in examples])
        return {**batch, INDEX: torch.tensor([item.place for item in examples])}


def without_unused_columns(trainer: Trainer, dataset: Any) -> Any:
    """A data set of rows without the columns that the model does not take; another one as it is."""
    if isinstance(dataset, datasets.Dataset):
        return trainer._remove_unused_columns(dataset, description="training")
    return dataset


@contextmanager
def indexed_batches(trainer: Trainer) -> Iterator[None]:
    """Within this context the Trainer makes loaders whose batches hold [`INDEX`]; examples and order stay the same."""
    dataset, collator = trainer.train_dataset, trainer.data_collator
    trainer.train_dataset = IndexedDataset(without_unused_columns(trainer, dataset))
    trainer.data_collator = IndexedCollator(
        trainer._get_collator_with_removed_columns(collator, description="training")
    )
    try:
        yield
    finally:
        trainer.train_dataset, trainer.data_collator = dataset, collator


__all__ = ["INDEX", "Indexed", "IndexedCollator", "IndexedDataset", "indexed_batches", "without_unused_columns"]

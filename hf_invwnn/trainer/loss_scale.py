"""Whether a model divides its loss by `num_items_in_batch`, so that accumulated steps have the Trainer's length."""

from __future__ import annotations

from itertools import islice
from typing import Any

import torch
from torch import nn
from torch.utils.data import IterableDataset
from transformers import Trainer

from .fingerprint import seeded


def divides_by_items(trainer: Trainer, dataset: Any) -> bool:
    """
    Whether the model of a Trainer uses the keyword `num_items_in_batch`, found by evaluating two examples with 1 and
    with 2 items. Many models (ResNet, PVT v2, BERT) accept the keyword and ignore it: the gradients of n accumulated
    batches would be n times too large if it replaced the mean of each batch.

    Args:
        trainer (`Trainer`): Its model is neither changed nor left in another mode.
        dataset (`Dataset`): The examples; read with the generators restored afterwards.
    """
    if not trainer.model_accepts_loss_kwargs:
        return False
    model: Any = trainer.model
    with seeded():
        inputs = _two_examples(trainer, dataset)
        losses = [_loss(model, {**inputs, "num_items_in_batch": torch.tensor(items)}) for items in (1, 2)]
    return None not in losses and not torch.equal(*losses)  # type: ignore[arg-type]


def _two_examples(trainer: Trainer, dataset: Any) -> dict[str, Any]:
    iterable = isinstance(dataset, IterableDataset) or not hasattr(dataset, "__getitem__")
    examples = list(islice(dataset, 2)) if iterable else [dataset[index] for index in range(min(2, len(dataset)))]
    collate = trainer._get_collator_with_removed_columns(trainer.data_collator, description="training")
    prepared: dict[str, Any] = trainer._prepare_inputs(collate(examples))
    return prepared


@torch.no_grad()
def _loss(model: nn.Module, inputs: dict[str, Any]) -> torch.Tensor | None:
    config: Any = getattr(model, "config", None)
    problem_type, training = getattr(config, "problem_type", None), model.training
    try:
        outputs = model.eval()(**inputs)
    finally:
        model.train(training)
        if hasattr(config, "problem_type"):
            config.problem_type = problem_type  # a loss of transformers sets it
    loss = outputs.get("loss") if isinstance(outputs, dict) else outputs[0]
    return loss if torch.is_tensor(loss) and loss.ndim == 0 else None


__all__ = ["divides_by_items"]

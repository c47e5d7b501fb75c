"""Whether a model divides its loss by `num_items_in_batch`, so that accumulated steps have the Trainer's length."""

from __future__ import annotations

from typing import Any

import torch
from accelerate.utils import broadcast_object_list
from torch import nn
from transformers import Trainer

from .dry_run import collated, evaluated, first_examples
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
    if any(parameter.is_meta for parameter in model.parameters()):
        return True
    with seeded():
        examples = first_examples("forget_dataset", dataset)
        if not examples:  # they can be read only once; the keyword is used, as the Trainer assumes
            return True
        inputs = collated(trainer, "forget_dataset", dataset, examples)
        losses = [_loss(model, {**inputs, "num_items_in_batch": torch.tensor(items)}) for items in (1, 2)]
    uses = None not in losses and not torch.equal(*losses)  # type: ignore[arg-type]
    # Other processes may load their weights later; all must scale alike.
    return bool(broadcast_object_list([uses])[0]) if trainer.args.world_size > 1 else uses


def is_divided(trainer: Trainer, items: Any) -> bool:
    """Whether the Trainer divides the loss of a batch by the number of accumulated batches."""
    if trainer.loss_is_scaled_for_ga is not None:
        return not trainer.loss_is_scaled_for_ga
    return not ((trainer.model_accepts_loss_kwargs and items is not None) or trainer.compute_loss_func is not None)


@torch.no_grad()
def _loss(model: nn.Module, inputs: dict[str, Any]) -> torch.Tensor | None:
    with evaluated(model):
        outputs = model(**inputs)
    loss = outputs.get("loss") if isinstance(outputs, dict) else outputs[0]
    return loss if torch.is_tensor(loss) and loss.ndim == 0 else None


__all__ = ["divides_by_items", "is_divided"]

"""Retrain: a fresh initialisation and the original recipe, on the retain set alone. The oracle."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel, Trainer, TrainingArguments, set_seed


def retrain(
    model: PreTrainedModel, args: TrainingArguments, retain_dataset: Any, **trainer_kwargs: Any
) -> PreTrainedModel:
    """
    Trains a twin of a model that has never seen the forget set.

    Args:
        model (`PreTrainedModel`): What to retrain; only its class and config are taken.
        args (`TrainingArguments`): The recipe that `model` was trained with; its `seed` draws the initialisation.
        retain_dataset (`Dataset`): D_r.
        trainer_kwargs: The other arguments of [`~transformers.Trainer`].

    Returns:
        `PreTrainedModel`: The twin, trained, in evaluation mode. `model` is unchanged.

    Raises:
        ValueError: `retain_dataset` is missing or empty, or training left a parameter where it was initialised.
    """
    if retain_dataset is None or len(retain_dataset) == 0:
        raise ValueError("`retain_dataset` must hold examples: retraining is training on what is kept.")
    set_seed(args.seed)
    twin = type(model)(model.config)
    before = {name: parameter.detach().clone() for name, parameter in twin.named_parameters()}
    Trainer(model=twin, args=args, train_dataset=retain_dataset, **trainer_kwargs).train()
    _check_moved(twin, before)
    return twin.eval()


def _check_moved(model: nn.Module, before: dict[str, torch.Tensor]) -> None:
    for name, parameter in model.named_parameters():
        if parameter.requires_grad and torch.equal(parameter.detach().to(before[name]), before[name]):
            raise ValueError(f"`args`: training left `{name}` where it was initialised; look at length and rate.")


__all__ = ["retrain"]

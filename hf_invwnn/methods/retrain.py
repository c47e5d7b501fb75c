"""Retraining from a new initialisation on the retain set alone."""

from __future__ import annotations

from typing import Any

from transformers import PreTrainedModel, Trainer, TrainingArguments, set_seed


def retrain(
    model: PreTrainedModel, args: TrainingArguments, retain_dataset: Any, **trainer_kwargs: Any
) -> PreTrainedModel:
    """
    Trains a model of the same architecture without the forget set.

    Args:
        model (`PreTrainedModel`): The model to retrain; only its class and config are used.
        args (`TrainingArguments`): The arguments that `model` was trained with; their `seed` draws the initialisation.
        retain_dataset (`Dataset`): D_r.
        trainer_kwargs: The other arguments of [`~transformers.Trainer`].

    Returns:
        `PreTrainedModel`: The retrained model, in evaluation mode. `model` is unchanged.

    Raises:
        ValueError: `retain_dataset` is missing or empty.
    """
    if retain_dataset is None or len(retain_dataset) == 0:
        raise ValueError("`retain_dataset` is missing or empty: retraining trains on the retained examples.")
    set_seed(args.seed)
    retrained = type(model)(model.config)
    Trainer(model=retrained, args=args, train_dataset=retain_dataset, **trainer_kwargs).train()
    return retrained.eval()


__all__ = ["retrain"]

"""Evaluation of an image classifier on the splits of an experiment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..metrics.summary import unlearning_metrics


if TYPE_CHECKING:
    import numpy as np
    from torch import nn


def evaluate_model(
    model: nn.Module, splits: Mapping[str, Any], batch_size: int = 256, seed: int = 0
) -> dict[str, float]:
    """
    RA, UA, TA, MIA and the loss AUC of a classifier, in eval mode, on whole splits.

    Args:
        model (`nn.Module`): The classifier, which returns `logits` of shape `(N, C)`; its mode is restored.
        splits (`Mapping[str, Dataset]`): `"forget"`, `"retain"` and `"test"`, with examples that
            `default_data_collator` can batch and test-time transforms.
        batch_size (`int`, *optional*, defaults to 256): Examples in a batch.
        seed (`int`, *optional*, defaults to 0): Seed of [`unlearning_metrics`].

    Returns:
        `dict[str, float]`: The metrics of [`unlearning_metrics`].

    Raises:
        ValueError: As in [`unlearning_metrics`].
    """
    logits, labels = {}, {}
    for name, dataset in splits.items():
        logits[name], labels[name] = predict(model, dataset, batch_size)
    return unlearning_metrics(logits, labels, seed=seed)


def predict(model: nn.Module, dataset: Any, batch_size: int = 256) -> tuple[np.ndarray, np.ndarray]:
    """
    Logits and labels of a data set, in its order and in evaluation mode.

    Args:
        model (`nn.Module`): The classifier, which returns `logits` of shape `(N, C)`; its mode is restored.
        dataset (`Dataset`): Examples that `default_data_collator` can batch.
        batch_size (`int`, *optional*, defaults to 256): Examples in a batch.

    Returns:
        `tuple[np.ndarray, np.ndarray]`: Logits `(N, C)` in float32 and labels `(N,)`.
    """
    import numpy as np
    import torch
    from torch.utils.data import DataLoader
    from transformers import default_data_collator

    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    logits, labels = [], []
    with torch.no_grad():
        for batch in DataLoader(dataset, batch_size=batch_size, collate_fn=default_data_collator):
            labels.append(batch.pop("labels").numpy())
            inputs = {name: value.to(device) for name, value in batch.items()}
            logits.append(model(**inputs).logits.float().cpu().numpy())
    model.train(was_training)
    return np.concatenate(logits), np.concatenate(labels)


__all__ = ["evaluate_model", "predict"]

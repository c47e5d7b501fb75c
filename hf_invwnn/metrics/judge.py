"""Run a classifier over the splits of an unlearning experiment, and report every metric."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .summary import unlearning_report


if TYPE_CHECKING:
    import numpy as np
    from torch import nn


def judge_model(model: nn.Module, splits: Mapping[str, Any], batch_size: int = 256, seed: int = 0) -> dict[str, float]:
    """
    RA, UA, TA, MIA and the loss AUC of a classifier, in eval mode, on whole splits.

    Args:
        model (`nn.Module`): Takes keyword inputs and returns `logits` of shape `(N, C)`; its mode is restored.
        splits (`Mapping[str, Dataset]`): `"forget"`, `"retain"` and `"test"`, of examples that
            `default_data_collator` can batch, with test-time transforms.
        batch_size (`int`, *optional*, defaults to 256): Examples at once.
        seed (`int`, *optional*, defaults to 0): As in [`unlearning_report`], which says what is returned and raised.
    """
    logits, labels = {}, {}
    for name, dataset in splits.items():
        logits[name], labels[name] = classify(model, dataset, batch_size)
    return unlearning_report(logits, labels, seed=seed)


def classify(model: nn.Module, dataset: Any, batch_size: int = 256) -> tuple[np.ndarray, np.ndarray]:
    """Logits `(N, C)` in float32 and labels `(N,)` of a data set, in its order."""
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


__all__ = ["classify", "judge_model"]

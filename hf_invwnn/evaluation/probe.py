"""Probes: can the forgotten labels still be read from what the model computes before its last layer?"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn


@torch.no_grad()
def features_of(model: nn.Module, dataset: Any, batch_size: int = 500) -> tuple[np.ndarray, np.ndarray]:
    """
    The inputs of the last linear layer, `(N, D)`, and the labels, `(N,)`.

    Args:
        model (`nn.Module`): A classifier whose last linear layer answers with its classes.
        dataset (`Dataset`): Examples with `labels`, as the model takes them.
        batch_size (`int`, defaults to 500): Examples at once.

    Raises:
        ValueError: The model has no linear layer.
    """
    layers = [layer for layer in model.modules() if isinstance(layer, nn.Linear)]
    if not layers:
        raise ValueError(f"`model`: {type(model).__name__} has no linear layer whose inputs could be probed.")
    found: list[np.ndarray] = []
    labels: list[np.ndarray] = []
    was_training, device = model.training, next(model.parameters()).device
    handle = layers[-1].register_forward_pre_hook(lambda _, inputs: found.append(inputs[0].float().cpu().numpy()))
    try:
        model.eval()
        for batch in torch.utils.data.DataLoader(dataset, batch_size):
            labels.append(batch.pop("labels").numpy())
            model(**{name: value.to(device) for name, value in batch.items()})
    finally:
        handle.remove()
        model.train(was_training)
    return np.concatenate(found).reshape(sum(map(len, labels)), -1), np.concatenate(labels)


def probes(
    retain: tuple[np.ndarray, np.ndarray], forget: tuple[np.ndarray, np.ndarray], seed: int = 0
) -> dict[str, float]:
    """
    Accuracy on D_f, in percent and under the labels to be forgotten, of two classifiers of features that are fitted to
    D_r: the nearest class mean, `"nearest_mean"`, and logistic regression on standardised features, `"linear"`.

    An unlearned model whose last layer alone was changed has a low accuracy on D_f and a high one here; the goal is
    the value of the retrained model.

    Args:
        retain (`tuple[np.ndarray, np.ndarray]`), forget (`tuple[np.ndarray, np.ndarray]`): Features and labels of each
            set, see [`features_of`].
        seed (`int`, defaults to 0): Seed of the regression.

    Raises:
        ValueError: D_r has fewer than two classes, or a feature is not finite.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    (known, classes), (asked, truth) = retain, forget
    if len(np.unique(classes)) < 2 or not (np.isfinite(known).all() and np.isfinite(asked).all()):
        raise ValueError("`retain` must have two classes or more, and all features must be finite.")
    names = np.unique(classes)
    means = np.stack([known[classes == name].mean(axis=0) for name in names])
    nearest = names[np.square(asked[:, None] - means[None]).sum(axis=2).argmin(axis=1)]
    regression = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500, random_state=seed))
    linear = regression.fit(known, classes).predict(asked)
    return {
        "nearest_mean": 100 * float((nearest == truth).mean()),
        "linear": 100 * float((linear == truth).mean()),
    }


__all__ = ["features_of", "probes"]

"""An ordinary run: train a small model, and keep what its weights did."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from transformers import set_seed

from .loop import shuffled_batches, train_on
from .models import SMALL_MODELS
from .optimization import build_optimizer, build_schedule
from .rows import history_dataset
from .sampling import SampledWeights
from .specification import RunSpec


if TYPE_CHECKING:
    import datasets


def record_run(
    spec: RunSpec, pixel_values: torch.Tensor, labels: torch.Tensor, weights_per_parameter: int = 128
) -> datasets.Dataset:
    """
    Trains one small model and returns the histories of its weights at every epoch, `[epochs + 1]` values each.

    Args:
        spec ([`RunSpec`]): What to train.
        pixel_values (`torch.Tensor` of shape `(N, C, H, W)`), labels (`torch.Tensor` of shape `(N,)`): The data, as
            [`draw_subset`] gives it.
        weights_per_parameter (`int`, defaults to 128): Weights kept of each parameter.

    Returns:
        `datasets.Dataset`, see [`history_dataset`]; empty if a weight was not finite.
    """
    set_seed(spec.seed)
    generator = np.random.default_rng([spec.seed, 0])
    model = SMALL_MODELS[spec.architecture](pixel_values.shape[1], pixel_values.shape[-1], int(labels.max()) + 1)
    optimizer = build_optimizer(spec, model.parameters())
    schedule = build_schedule(spec, optimizer, spec.epochs * math.ceil(len(labels) / spec.batch_size))
    weights = SampledWeights(model, weights_per_parameter, seed=spec.seed)
    epochs = [weights.of(model)]
    for _ in range(spec.epochs):
        batches = shuffled_batches(generator, len(labels), spec.batch_size)
        train_on(model, optimizer, (pixel_values, labels), batches, schedule)
        epochs.append(weights.of(model))
    histories = {name: np.stack([epoch[name] for epoch in epochs], axis=1) for name in epochs[0]}
    return history_dataset(spec, model, histories)


__all__ = ["record_run"]

"""Recording of weight histories: ordinary runs, and counterfactual runs with and without a forget set."""

from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn
from transformers import set_seed

from ..trajectory.freezing import frozen_statistics
from .plan import RunSpec
from .rows import history_dataset
from .small_models import SMALL_MODELS
from .training_loop import Examples, SampledWeights, build_optimizer, build_schedule, shuffled_batches, train_on


if TYPE_CHECKING:
    import datasets

# Epochs after branching, drawn for each run. With more epochs, chance alone separates the branches further.
BRANCH_EPOCHS = (3, 15)
FORGET_SHARES = (0.05, 0.25)
FORGET_LEARNING_RATES = (1e-4, 1e-3)
FORGET_BATCH_SIZE = 256


def record_run(
    spec: RunSpec, pixel_values: torch.Tensor, labels: torch.Tensor, weights_per_parameter: int = 128
) -> datasets.Dataset:
    """
    Trains one small model and returns the histories of its weights at every epoch, `epochs + 1` values each.

    Args:
        spec ([`RunSpec`]): The run.
        pixel_values (`torch.Tensor` of shape `(N, C, H, W)`), labels (`torch.Tensor` of shape `(N,)`): The data, as
            [`draw_subset`] returns it.
        weights_per_parameter (`int`, defaults to 128): Number of weights recorded of each parameter.

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


def record_counterfactual(
    spec: RunSpec,
    pixel_values: torch.Tensor,
    labels: torch.Tensor,
    weights_per_parameter: int = 128,
    num_snapshots: int = 15,
) -> datasets.Dataset:
    """
    Trains on D_r; continues in two branches, with and without D_f, with the same order of batches; then fine-tunes the
    first branch on D_f.

    The trajectory of that fine-tuning is the input of unlearning, and the weights of the second branch are its target.
    D_f is the last 5 to 25 % of the examples, the share drawn by the seed; the fine-tuning uses AdamW at a constant
    rate between 1e-4 and 1e-3.

    Args:
        spec ([`RunSpec`]), pixel_values (`torch.Tensor`), labels (`torch.Tensor`), weights_per_parameter (`int`): As
            for [`record_run`].
        num_snapshots (`int`, defaults to 15): K, the length of each history.

    Returns:
        `datasets.Dataset`, see [`history_dataset`]: `history` is the trajectory on D_f and `counterfactual` the weight
        of the second branch. Empty if a weight was not finite.
    """
    set_seed(spec.seed)
    generator = np.random.default_rng([spec.seed, 1])
    data, examples = (pixel_values, labels), len(labels)
    retained = examples - max(1, round(generator.uniform(*FORGET_SHARES) * examples))
    branch = int(generator.integers(*BRANCH_EPOCHS, endpoint=True))
    model = SMALL_MODELS[spec.architecture](pixel_values.shape[1], pixel_values.shape[-1], int(labels.max()) + 1)
    _train(model, spec, data, _epochs(generator, retained, max(1, spec.epochs - branch), spec.batch_size))

    batches = _epochs(generator, examples, branch, spec.batch_size)
    without = copy.deepcopy(model)
    _train(model, spec, data, batches)
    _train(without, spec, data, without_forget_set(batches, retained))

    weights = SampledWeights(model, weights_per_parameter, seed=spec.seed)
    trajectory = [weights.of(model)]
    rate = float(np.exp(generator.uniform(*np.log(FORGET_LEARNING_RATES))))
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate)
    with frozen_statistics(model):
        for _ in range(num_snapshots - 1):
            order = shuffled_batches(generator, examples - retained, FORGET_BATCH_SIZE)
            train_on(model, optimizer, data, (retained + batch for batch in order))
            trajectory.append(weights.of(model))
    histories = {name: np.stack([values[name] for values in trajectory], axis=1) for name in trajectory[0]}
    return history_dataset(spec, model, histories, weights.of(without))


def without_forget_set(batches: list[np.ndarray], retained: int) -> list[np.ndarray]:
    """The same batches in the same order without the rows of D_f, which follow the first `retained` rows."""
    return [batch[batch < retained] for batch in batches]


def _epochs(generator: np.random.Generator, examples: int, epochs: int, size: int) -> list[np.ndarray]:
    return [batch for _ in range(epochs) for batch in shuffled_batches(generator, examples, size)]


def _train(model: nn.Module, spec: RunSpec, data: Examples, batches: list[np.ndarray]) -> None:
    """Trains on given batches; the seed gives both branches the same dropout and noise, as far as batches agree."""
    torch.manual_seed(spec.seed)
    optimizer = build_optimizer(spec, model.parameters())
    train_on(model, optimizer, data, batches, build_schedule(spec, optimizer, len(batches)))


__all__ = ["record_counterfactual", "record_run"]

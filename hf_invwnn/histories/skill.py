"""Skill of a predictor on held-out windows, relative to predicting no change, and the best line."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch

from ..predictor import PastWeightPredictor
from .windows import Windows


@dataclass(frozen=True)
class Skill:
    """
    A score of a predictor on windows of one kind, averaged over families.

    Args:
        predictor (`str`), kind (`str`): The predictor, and the kind of the windows.
        value (`float`): The mean over families.
        low (`float`), high (`float`): 95 % bootstrap interval over runs within families.
        families (`dict[str, float]`): The value of each family.
    """

    predictor: str
    kind: str
    value: float
    low: float
    high: float
    families: dict[str, float]


def residuals_of(predictor: PastWeightPredictor, windows: Windows) -> torch.Tensor:
    """
    Residuals `(N,)` that a predictor predicts for raw trajectories, one tensor at a time, as in a run.

    Consecutive windows of equal `tensor_scale` belong to one tensor.
    """
    changes = torch.nonzero(windows.tensor_scale.diff()).flatten() + 1
    pieces = torch.tensor_split(torch.arange(len(windows)), changes)
    return torch.cat([predictor.predict_residual(windows.trajectory[piece].T, windows.kind) for piece in pieces])


def relative_l1(residuals: Mapping[str, torch.Tensor], windows: Windows, draws: int = 1000) -> list[Skill]:
    """
    L1 error of the predicted past weight divided by the error of predicting no change; skill is below 1.

    Args:
        residuals (`dict[str, torch.Tensor]`): Name -> `(N,)`, see [`residuals_of`].
        windows ([`Windows`]): The windows.
        draws (`int`, defaults to 1000): Number of bootstrap samples.
    """
    change = windows.labels - windows.trajectory[:, 0]
    nothing = (change / windows.unit).abs().double().numpy()
    skills = []
    for name, residual in residuals.items():
        error = ((residual - change) / windows.unit).abs().double().numpy()
        skills.append(_skill(name, windows, np.stack([error, nothing]), _quotient, draws))
    return skills


def cosine(residuals: Mapping[str, torch.Tensor], windows: Windows, draws: int = 1000) -> list[Skill]:
    """
    Cosine between predicted and true displacement over all weights of a family, in units of their tensors.

    Takes what [`relative_l1`] does.
    """
    change = ((windows.labels - windows.trajectory[:, 0]) / windows.unit).double().numpy()
    skills = []
    for name, residual in residuals.items():
        predicted = (residual / windows.unit).double().numpy()
        products = np.stack([predicted * change, predicted * predicted, change * change])
        skills.append(_skill(name, windows, products, _cosine, draws))
    return skills


def _quotient(sums: np.ndarray) -> np.ndarray:
    return sums[..., 0] / sums[..., 1]


def _cosine(sums: np.ndarray) -> np.ndarray:
    return sums[..., 0] / np.sqrt(np.maximum(sums[..., 1] * sums[..., 2], 1e-300))


def _skill(
    name: str, windows: Windows, terms: np.ndarray, ratio: Callable[[np.ndarray], np.ndarray], draws: int
) -> Skill:
    """`ratio` of the sums of `terms` `(M, N)` in each family, its mean, and the bootstrap interval of the mean."""
    runs, run_of = np.unique(windows.run, return_inverse=True)
    sums = np.stack([np.bincount(run_of, weights=term, minlength=len(runs)) for term in terms], axis=1)
    family_of = np.array([windows.family[np.argmax(run_of == number)] for number in range(len(runs))])
    generator = np.random.default_rng(0)
    values, drawn = {}, []
    for family in sorted(set(family_of)):
        own = sums[family_of == family]
        values[str(family)] = float(ratio(own.sum(axis=0)))
        picks = generator.integers(len(own), size=(draws, len(own)))
        drawn.append(ratio(own[picks].sum(axis=1)))
    means = np.mean(drawn, axis=0)
    low, high = np.quantile(means, [0.025, 0.975])
    return Skill(name, windows.kind, float(np.mean(list(values.values()))), float(low), float(high), values)


def best_linear_scale(windows: Windows) -> float:
    r"""
    The `scale` of the line that minimises the L1 error, `sum |change + scale * displacement| / unit`.

    That sum is `sum |displacement / unit| * |change / displacement + scale|`, so the answer is a weighted median.
    """
    change = windows.labels - windows.trajectory[:, 0]
    displacement = windows.trajectory[:, -1] - windows.trajectory[:, 0]
    moved = displacement != 0
    if not moved.any():
        return 0.0
    ratio, order = torch.sort(-change[moved] / displacement[moved])
    weight = (displacement[moved] / windows.unit[moved]).abs()[order].double().cumsum(0)
    return float(ratio[torch.searchsorted(weight, weight[-1] / 2)])


__all__ = ["Skill", "best_linear_scale", "cosine", "relative_l1", "residuals_of"]

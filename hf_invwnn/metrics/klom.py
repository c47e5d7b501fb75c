"""KLoM: are the margins of unlearned models distributed as those of retrained ones (Georgiev et al., 2024)?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


# Margins beyond this are all the same.
LARGEST_MARGIN = 100.0


@dataclass(frozen=True)
class KLoM:
    """
    The divergence of margins.

    Args:
        mean (`float`), percentile_95 (`float`): Over the examples, in nats; 0 is the goal.
        examples (`np.ndarray` of shape `(N,)`): The divergence of each example.
    """

    mean: float
    percentile_95: float
    examples: np.ndarray


def margins(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """
    `m = z_y - log sum over c != y of exp z_c`, clipped to -100..100.

    Args:
        logits (`np.ndarray` of shape `(N, C)`), labels (`np.ndarray` of shape `(N,)`): Outputs and labels.

    Raises:
        ValueError: There are fewer than two classes, or shapes differ.
    """
    logits, labels = np.asarray(logits, dtype=np.float64), np.asarray(labels)
    if logits.ndim != 2 or logits.shape[1] < 2 or labels.shape != logits.shape[:1]:
        raise ValueError(
            f"`logits` must have the shape (N, C) with two classes or more, and `labels` (N,), got {logits.shape} and "
            f"{labels.shape}."
        )
    rows = np.arange(len(labels))
    own = logits[rows, labels]
    others = logits.copy()
    others[rows, labels] = -np.inf
    largest = others.max(axis=1)
    rest = largest + np.log(np.exp(others - largest[:, None]).sum(axis=1))
    return np.clip(own - rest, -LARGEST_MARGIN, LARGEST_MARGIN)


def klom(unlearned: np.ndarray, retrained: np.ndarray, bins: int = 20) -> KLoM:
    r"""
    For each example the divergence between histograms of its margins,

        KL( p_unlearned || p_retrained ),   p_b = (n_b + 1 / bins) / (M + 1)

    with bins of equal width over the margins of both kinds. What is added to the counts keeps it finite; with few
    models it is far from 0 also between retrained models, so compare with that value.

    Args:
        unlearned (`np.ndarray` of shape `(M, N)`): Margins of N examples under M unlearned models.
        retrained (`np.ndarray` of shape `(M', N)`): The same under M' models that were never trained on D_f.
        bins (`int`, defaults to 20): Number of bins.

    Raises:
        ValueError: There are fewer than two models of a kind, the numbers of examples differ, a margin is not finite,
            or there are fewer than two bins.
    """
    unlearned, retrained = (np.asarray(values, dtype=np.float64) for values in (unlearned, retrained))
    for name, values in (("unlearned", unlearned), ("retrained", retrained)):
        if values.ndim != 2 or len(values) < 2 or not np.isfinite(values).all():
            raise ValueError(f"`{name}` must be finite margins of the shape (M, N), M at least 2, got {values.shape}.")
    if unlearned.shape[1] != retrained.shape[1]:
        raise ValueError(
            f"`retrained` must have as many examples as `unlearned`, got {retrained.shape} and {unlearned.shape}."
        )
    if bins < 2:
        raise ValueError(f"`bins` must be at least 2, got {bins}.")
    found = np.array([_divergence(*pair, bins) for pair in zip(unlearned.T, retrained.T, strict=True)])
    return KLoM(float(found.mean()), float(np.percentile(found, 95)), found)


def _divergence(unlearned: np.ndarray, retrained: np.ndarray, bins: int) -> float:
    low, high = min(unlearned.min(), retrained.min()), max(unlearned.max(), retrained.max())
    if low == high:
        return 0.0
    p, q = (
        (np.histogram(values, bins, (low, high))[0] + 1 / bins) / (len(values) + 1)
        for values in (unlearned, retrained)
    )
    return float((p * np.log(p / q)).sum())


__all__ = ["KLoM", "klom", "margins"]

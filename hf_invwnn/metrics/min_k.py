"""Min-K% Prob and Min-K%++: membership scores from the least likely tokens of a text."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from typing import Any

import numpy as np

from .token_log_probs import checked_log_probs, labelled_log_probs


# Variances of log-probabilities below this count as this, as in OpenUnlearning.
SMALLEST_VARIANCE = 1e-6


def min_k(log_probs: Sequence[Any], k: float = 0.2) -> np.ndarray:
    r"""
    Mean of the lowest log-probabilities of each text.

        (1 / |E|) sum over t in E of log p(x_t | x_<t),   E the floor(k T) least likely of T tokens, at least one

    A text that was trained on has few very unlikely tokens, so its score is higher. Min-K% Prob of Shi et al. (2023,
    arXiv 2310.16789), without a change of sign. How well it separates D_f from unseen texts tells
    [`~hf_invwnn.metrics.loss_auc`], if it gets `-min_k(...)` as the losses.

    Args:
        log_probs (`Sequence[np.ndarray]`): For each text the log-probabilities of its tokens, of shape `(T,)` in
            nats; from [`~hf_invwnn.metrics.answer_log_probs`].
        k (`float`, defaults to 0.2): Share of the tokens, in (0, 1]. With 1 it is the negative loss.

    Returns:
        `np.ndarray` of shape `(N,)`: In nats, at most 0.

    Raises:
        ValueError: There is no text, a text has no token, a log-probability is not finite or above 0, or `k` is out of
            range.
    """
    _check_share(k)
    return np.array([_lowest_mean(row, k) for row in checked_log_probs(log_probs)])


def min_k_plus_plus(logits: Any, labels: Any, k: float = 0.2) -> np.ndarray:
    r"""
    Min-K% of log-probabilities that are standardised over the vocabulary.

        z_t = (log p(x_t | x_<t) - mu_t) / sigma_t

    with the mean and the standard deviation of `log p(v | x_<t)` for v distributed as `p( . | x_<t)`. The score is the
    mean of the floor(k T) lowest z of T tokens, at least one. Min-K%++ of Zhang et al. (2024, arXiv 2404.02936). A
    variance below 1e-6 counts as 1e-6.

    Args:
        logits (`np.ndarray` or `torch.Tensor` of shape `(N, L, V)`): Unnormalised scores of the next token.
        labels (`np.ndarray` or `torch.Tensor` of shape `(N, L)`): Token ids, -100 where nothing is predicted.
        k (`float`, defaults to 0.2): Share of the tokens, in (0, 1].

    Returns:
        `np.ndarray` of shape `(N,)`: Without a unit; higher for texts that were trained on.

    Raises:
        ValueError: Shapes differ, an example has no label, a label is not in 0..V-1 or has no finite log-probability,
            or `k` is out of range.
    """
    _check_share(k)
    found = []
    for scores, row in labelled_log_probs(logits, labels):
        own = scores[np.arange(len(row)), row]
        p = np.exp(scores)
        scores = np.where(p > 0, scores, 0)  # 0 log 0 = 0
        mu = (p * scores).sum(axis=1)
        variance = (p * (scores - mu[:, None]) ** 2).sum(axis=1)
        found.append(_lowest_mean((own - mu) / np.sqrt(np.maximum(variance, SMALLEST_VARIANCE)), k))
    return np.array(found)


def _check_share(k: float) -> None:
    if isinstance(k, bool) or not isinstance(k, Real) or not 0 < k <= 1:
        raise ValueError(f"`k` must be a share in (0, 1], got {k!r}; 0.2 is usual.")


def _lowest_mean(values: np.ndarray, k: float) -> float:
    # What is added keeps 0.29 * 100 at 29.
    return float(np.sort(values)[: max(1, int(k * len(values) + 1e-9))].mean())


__all__ = ["min_k", "min_k_plus_plus"]

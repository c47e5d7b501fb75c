"""U-LiRA (Hayes et al., 2024): can an attacker with shadow models tell forgotten from unseen examples?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


_RESAMPLES = 200


@dataclass(frozen=True)
class ULiRA:
    """
    The success of the attack.

    Args:
        auc (`float`): AUC of the scores: probability that a forgotten example has a higher score than an unseen one;
            the goal is 0.5.
        accuracy (`float`): Accuracy of the attack with equal priors; the goal is 0.5.
        tpr_at_fpr (`float`): True positive rate (forgotten examples) at the given false positive rate (unseen ones).
        examples (`np.ndarray` of shape `(N,)`): Accuracy on each example.
        auc_low (`float`), auc_high (`float`): 95 % interval of the AUC, by a bootstrap over the models of both kinds.
    """

    auc: float
    accuracy: float
    tpr_at_fpr: float
    examples: np.ndarray
    auc_low: float
    auc_high: float


def ulira(unlearned: np.ndarray, unseen: np.ndarray, false_positive_rate: float = 0.01) -> ULiRA:
    r"""
    The likelihood-ratio attack with two Gaussians for each example. Each model is scored by Gaussians of the others.

        score(x) = log N(phi; mu_u, sigma_u) - log N(phi; mu_n, sigma_n),   phi = log(p / (1 - p))

    Args:
        unlearned (`np.ndarray` of shape `(M, N)`): Probability of the label of each example under M models that were
            trained on it and then forgot it.
        unseen (`np.ndarray` of shape `(M', N)`): The same under M' models that were never trained on it.
        false_positive_rate (`float`, defaults to 0.01): False positive rate of `tpr_at_fpr`.

    Raises:
        ValueError: There are fewer than three models of a kind, the numbers of examples differ, or a value is not a
            probability.
    """
    unlearned, unseen = np.asarray(unlearned, dtype=float), np.asarray(unseen, dtype=float)
    for name, values in (("unlearned", unlearned), ("unseen", unseen)):
        if values.ndim != 2 or len(values) < 3:
            raise ValueError(f"`{name}` must have the shape (M, N) with at least 3 models, got {values.shape}.")
        if not ((values >= 0) & (values <= 1)).all():
            raise ValueError(f"`{name}` must hold probabilities in 0..1.")
    if unlearned.shape[1] != unseen.shape[1]:
        raise ValueError(
            f"`unseen` must have as many examples as `unlearned`, got {unseen.shape} and {unlearned.shape}."
        )
    first, second = _logit(unlearned), _logit(unseen)
    positive = _log_likelihood(first, first, own=True) - _log_likelihood(first, second, own=False)
    negative = _log_likelihood(second, first, own=False) - _log_likelihood(second, second, own=True)
    threshold = np.quantile(negative, 1 - false_positive_rate)
    by_example = ((positive > 0).mean(axis=0) + (negative <= 0).mean(axis=0)) / 2
    low, high = _interval(positive, negative)
    return ULiRA(
        auc_low=low,
        auc_high=high,
        auc=_auc(positive.ravel(), negative.ravel()),
        accuracy=float(by_example.mean()),
        tpr_at_fpr=float((positive > threshold).mean()),
        examples=by_example,
    )


def _interval(positive: np.ndarray, negative: np.ndarray) -> tuple[float, float]:
    """Percentiles of the AUC over draws of the scored models; what scores them stays as it is."""
    generator = np.random.default_rng(0)
    found = []
    for _ in range(_RESAMPLES):
        drawn = (values[generator.integers(len(values), size=len(values))] for values in (positive, negative))
        found.append(_auc(*(values.ravel() for values in drawn)))
    low, high = np.percentile(found, [2.5, 97.5])
    return float(low), float(high)


def _logit(probability: np.ndarray) -> np.ndarray:
    clipped = np.clip(probability.astype(np.float64), 1e-7, 1 - 1e-7)
    return np.log(clipped) - np.log1p(-clipped)


def _log_likelihood(values: np.ndarray, models: np.ndarray, own: bool) -> np.ndarray:
    """Log-likelihood of values `(V, N)` under the Gaussian of each example; `own` excludes the model of the value."""
    count = np.full((len(values), 1), len(models) - own, dtype=np.float64)
    total = models.sum(axis=0) - own * values
    squares = np.square(models).sum(axis=0) - own * np.square(values)
    mean = total / count
    # The floor keeps the likelihood finite if a few models agree by chance.
    variance = np.maximum(squares / count - mean**2, 0) * count / (count - 1) + 1e-2
    return -0.5 * (np.square(values - mean) / variance + np.log(variance))


def _auc(positive: np.ndarray, negative: np.ndarray) -> float:
    from sklearn.metrics import roc_auc_score

    truth = np.repeat([1, 0], [len(positive), len(negative)])
    return float(roc_auc_score(truth, np.concatenate([positive, negative])))


__all__ = ["ULiRA", "ulira"]

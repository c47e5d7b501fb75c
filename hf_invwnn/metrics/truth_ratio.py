"""TOFU's truth ratio: does a model still find the true answer more likely than wrong ones (Maini et al., 2024)?"""

from __future__ import annotations

from typing import Any

import numpy as np

from .arrays import finite_array
from .token_log_probs import as_numpy


# Ratios lie within exp(-LARGEST_LOG_RATIO)..exp(LARGEST_LOG_RATIO), so that 1 / R is finite too.
LARGEST_LOG_RATIO = 700.0


def truth_ratio(paraphrased_losses: Any, perturbed_losses: Any, mean: str = "arithmetic") -> np.ndarray:
    r"""
    Probability of wrong answers relative to that of a correct one, for each question.

        R = (1 / K) sum over k of p(wrong_k | q)^(1 / |wrong_k|)  /  p(paraphrase | q)^(1 / |paraphrase|)

    The paraphrase is a correct answer in other words than those trained on; the wrong answers have its form. R is
    about 1 for a model that cannot tell them apart and near 0 for one that knows the answer. This is the equation of
    section 2.2 of TOFU (arXiv 2401.06121). Its `aggregate_eval_stat.py` and OpenUnlearning average the losses of the
    wrong answers instead, so the numerator is a geometric mean: `mean="geometric"` is comparable with their numbers.

    Args:
        paraphrased_losses (array of shape `(N,)`): Loss of the correct answer to each question, in nats per token, as
            [`~hf_invwnn.metrics.answer_loss`] returns; `exp(-loss)` is the probability above, which would be 0 for a
            model that diverged.
        perturbed_losses (array of shape `(N, K)`): Losses of the K wrong answers to each question.
        mean (`str`, defaults to `"arithmetic"`): Over the wrong answers, `"arithmetic"` or `"geometric"`.

    Returns:
        `np.ndarray` of shape `(N,)`: Above 0, without a unit; clipped to `exp(-700)..exp(700)`.

    Raises:
        ValueError: A loss is not finite or below 0, shapes differ, there is no question or no wrong answer, or `mean`
            has another value.
    """
    if mean not in ("arithmetic", "geometric"):
        raise ValueError(f"`mean` must be 'arithmetic' or 'geometric', got {mean!r}.")
    correct = finite_array(as_numpy(paraphrased_losses), "paraphrased_losses")
    wrong = as_numpy(perturbed_losses)
    if len(correct) == 0:
        raise ValueError("`paraphrased_losses` is empty: there is nothing to measure.")
    if wrong.ndim != 2 or len(wrong) != len(correct) or wrong.shape[1] == 0:
        raise ValueError(
            f"`perturbed_losses` must have the shape (N, K), one wrong answer or more for each of the {len(correct)} "
            f"`paraphrased_losses`, got {wrong.shape}."
        )
    wrong = finite_array(wrong.ravel(), "perturbed_losses").reshape(len(correct), -1)
    for name, losses in (("paraphrased_losses", correct), ("perturbed_losses", wrong)):
        if losses.min() < 0:
            raise ValueError(f"`{name}` must be at least 0, got {losses.min()}; pass losses, not log-probabilities.")
    log_ratios = correct[:, None] - wrong
    if mean == "geometric":
        log_ratio = log_ratios.mean(axis=1)
    else:
        log_ratio = np.logaddexp.reduce(log_ratios, axis=1) - np.log(wrong.shape[1])
    return np.exp(np.clip(log_ratio, -LARGEST_LOG_RATIO, LARGEST_LOG_RATIO))


def forget_truth_ratio(ratios: Any) -> float:
    r"""
    TOFU's score of a forget set, the mean of `min(R, 1 / R)`.

    Args:
        ratios (array of shape `(N,)`): From [`truth_ratio`].

    Returns:
        `float`: In 0..1. 1 means that correct and wrong answers are equally likely.

    Raises:
        ValueError: There is no ratio, or one is not finite or not above 0.
    """
    values = _checked_ratios(ratios)
    return float(np.minimum(values, 1 / values).mean())


def retain_truth_ratio(ratios: Any) -> float:
    r"""
    TOFU's score of what should be kept, the mean of `max(0, 1 - R)`.

    Args:
        ratios (array of shape `(N,)`): From [`truth_ratio`].

    Returns:
        `float`: In 0..1. The goal is high: correct answers are more likely than wrong ones.

    Raises:
        ValueError: There is no ratio, or one is not finite or not above 0.
    """
    return float(np.maximum(0, 1 - _checked_ratios(ratios)).mean())


def _checked_ratios(ratios: Any) -> np.ndarray:
    values = finite_array(as_numpy(ratios), "ratios")
    if len(values) == 0:
        raise ValueError("`ratios` is empty: there is nothing to measure.")
    if values.min() <= 0:
        raise ValueError(f"`ratios` must be above 0, got {values.min()}; pass the result of `truth_ratio`.")
    return values


__all__ = ["forget_truth_ratio", "retain_truth_ratio", "truth_ratio"]

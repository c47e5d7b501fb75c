"""Min-K% and Min-K%++ against loops over tokens, and numbers computed by hand."""

from __future__ import annotations

import math
import re
from collections.abc import Callable

import numpy as np
import pytest
import torch

from hf_invwnn.metrics import answer_log_probs, answer_loss, min_k, min_k_plus_plus


RNG = np.random.default_rng(10)
LOGITS = RNG.normal(0, 2, (4, 12, 9))
LABELS = np.where(RNG.random((4, 12)) < 0.3, -100, RNG.integers(0, 9, (4, 12)))


def test_numbers_computed_by_hand() -> None:
    row = [-1.0, -5.0, -2.0, -3.0, -4.0]
    assert min_k([row], k=0.2).tolist() == [-5.0]
    assert min_k([row, torch.tensor(row[:2])], k=0.4).tolist() == [-4.5, -5.0]
    assert min_k([row], k=0.01).tolist() == [-5.0]
    assert min_k([row], k=1).tolist() == [-3.0]
    # 29 of 100 tokens, although 0.29 * 100 is 28.999...
    assert min_k([-np.arange(100.0)], k=0.29).tolist() == [-np.arange(71, 100).mean()]


def test_all_tokens_give_the_loss() -> None:
    log_probs = answer_log_probs(LOGITS, LABELS)
    np.testing.assert_allclose(min_k(log_probs, k=1.0), -answer_loss(log_probs))


@pytest.mark.parametrize("k", [0.2, 0.5, 1.0])
def test_plus_plus_is_that_of_loops(k: float) -> None:
    expected = []
    for scores, row in zip(LOGITS.tolist(), LABELS.tolist(), strict=True):
        standardised = []
        for t in range(1, len(row)):
            if row[t] != -100:
                total = sum(math.exp(score) for score in scores[t - 1])
                p = [math.exp(score) / total for score in scores[t - 1]]
                mu = sum(q * math.log(q) for q in p)
                sigma = math.sqrt(sum(q * math.log(q) ** 2 for q in p) - mu**2)
                standardised.append((math.log(p[row[t]]) - mu) / sigma)
        number = max(1, math.floor(k * len(standardised)))
        expected.append(sum(sorted(standardised)[:number]) / number)
    np.testing.assert_allclose(min_k_plus_plus(LOGITS, LABELS, k=k), expected, rtol=1e-9)
    np.testing.assert_allclose(min_k_plus_plus(torch.tensor(LOGITS), torch.tensor(LABELS), k=k), expected, rtol=1e-9)


def test_plus_plus_of_uniform_and_masked_distributions_is_finite() -> None:
    uniform, masked = [0.0, 0.0, 0.0], [0.0, 1.0, -np.inf]
    assert min_k_plus_plus([[uniform, uniform]], [[-100, 1]]) == pytest.approx([0.0])
    assert min_k_plus_plus([[masked, uniform]], [[-100, 1]]) == pytest.approx(
        min_k_plus_plus([[[0.0, 1.0], [0.0, 0.0]]], [[-100, 1]])
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: min_k([[-1.0]], k=0), "`k` must be a share in (0, 1], got 0; 0.2 is usual."),
        (lambda: min_k([[-1.0]], k=20), "`k` must be a share in (0, 1], got 20"),
        (lambda: min_k_plus_plus(LOGITS, LABELS, k=-0.1), "`k` must be a share in (0, 1], got -0.1"),
        (lambda: min_k([[-1.0], []]), "for example 1; leave out empty answers."),
        (lambda: min_k([]), "`log_probs` is empty"),
        (lambda: min_k([[np.nan]]), "`log_probs` must be finite and at most 0, got nan in example 0"),
        (lambda: min_k_plus_plus(LOGITS, LABELS[:, :5]), "`logits` must have the shape (N, L, V)"),
    ],
)
def test_bad_input_is_refused(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        call()

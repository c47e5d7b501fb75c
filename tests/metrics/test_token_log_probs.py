"""Log-probabilities of answers against a loop over tokens, `transformers`' loss and numbers computed by hand."""

from __future__ import annotations

import math
import re
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from hf_invwnn.metrics import answer_log_probs, answer_loss, answer_probability, perplexity


RNG = np.random.default_rng(5)
LOGITS = RNG.normal(0, 4, (3, 6, 7))
LABELS = np.array([[-100, -100, 3, 1, 0, -100], [2, 6, 5, 4, 3, 2], [-100, -100, -100, -100, -100, 5]])


def by_loops(logits: np.ndarray, labels: np.ndarray) -> list[list[float]]:
    found = []
    for scores, row in zip(logits.tolist(), labels.tolist(), strict=True):
        found.append([])
        for t in range(1, len(row)):
            if row[t] != -100:
                total = sum(math.exp(score) for score in scores[t - 1])
                found[-1].append(math.log(math.exp(scores[t - 1][row[t]]) / total))
    return found


def test_the_next_token_is_predicted_and_ignored_labels_are_left_out() -> None:
    found, expected = answer_log_probs(LOGITS, LABELS), by_loops(LOGITS, LABELS)
    assert [len(row) for row in found] == [3, 5, 1]
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-10)


@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [(torch.float64, 1e-12), (torch.float32, 1e-5), (torch.bfloat16, 0.1), (torch.float16, 0.01)],
)
def test_tensors_are_taken_as_a_model_returns_them(dtype: torch.dtype, tolerance: float) -> None:
    logits = torch.tensor(LOGITS, dtype=dtype, requires_grad=True)
    for ours, theirs in zip(
        answer_log_probs(logits, torch.tensor(LABELS)), answer_log_probs(LOGITS, LABELS), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, atol=tolerance)


def test_the_loss_is_that_of_a_trainer() -> None:
    losses = answer_loss(answer_log_probs(LOGITS, LABELS))
    for logits, labels, loss in zip(torch.tensor(LOGITS), torch.tensor(LABELS), losses, strict=True):
        assert loss == pytest.approx(cross_entropy(logits[:-1], labels[1:]).item())


def test_numbers_computed_by_hand() -> None:
    log_probs = [np.log([0.5, 0.125]), np.log([0.25, 0.25, 0.25])]
    np.testing.assert_allclose(answer_loss(log_probs), [math.log(4), math.log(4)])
    np.testing.assert_allclose(answer_probability(log_probs), [0.25, 0.25])
    # Five tokens with the losses 2, 4, 4, 4 bits and 0: 14 / 5 bits, and not the mean of 2 ** 2 and 2 ** (10 / 3).
    assert perplexity([np.log([0.25]), torch.tensor([1 / 16, 1 / 16, 1 / 16, 1.0]).log()]) == pytest.approx(
        2 ** (14 / 5)
    )


def test_huge_and_masked_logits_are_no_problem() -> None:
    logits = np.array([[[1e5, 0.0, -np.inf], [0.0, 0.0, 0.0]]])
    assert answer_log_probs(logits, [[-100, 1]])[0].tolist() == [-1e5]
    assert answer_log_probs(logits, [[-100, 0]])[0].tolist() == [0.0]
    assert perplexity([[-1e5]]) == math.inf
    assert answer_probability([[-1e5]]).tolist() == [0.0]
    # Rounding above 0 is none.
    assert answer_loss([[1e-6, 0.0]]).tolist() == [0.0]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: answer_log_probs(LOGITS[0], LABELS), "`logits` must have the shape (N, L, V)"),
        (lambda: answer_log_probs(LOGITS[:, :5], LABELS), "got (3, 5, 7) and (3, 6)."),
        (lambda: answer_log_probs(LOGITS, LABELS[0]), "`labels` must be token ids of shape (N, L)"),
        (lambda: answer_log_probs(LOGITS, LABELS.astype(float)), "got shape (3, 6) and dtype float64."),
        (lambda: answer_log_probs(LOGITS[:, :, :6], LABELS), "`labels` must lie in 0..5 for logits of 6 tokens"),
        (lambda: answer_log_probs(LOGITS, LABELS - 3), "or be -100 where nothing is predicted, got -103."),
        (lambda: answer_log_probs(LOGITS[:1], [[4, -100, -100, -100, -100, -100]]), "leave out empty answers"),
        (lambda: answer_log_probs(np.full((3, 6, 7), np.nan), LABELS), "those of example 0 do not; did the model"),
        (lambda: answer_log_probs([[[0.0, -np.inf], [0.0, 0.0]]], [[-100, 1]]), "a finite log-probability"),
        (lambda: answer_loss([]), "`log_probs` is empty"),
        (
            lambda: answer_loss([[-1.0], []]),
            "got shape (0,) and dtype float64 for example 1; leave out empty answers.",
        ),
        (lambda: answer_loss([-1.0, -2.0]), "must hold an array of shape (T,) with a token or more"),
        (lambda: answer_probability([[-1.0, 0.5]]), "must be finite and at most 0, got 0.5 in example 0"),
        (lambda: perplexity([[-1.0], [-np.inf]]), "must be finite and at most 0, got -inf in example 1"),
    ],
)
def test_bad_input_is_refused(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        call()

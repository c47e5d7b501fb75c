"""Extraction against loops, a model that is decoded greedily, and numbers computed by hand."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest
import torch

from hf_invwnn.metrics import common_prefix, exact_match, extracted_share, extraction_strength


@pytest.mark.parametrize(
    ("generated", "reference", "length", "share", "exact"),
    [
        ([1, 2, 3], [1, 2, 3], 3, 1, True),
        ([1, 2, 3, 9, 9], [1, 2, 3], 3, 1, True),
        ([1, 2], [1, 2, 3], 2, 2 / 3, False),
        ([1, 5, 3, 4], [1, 2, 3, 4], 1, 1 / 4, False),
        ([5, 2, 3], [1, 2, 3], 0, 0, False),
        ([], [1], 0, 0, False),
        (torch.tensor([1, 2]), np.array([1, 3]), 1, 1 / 2, False),
    ],
)
def test_prefixes(generated: object, reference: object, length: int, share: float, exact: bool) -> None:
    assert common_prefix(generated, reference) == length
    assert extracted_share(generated, reference) == pytest.approx(share)
    assert exact_match(generated, reference) is exact


@pytest.mark.parametrize(
    ("predictions", "labels", "strength"),
    [
        # The label at position t is predicted at position t - 1.
        ([7, 1, 2, 3, 7], [-100, -100, 1, 2, 3], 1),
        ([7, 9, 2, 3, 7], [-100, -100, 1, 2, 3], 2 / 3),
        ([7, 1, 9, 3, 7], [-100, -100, 1, 2, 3], 1 / 3),
        ([7, 1, 2, 9, 7], [-100, -100, 1, 2, 3], 0),
        ([7, 1, 2, 9, 7], [-100, -100, 1, 2, -100], 1),
        ([1, 9, 3, 4, 7], [8, 1, -100, 3, 4], 1),
        ([1, 2, 3, 4, 7], [8, 1, 2, 3, 4], 1),
    ],
)
def test_strengths_computed_by_hand(predictions: list[int], labels: list[int], strength: float) -> None:
    assert extraction_strength([predictions], [labels]) == pytest.approx([strength])
    assert extraction_strength(torch.tensor([predictions]), torch.tensor([labels])) == pytest.approx([strength])


def test_strength_is_that_of_greedy_decoding_from_every_prefix() -> None:
    draw = np.random.default_rng(9)
    rows = draw.integers(0, 2, (40, 8))

    def next_token(tokens: list[int]) -> int:
        """A model whose prediction depends on all tokens before it."""
        return (sum(tokens) + len(tokens) // 3) % 2

    def decoded(row: list[int]) -> float:
        prompt, answer = row[:2], row[2:]
        for k in range(len(answer) + 1):
            tokens = prompt + answer[:k]
            while len(tokens) < len(row):
                tokens.append(next_token(tokens))
            if tokens == row:
                return 1 - k / len(answer)
        raise AssertionError

    predictions = [[next_token(row[: t + 1]) for t in range(8)] for row in rows.tolist()]
    labels = np.where(np.arange(8) < 2, -100, rows)
    found = extraction_strength(predictions, labels)
    np.testing.assert_allclose(found, [decoded(row) for row in rows.tolist()])
    assert 0 in found and len(set(found)) > 3


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: common_prefix([1], []), "`reference` must have a token or more, got none; leave out empty answers."),
        (lambda: extracted_share([1], []), "`reference` must have a token or more"),
        (lambda: exact_match([1.5], [1]), "`generated` must be a flat list of integers"),
        (lambda: exact_match([1], [[1]]), "`reference` must be a flat list of integers, got shape (1, 1)"),
        (
            lambda: extraction_strength([[1, 2]], [[1, 2, 3]]),
            "`predictions` must be token ids of the shape of `labels`",
        ),
        (lambda: extraction_strength([[1.0, 2.0]], [[1, 2]]), "dtype float64; pass `logits.argmax(-1)`."),
        (lambda: extraction_strength([[1, 2]], [[1, -100]]), "`labels` must have a token to predict in every example"),
        (lambda: extraction_strength([1, 2], [1, 2]), "`labels` must be token ids of shape (N, L)"),
    ],
)
def test_bad_input_is_refused(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        call()

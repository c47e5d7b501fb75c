"""The truth ratio against loops over probabilities and numbers computed by hand."""

from __future__ import annotations

import math
import re
from collections.abc import Callable

import numpy as np
import pytest
import torch

from hf_invwnn.metrics import forget_truth_ratio, retain_truth_ratio, truth_ratio


RNG = np.random.default_rng(6)
CORRECT, WRONG = RNG.uniform(0, 4, 8), RNG.uniform(0, 4, (8, 5))


def test_the_ratio_is_that_of_mean_probabilities() -> None:
    arithmetic, geometric = truth_ratio(CORRECT, WRONG), truth_ratio(torch.tensor(CORRECT), WRONG, mean="geometric")
    for i, (correct, wrong) in enumerate(zip(CORRECT.tolist(), WRONG.tolist(), strict=True)):
        probabilities = [math.exp(-loss) for loss in wrong]
        assert arithmetic[i] == pytest.approx(sum(probabilities) / 5 / math.exp(-correct))
        assert geometric[i] == pytest.approx(math.prod(probabilities) ** (1 / 5) / math.exp(-correct))


def test_numbers_computed_by_hand() -> None:
    # Correct 1/2 and wrong 1/4, 1/8; correct 1/8 and wrong 1/2, 1/2.
    ratios = truth_ratio(np.log([2, 8]), np.log([[4, 8], [2, 2]]))
    np.testing.assert_allclose(ratios, [3 / 8, 4])
    assert forget_truth_ratio(ratios) == pytest.approx((3 / 8 + 1 / 4) / 2)
    assert retain_truth_ratio(ratios) == pytest.approx((5 / 8 + 0) / 2)
    np.testing.assert_allclose(truth_ratio(np.log([2]), np.log([[4, 16]]), mean="geometric"), [1 / 4])


def test_a_model_that_diverged_has_a_ratio() -> None:
    ratios = truth_ratio([2000.0, 0.0, 3000.0], [[1000.0], [2000.0], [3000.0]])
    assert ratios.tolist() == [np.exp(700.0), np.exp(-700.0), 1.0]
    assert forget_truth_ratio(ratios) == pytest.approx(1 / 3)
    assert retain_truth_ratio(ratios) == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: truth_ratio([], np.zeros((0, 2))), "`paraphrased_losses` is empty"),
        (lambda: truth_ratio([1.0, np.nan], [[1.0], [1.0]]), "`paraphrased_losses` must be finite, got nan"),
        (lambda: truth_ratio([1.0], [[np.inf]]), "`perturbed_losses` must be finite, got inf"),
        (lambda: truth_ratio([1.0], [1.0]), "`perturbed_losses` must have the shape (N, K)"),
        (lambda: truth_ratio([1.0], [[1.0], [2.0]]), "for each of the 1 `paraphrased_losses`, got (2, 1)."),
        (lambda: truth_ratio([1.0], np.zeros((1, 0))), "one wrong answer or more"),
        (lambda: truth_ratio([-1.0], [[1.0]]), "`paraphrased_losses` must be at least 0, got -1.0; pass losses"),
        (lambda: truth_ratio([1.0], [[1.0, -2.0]]), "`perturbed_losses` must be at least 0, got -2.0"),
        (lambda: truth_ratio([1.0], [[1.0]], mean="harmonic"), "'arithmetic' or 'geometric', got 'harmonic'."),
        (lambda: forget_truth_ratio([]), "`ratios` is empty"),
        (lambda: forget_truth_ratio([0.0]), "`ratios` must be above 0, got 0.0"),
        (lambda: retain_truth_ratio([1.0, np.inf]), "`ratios` must be finite, got inf at position 1"),
    ],
)
def test_bad_input_is_refused(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        call()

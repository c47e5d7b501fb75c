"""Margins and their divergence, against computations with other functions."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from scipy.stats import entropy

from hf_invwnn.metrics import klom, margins


RNG = np.random.default_rng(3)


def test_margins_are_those_of_an_independent_computation() -> None:
    logits, labels = RNG.normal(0, 5, (20, 4)), RNG.integers(0, 4, 20)
    probability = torch.tensor(logits).softmax(dim=1).numpy()[np.arange(20), labels]
    np.testing.assert_allclose(margins(logits, labels), np.log(probability / (1 - probability)), rtol=1e-6)
    certain = np.array([[1e4, 0.0], [0.0, 1e4]])
    assert margins(certain, np.array([0, 0])).tolist() == [100.0, -100.0]


def test_the_divergence_is_that_of_smoothed_histograms() -> None:
    ours, theirs = RNG.normal(1, 2, (30, 3)), RNG.normal(0, 1, (40, 3))
    found = klom(ours, theirs, bins=8)
    for example in range(3):
        edges = np.linspace(*np.percentile(np.concatenate([ours[:, example], theirs[:, example]]), [0, 100]), 9)
        counts = [np.histogram(values[:, example], edges)[0] + 1 / 8 for values in (ours, theirs)]
        assert found.examples[example] == pytest.approx(entropy(*counts))
    assert found.mean == pytest.approx(found.examples.mean())
    assert found.percentile_95 == pytest.approx(np.percentile(found.examples, 95))


def test_the_same_models_have_no_divergence_and_others_have() -> None:
    values = RNG.normal(0, 1, (50, 5))
    assert klom(values, values).mean == 0
    near, far = (klom(values + shift, RNG.normal(0, 1, (50, 5))).mean for shift in (0.0, 4.0))
    assert near < 0.5 * far
    assert klom(np.ones((3, 2)), np.ones((4, 2))).mean == 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: klom(np.zeros((1, 3)), np.zeros((4, 3))), "`unlearned` must be finite margins of the shape (M, N)"),
        (lambda: klom(np.zeros((3, 3)), np.full((4, 3), np.nan)), "`retrained` must be finite margins"),
        (lambda: klom(np.zeros((3, 3)), np.zeros((4, 2))), "`retrained` must have as many examples"),
        (lambda: klom(np.zeros((3, 3)), np.zeros((4, 3)), bins=1), "`bins` must be at least 2, got 1."),
        (lambda: margins(np.zeros((3, 1)), np.zeros(3)), "`logits` must have the shape (N, C) with two classes"),
    ],
)
def test_bad_input_is_refused(call: object, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        call()  # type: ignore[operator]

"""Prediction, confidence and loss of each example, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from hf_invwnn.metrics import per_example


NAN, INF = float("nan"), float("inf")


def test_per_example_by_hand_and_without_overflow():
    values = per_example(np.log([[0.7, 0.2, 0.1], [0.25, 0.25, 0.5]]), [0, 1])
    assert values.predictions.tolist() == [0, 2]
    np.testing.assert_allclose(values.confidences, [0.7, 0.25])
    np.testing.assert_allclose(values.losses, -np.log([0.7, 0.25]))
    extreme = per_example(np.array([[1e4, -1e4], [0.0, 50.0]], dtype=np.float32), [1, 1])
    assert extreme.losses[0] == 2e4 and extreme.confidences[0] == 0
    # A tiny loss keeps its digits, because the AUC ranks losses.
    assert extreme.losses[1] == pytest.approx(np.exp(-50.0), rel=1e-3)
    assert all(array.dtype == np.float64 for array in extreme[1:])


@pytest.mark.parametrize(
    ("logits", "labels", "match"),
    [
        (np.zeros(3), [0, 0, 0], r"`logits` must be numbers of shape \(N, C\).*got shape \(3,\)"),
        (np.zeros((0, 3)), [], r"`logits` must be .* at least one example"),
        (np.zeros((2, 3)), [0], "`labels` must hold one label for each of the 2 logits, got 1"),
        (np.zeros((2, 3)), [0, 3], "`labels` must lie in 0..2"),
        (np.zeros((2, 3)), [0, -100], "`labels` must lie in 0..2"),
        (np.zeros((2, 3)), [0.0, 1.0], "`labels` must be a flat list of integers"),
        ([[0, 1], [NAN, 0]], [0, 0], "`logits` must be finite, but row 1 is not"),
        ([[INF, 1]], [0], "`logits` must be finite, but row 0"),
    ],
)
def test_bad_arguments_are_refused(logits, labels, match):
    with pytest.raises(ValueError, match=match):
        per_example(logits, labels)

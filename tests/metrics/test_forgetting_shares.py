"""Shares of the forget set that are forgotten less, more or as much as by retraining."""

from __future__ import annotations

import numpy as np
import pytest

from hf_invwnn.metrics import forgetting_shares


def test_each_example_is_compared_by_its_confidence() -> None:
    shares = forgetting_shares(np.array([0.9, 0.5, 0.1, 0.55]), np.array([0.2, 0.5, 0.6, 0.5]), margin=0.1)
    assert shares.verdicts.tolist() == ["under", "matched", "over", "matched"]
    assert (shares.under, shares.over, shares.matched) == (25, 25, 50)


@pytest.mark.parametrize(
    ("unlearned", "retrained", "margin", "match"),
    [
        (np.zeros(3), np.zeros(4), 0.1, "must have the same shape"),
        (np.zeros(0), np.zeros(0), 0.1, "must have the same shape"),
        (np.zeros(3), np.zeros(3), 1.0, "`margin` must lie in"),
    ],
)
def test_arrays_that_cannot_be_compared_are_refused(
    unlearned: np.ndarray, retrained: np.ndarray, margin: float, match: str
) -> None:
    with pytest.raises(ValueError, match=match):
        forgetting_shares(unlearned, retrained, margin)

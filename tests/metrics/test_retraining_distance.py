"""The distance to a retrained model, by hand."""

from __future__ import annotations

import pytest

from hf_invwnn.metrics import retraining_distance


NAN = float("nan")


def test_distance_by_hand_and_in_any_order():
    # Table 1 of the paper: Retrain and InvWNN.
    retrained, unlearned = [8.11, 99.92, 91.45, 29.07], [8.31, 92.24, 85.04, 31.94]
    expected = {
        "average_gap": pytest.approx((0.20 + 7.68 + 6.41 + 2.87) / 4),
        "tug_of_war": pytest.approx(0.998 * 0.9232 * 0.9359),
    }
    assert retraining_distance(unlearned, retrained) == expected
    order = [3, 1, 0, 2]
    names = [["UA", "RA", "TA", "MIA"][i] for i in order]
    assert retraining_distance([unlearned[i] for i in order], [retrained[i] for i in order], names) == expected
    assert retraining_distance(retrained, retrained) == {"average_gap": 0.0, "tug_of_war": 1.0}


@pytest.mark.parametrize(
    ("predictions", "references", "names", "match"),
    [
        ([1, 2, 3, 4], [1, 2, 3, 4], ["UA", "RA", "TA", "TA"], "`names` must hold .* each once"),
        ([1, 2, 3], [1, 2, 3], ["UA", "RA", "TA"], "`names` must hold"),
        ([1, 2, 3], [1, 2, 3, 4], ["UA", "RA", "TA", "MIA"], "`predictions` must hold 4 values.*got 3"),
        ([1, 2, 3, 4], [1, 2, 3, 101], ["UA", "RA", "TA", "MIA"], "`references` must be percentages in 0..100"),
        ([1, 2, 3, NAN], [1, 2, 3, 4], ["UA", "RA", "TA", "MIA"], "`predictions` must be finite"),
    ],
)
def test_bad_arguments_are_refused(predictions, references, names, match):
    with pytest.raises(ValueError, match=match):
        retraining_distance(predictions, references, names)

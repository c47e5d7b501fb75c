"""A history is read off at a given UA."""

from __future__ import annotations

import pytest

from hf_invwnn.benchmark.equal_forgetting import at_ua


CURVE = [
    {"ua": 0.0, "ta": 40.0, "only": 1.0},
    {"ua": 20.0, "ta": 44.0},
    {"ua": 10.0, "ta": 43.0},
    {"ua": 50.0, "ta": 39.0},
]


@pytest.mark.parametrize(("ua", "expected"), [(0.0, 40.0), (10.0, 42.0), (20.0, 44.0), (30.0, 41.0), (50.0, 39.0)])
def test_a_curve_is_read_off_where_it_first_reaches_the_level(ua: float, expected: float) -> None:
    """Also if UA falls again later: 10 is first passed on the way to 20."""
    point = at_ua(CURVE, ua)
    assert point is not None and point["ta"] == pytest.approx(expected) and point["ua"] == pytest.approx(ua)


def test_a_level_that_is_not_reached_has_no_value() -> None:
    assert at_ua(CURVE, 50.1) is None
    with pytest.raises(ValueError, match="`history` is empty"):
        at_ua([], 50.0)

"""Wilson's interval of a share; its values are tested with the report."""

from __future__ import annotations

import pytest

from hf_invwnn.metrics import share_interval


def test_the_interval_equals_the_value_of_the_formula() -> None:
    """50 of 100: (0.5 + z^2 / 200 -+ z sqrt(0.25 / 100 + z^2 / 40000)) / (1 + z^2 / 100) with z = 1.959964."""
    assert share_interval(50.0, 100) == pytest.approx((50.0, 40.38315, 59.61685, 100), abs=1e-5)


@pytest.mark.parametrize(("percent", "count"), [(50.0, 0), (-1.0, 10), (101.0, 10), (33.0, 10)])
def test_a_percentage_that_is_not_a_share_of_the_count_is_refused(percent: float, count: int) -> None:
    with pytest.raises(ValueError, match="must be a share of `count` examples"):
        share_interval(percent, count)

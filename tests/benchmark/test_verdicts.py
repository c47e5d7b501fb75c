"""Verdicts agree with statistics computed another way, and do not call a tie what three seeds cannot tell."""

from __future__ import annotations

import itertools
import re

import numpy as np
import pytest
from scipy import stats

from hf_invwnn.benchmark.verdicts import holm, paired_difference, verdicts


RNG = np.random.default_rng(4)
NOISY = RNG.normal(2.0, 1.5, 10)


def test_the_p_values_are_those_of_scipy() -> None:
    found = paired_difference(NOISY)
    assert found.p == pytest.approx(stats.ttest_1samp(NOISY, 0).pvalue)
    sides = [
        stats.ttest_1samp(NOISY, -1, alternative="greater").pvalue,
        stats.ttest_1samp(NOISY, 1, alternative="less").pvalue,
    ]
    assert found.p_equivalent == pytest.approx(max(sides))
    assert (found.pairs, found.starts) == (10, 10) and found.mean == pytest.approx(NOISY.mean())


def test_the_interval_of_independent_pairs_is_that_of_an_exhaustive_bootstrap() -> None:
    values = np.array([0.0, 1.0, 2.0, 6.0])
    means = [np.mean(drawn) for drawn in itertools.product(values, repeat=4)]
    found = paired_difference(values, starts=["same"] * 4)
    assert found.low == pytest.approx(np.percentile(means, 2.5), abs=0.15)
    assert found.high == pytest.approx(np.percentile(means, 97.5), abs=0.15)


def test_pairs_of_one_start_widen_the_interval() -> None:
    """The variance of the mean of two starts, each with three pairs of one value, is that of two values."""
    values, starts = [0.0, 0.0, 0.0, 4.0, 4.0, 4.0], ["a", "a", "a", "b", "b", "b"]
    together, apart = paired_difference(values, starts), paired_difference(values)
    assert (together.low, together.high) == (0.0, 4.0)
    assert apart.low > 0.5 and apart.high < 3.5 and together.starts == 2


def test_groups_of_different_sizes_are_drawn_in_two_stages() -> None:
    """All outcomes of drawing two of two starts, by hand: the mean over all pairs that were drawn."""
    means = [np.mean([*first, *second]) for first in ([1.0], [3.0, 3.0, 3.0]) for second in ([1.0], [3.0, 3.0, 3.0])]
    found = paired_difference([1.0, 3.0, 3.0, 3.0], ["a", "b", "b", "b"])
    assert (found.low, found.high) == (min(means), max(means))


def test_holm_multiplies_by_what_is_left() -> None:
    """The example of a textbook: 0.01, 0.04, 0.03, 0.005 become 0.03, 0.06, 0.06, 0.02."""
    adjusted = holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005})
    assert adjusted == pytest.approx({"a": 0.03, "b": 0.06, "c": 0.06, "d": 0.02})
    assert holm({"a": 0.9, "b": 0.8}) == {"a": 1.0, "b": 1.0} and holm({}) == {}


def test_verdicts() -> None:
    small = RNG.normal(0.0, 0.3, 10)
    differences = {
        "clear": paired_difference(NOISY + 3),
        "clearly less": paired_difference(-NOISY - 3),
        "the same": paired_difference(small),
        "too few": paired_difference([0.5, 3.0, -1.0]),
    }
    expected = {"clear": "better", "clearly less": "worse", "the same": "equivalent", "too few": "undecided"}
    assert verdicts(differences) == expected


def test_many_comparisons_need_more_evidence() -> None:
    """One difference in twenty is significant by chance; with Holm's correction it decides nothing."""
    lucky = paired_difference([2.0, 0.3, 1.5, 2.9, 0.6])
    assert 0.01 < lucky.p < 0.05
    assert verdicts({"lucky": lucky}) == {"lucky": "better"}
    others = {f"other {number}": paired_difference(RNG.normal(0, 2, 5)) for number in range(19)}
    assert verdicts({"lucky": lucky, **others})["lucky"] == "undecided"


def test_two_equal_methods_are_equivalent_and_not_better() -> None:
    found = paired_difference([0.0, 0.0, 0.0])
    assert (found.mean, found.p, found.p_equivalent) == (0.0, 1.0, 0.0)
    assert verdicts({"same": found}) == {"same": "equivalent"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([1.0],), "`differences` must be at least two finite numbers, got [1.0]."),
        (([1.0, float("nan")],), "`differences` must be at least two finite numbers"),
        (([1.0, 2.0], ["a"]), "`starts` must name one start for each of 2 differences, got 1."),
        (([1.0, 2.0], None, 0.0), "`margin` must be positive, got 0.0."),
    ],
)
def test_bad_input_is_refused(arguments: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        paired_difference(*arguments)

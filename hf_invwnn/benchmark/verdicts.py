"""What pairs of runs show about two methods: better, worse, equivalent, or undecided."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np


BETTER, WORSE, EQUIVALENT, UNDECIDED = "better", "worse", "equivalent", "undecided"
LEVEL = 0.05
_RESAMPLES = 10_000


@dataclass(frozen=True)
class PairedDifference:
    """
    The result of [`paired_difference`].

    Args:
        mean (`float`): Mean difference; positive where the first method has more.
        low (`float`), high (`float`): 95 % interval of the mean.
        p (`float`): Two-sided p-value of a mean of 0.
        p_equivalent (`float`): p-value of a mean outside the margin (the larger of two one-sided tests).
        pairs (`int`), starts (`int`): Number of pairs, and of starting models they have.
    """

    mean: float
    low: float
    high: float
    p: float
    p_equivalent: float
    pairs: int
    starts: int


def paired_difference(
    differences: Sequence[float], starts: Sequence[Hashable] | None = None, margin: float = 1.0, seed: int = 0
) -> PairedDifference:
    """
    Tests the mean of paired differences by Student's t, and its interval by a bootstrap.

    Pairs of one starting model are not independent, so the bootstrap draws starting models first, and then forget sets
    of each (hierarchical bootstrap, percentiles). With one starting model it draws the pairs.

    Args:
        differences (`Sequence[float]`): One method minus the other, for each pair of a starting model and a forget
            set; at least two.
        starts (`Sequence`, *optional*): The starting model of each pair; all different by default.
        margin (`float`, defaults to 1.0): Differences within this are no difference.
        seed (`int`, defaults to 0): Seed of the bootstrap.

    Raises:
        ValueError: There are fewer than two pairs, a difference is not finite, lengths differ, or `margin` is not
            positive.
    """
    values = np.asarray(differences, dtype=np.float64)
    names = list(range(len(values))) if starts is None else list(starts)
    if values.ndim != 1 or len(values) < 2 or not np.isfinite(values).all():
        raise ValueError(f"`differences` must be at least two finite numbers, got {list(differences)}.")
    if len(names) != len(values):
        raise ValueError(f"`starts` must name one start for each of {len(values)} differences, got {len(names)}.")
    if not margin > 0:
        raise ValueError(f"`margin` must be positive, got {margin}.")
    groups = [values[[place for place, name in enumerate(names) if name == one]] for one in dict.fromkeys(names)]
    low, high = np.percentile(_resampled_means(groups, np.random.default_rng(seed)), [2.5, 97.5])
    p_below, p_above = _one_sided(values, -margin, above=True), _one_sided(values, margin, above=False)
    p = min(1.0, 2 * min(_one_sided(values, 0.0, above=True), _one_sided(values, 0.0, above=False)))
    return PairedDifference(
        float(values.mean()), float(low), float(high), p, max(p_below, p_above), len(values), len(groups)
    )


def _one_sided(values: np.ndarray, bound: float, above: bool) -> float:
    """p-value of a mean that is not above (or not below) a bound."""
    from scipy.stats import t

    distance, error = float(values.mean()) - bound, float(values.std(ddof=1)) / math.sqrt(len(values))
    distance = distance if above else -distance
    if error == 0:
        return 0.0 if distance > 0 else 1.0
    return float(t.sf(distance / error, len(values) - 1))


def _resampled_means(groups: Sequence[np.ndarray], generator: np.random.Generator) -> np.ndarray:
    """Means of pairs drawn in two stages: groups with replacement, and pairs of each with replacement."""
    if len(groups) == 1:
        return generator.choice(groups[0], (_RESAMPLES, len(groups[0]))).mean(axis=1)
    means = np.stack([generator.choice(group, (_RESAMPLES, len(groups), len(group))).mean(axis=2) for group in groups])
    drawn = generator.integers(len(groups), size=(_RESAMPLES, len(groups)))
    sizes = np.array([len(group) for group in groups])[drawn]
    # Each drawn group has its own draw of pairs, also where a group is drawn twice.
    chosen = means[drawn, np.arange(_RESAMPLES)[:, None], np.arange(len(groups))[None]]
    found: np.ndarray = (chosen * sizes).sum(axis=1) / sizes.sum(axis=1)
    return found


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """
    p-values adjusted for testing all of them (Holm, 1979): the k-th smallest of m times m - k + 1, not decreasing.

    Args:
        p_values (`dict[str, float]`): Name of a comparison -> its p-value.
    """
    adjusted, largest = {}, 0.0
    for place, (name, p) in enumerate(sorted(p_values.items(), key=lambda item: item[1])):
        largest = max(largest, min(1.0, (len(p_values) - place) * p))
        adjusted[name] = largest
    return {name: adjusted[name] for name in p_values}


def verdicts(found: Mapping[str, PairedDifference]) -> dict[str, str]:
    """
    A verdict for each comparison of one metric: `"better"` or `"worse"` where Holm's adjusted p-value is below 0.05
    and the interval does not contain 0; else `"equivalent"` where the mean is within the margin with a p-value below
    0.05; else `"undecided"`.

    Args:
        found (`dict[str, PairedDifference]`): Name of a comparison -> the first method minus the other.
    """
    adjusted = holm({name: difference.p for name, difference in found.items()})
    result = {}
    for name, difference in found.items():
        differs = adjusted[name] < LEVEL and not difference.low <= 0 <= difference.high
        if differs:
            result[name] = BETTER if difference.mean > 0 else WORSE
        else:
            result[name] = EQUIVALENT if difference.p_equivalent < LEVEL else UNDECIDED
    return result


__all__ = [
    "BETTER",
    "EQUIVALENT",
    "UNDECIDED",
    "WORSE",
    "PairedDifference",
    "holm",
    "paired_difference",
    "verdicts",
]

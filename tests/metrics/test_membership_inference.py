"""MIA against a separate implementation of the attack."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.svm import SVC

from hf_invwnn.metrics import membership_inference


NAN = float("nan")
ALL = ["forget", "retain", "test"]


@pytest.mark.parametrize(("num_retain", "num_test"), [(300, 80), (60, 80), (80, 80)])
def test_mia_equals_a_straight_reimplementation(num_retain, num_test):
    rng = np.random.default_rng(1)
    retain, test, forget = rng.beta(8, 1, num_retain), rng.beta(2, 1, num_test), rng.beta(4, 1, 90)
    members = retain
    if num_retain > num_test:
        members = retain[np.random.default_rng(3).choice(num_retain, num_test, replace=False)]
    attack = SVC(C=3, kernel="rbf", gamma=1.0)  # "auto" is 1 / (number of features)
    attack.fit(np.concatenate([members, test])[:, None], ["member"] * len(members) + ["non-member"] * len(test))
    expected = 100 * np.mean(attack.predict(forget[:, None]) == "non-member")

    # The order in which the splits are mixed must not matter.
    confidences = np.concatenate([forget, test, retain])
    splits = np.repeat(["forget", "test", "retain"], [90, num_test, num_retain])
    assert membership_inference(confidences, splits, seed=3) == {"MIA": pytest.approx(expected)}
    assert 0 < expected < 100


def test_mia_direction_is_the_share_called_non_member():
    """Forget examples with the confidences of test examples give 100, with those of retain examples 0."""
    rng = np.random.default_rng(0)
    known, unknown = 0.95 + 0.05 * rng.random(50), 0.3 * rng.random(50)
    splits = ["retain"] * 50 + ["test"] * 50 + ["forget"] * 50
    assert membership_inference(np.concatenate([known, unknown, unknown[::-1]]), splits) == {"MIA": 100.0}
    assert membership_inference(np.concatenate([known, unknown, known[::-1]]), splits) == {"MIA": 0.0}


def test_mia_members_depend_on_the_seed_alone():
    rng = np.random.default_rng(0)
    confidences = rng.random(600)
    splits = ["retain"] * 500 + ["test"] * 50 + ["forget"] * 50
    values = [membership_inference(confidences, splits, seed=seed)["MIA"] for seed in range(4)]
    assert values == [membership_inference(confidences, splits, seed=seed)["MIA"] for seed in range(4)]
    assert len(set(values)) > 1


@pytest.mark.parametrize(
    ("confidences", "splits", "match"),
    [
        ([0.1, 0.2], ["forget", "test"], r"`splits` has no example of \['retain'\]"),
        ([0.1, 0.2], ["retain", "test"], r"`splits` has no example of \['forget'\]"),
        ([0.1, 0.2], ["retain", "forget"], r"`splits` has no example of \['test'\]"),
        ([0.1, 1.2, 0.3], ALL, "`confidences` must be probabilities in 0..1, got 0.1..1.2"),
        ([-2.0, 0.2, 0.3], ALL, "`confidences` must be probabilities"),
        ([0.1, NAN, 0.3], ALL, "`confidences` must be finite, got nan at position 1"),
        (["a", "b", "c"], ALL, "`confidences` must be a flat list of numbers"),
        ([0.1, 0.2], ALL, "`splits` must name the split of each of the 2 values of `confidences`"),
        ([], [], "`confidences` is empty"),
    ],
)
def test_bad_arguments_are_refused(confidences, splits, match):
    with pytest.raises(ValueError, match=match):
        membership_inference(confidences, splits)

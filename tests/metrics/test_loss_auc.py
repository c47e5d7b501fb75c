"""The loss AUC against a double loop, and its interval against a slow bootstrap."""

from __future__ import annotations

import time

import numpy as np
import pytest

from hf_invwnn.metrics import loss_auc


INF = float("inf")


def brute_auc(forget, test):
    return sum((f > t) + 0.5 * (f == t) for f in forget.tolist() for t in test.tolist()) / (len(forget) * len(test))


def test_auc_with_ties_equals_a_double_loop_and_the_interval_a_slow_bootstrap():
    rng = np.random.default_rng(2)
    forget, test, retain = rng.integers(0, 6, 40) / 2, rng.integers(1, 6, 30) / 2, rng.random(20)
    losses = np.concatenate([retain, forget, test])
    values = loss_auc(losses, ["retain"] * 20 + ["forget"] * 40 + ["test"] * 30, num_bootstrap=400, seed=4)
    assert values["auc"] == pytest.approx(brute_auc(forget, test))
    assert values["leak"] == pytest.approx(2 * abs(values["auc"] - 0.5))

    slow = np.random.default_rng(99)
    aucs = [brute_auc(slow.choice(forget, 40), slow.choice(test, 30)) for _ in range(400)]
    np.testing.assert_allclose([values["auc_low"], values["auc_high"]], np.quantile(aucs, [0.025, 0.975]), atol=0.03)
    assert values["auc_low"] < values["auc"] < values["auc_high"]


def test_auc_leaks_on_either_side():
    splits = ["forget"] * 3 + ["test"] * 3
    assert loss_auc([0, 0, 0, 1, 1, 1], splits) == {"auc": 0.0, "auc_low": 0.0, "auc_high": 0.0, "leak": 1.0}
    assert loss_auc([2, 2, 2, 1, 1, 1], splits) == {"auc": 1.0, "auc_low": 1.0, "auc_high": 1.0, "leak": 1.0}
    assert loss_auc([1, 1, 1, 1, 1, 1], splits)["leak"] == 0.0


def test_auc_is_seeded_narrows_with_confidence_and_is_fast():
    losses = np.random.default_rng(0).normal(size=4000)
    splits = ["forget"] * 2000 + ["test"] * 2000
    start = time.perf_counter()
    wide = loss_auc(losses, splits, seed=1)
    assert time.perf_counter() - start < 2
    assert wide == loss_auc(losses, splits, seed=1) != loss_auc(losses, splits, seed=2)
    narrow = loss_auc(losses, splits, seed=1, confidence=0.5)
    assert wide["auc_low"] < narrow["auc_low"] < narrow["auc_high"] < wide["auc_high"]
    assert wide["auc_low"] < 0.5 < wide["auc_high"]


@pytest.mark.parametrize(
    ("losses", "splits", "options", "match"),
    [
        ([1, INF], ["forget", "test"], {}, "`losses` must be finite, got inf at position 1"),
        ([1, 2], ["forget", "retain"], {}, r"`splits` has no example of \['test'\]"),
        ([1, 2], ["forget", "tset"], {}, r"`splits` must be of .* got \['tset'\]"),
        ([], [], {}, "`losses` is empty"),
        ([1, 2], ["forget", "test"], {"num_bootstrap": 0}, "`num_bootstrap` must be an integer of at least 1, got 0"),
        ([1, 2], ["forget", "test"], {"confidence": 95}, "`confidence` must lie between 0 and 1, got 95"),
    ],
)
def test_bad_arguments_are_refused(losses, splits, options, match):
    with pytest.raises(ValueError, match=match):
        loss_auc(losses, splits, **options)

"""Each metric against an independent computation."""

from __future__ import annotations

import time

import numpy as np
import pytest
from sklearn.svm import SVC

from hf_invwnn.metrics import (
    loss_auc,
    membership_inference,
    per_example,
    retraining_distance,
    unlearning_accuracy,
    unlearning_metrics,
)


def test_accuracies_by_hand():
    values = unlearning_accuracy(
        predictions=[0, 1, 2, 3, 0, 1, 2, 2],
        references=[0, 1, 2, 0, 0, 0, 2, 2],
        splits=["forget", "forget", "forget", "forget", "retain", "retain", "test", "test"],
    )
    assert values == {"UA": 25.0, "RA": 50.0, "TA": 100.0}
    assert unlearning_accuracy([1], [1], ["forget"]) == {"UA": 0.0}
    assert unlearning_accuracy([1, 0], [1, 1], ["test", "retain"]) == {"RA": 0.0, "TA": 100.0}


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
    """Forgotten examples that look like test examples give 100, remembered ones 0."""
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


def test_per_example_by_hand_and_without_overflow():
    values = per_example(np.log([[0.7, 0.2, 0.1], [0.25, 0.25, 0.5]]), [0, 1])
    assert values.predictions.tolist() == [0, 2]
    np.testing.assert_allclose(values.confidences, [0.7, 0.25])
    np.testing.assert_allclose(values.losses, -np.log([0.7, 0.25]))
    extreme = per_example(np.array([[1e4, -1e4], [0.0, 50.0]], dtype=np.float32), [1, 1])
    assert extreme.losses[0] == 2e4 and extreme.confidences[0] == 0
    # A tiny loss keeps its digits, for the AUC ranks it.
    assert extreme.losses[1] == pytest.approx(np.exp(-50.0), rel=1e-3)
    assert all(array.dtype == np.float64 for array in extreme[1:])


def test_report_equals_its_parts():
    rng = np.random.default_rng(5)
    sizes = {"test": 40, "forget": 50, "retain": 120}
    logits = {name: rng.normal(size=(size, 5)) * 2 for name, size in sizes.items()}
    labels = {name: rng.integers(0, 5, size) for name, size in sizes.items()}
    report = unlearning_metrics(logits, labels, seed=7)

    accuracy = {name: 100 * np.mean(logits[name].argmax(1) == labels[name]) for name in sizes}
    assert report["RA"] == pytest.approx(accuracy["retain"])
    assert report["UA"] == pytest.approx(100 - accuracy["forget"])
    assert report["TA"] == pytest.approx(accuracy["test"])
    judged = {name: per_example(logits[name], labels[name]) for name in sizes}
    splits = np.repeat(list(sizes), list(sizes.values()))
    mia = membership_inference(np.concatenate([judged[name].confidences for name in sizes]), splits, seed=7)
    assert report["MIA"] == mia["MIA"]
    assert report["loss_auc"] == pytest.approx(brute_auc(judged["forget"].losses, judged["test"].losses))
    assert report["loss_auc_low"] < report["loss_auc"] < report["loss_auc_high"]
    assert list(report) == ["RA", "UA", "TA", "MIA", "loss_auc", "loss_auc_low", "loss_auc_high"]
    assert all(type(value) is float for value in report.values())

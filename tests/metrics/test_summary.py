"""All metrics of one model in one call."""

from __future__ import annotations

import numpy as np
import pytest

from hf_invwnn.metrics import membership_inference, per_example, unlearning_metrics


ALL = ["forget", "retain", "test"]


def test_all_metrics_in_one_call_equal_the_metrics_one_by_one():
    rng = np.random.default_rng(5)
    sizes = {"test": 40, "forget": 50, "retain": 120}
    logits = {name: rng.normal(size=(size, 5)) * 2 for name, size in sizes.items()}
    labels = {name: rng.integers(0, 5, size) for name, size in sizes.items()}
    metrics = unlearning_metrics(logits, labels, seed=7)

    accuracy = {name: 100 * np.mean(logits[name].argmax(1) == labels[name]) for name in sizes}
    assert metrics["RA"] == pytest.approx(accuracy["retain"])
    assert metrics["UA"] == pytest.approx(100 - accuracy["forget"])
    assert metrics["TA"] == pytest.approx(accuracy["test"])
    examples = {name: per_example(logits[name], labels[name]) for name in sizes}
    splits = np.repeat(list(sizes), list(sizes.values()))
    mia = membership_inference(np.concatenate([examples[name].confidences for name in sizes]), splits, seed=7)
    assert metrics["MIA"] == mia["MIA"]
    pairs = [(f, t) for f in examples["forget"].losses for t in examples["test"].losses]
    double_loop = sum((f > t) + 0.5 * (f == t) for f, t in pairs) / len(pairs)
    assert metrics["loss_auc"] == pytest.approx(double_loop)
    assert metrics["loss_auc_low"] < metrics["loss_auc"] < metrics["loss_auc_high"]
    assert list(metrics) == ["RA", "UA", "TA", "MIA", "loss_auc", "loss_auc_low", "loss_auc_high"]
    assert all(type(value) is float for value in metrics.values())


def test_bad_arguments_are_refused():
    logits = {name: np.zeros((2, 3)) for name in ALL}
    labels = {name: [0, 1] for name in ALL}
    for missing in ALL:
        partial = {name: value for name, value in logits.items() if name != missing}
        with pytest.raises(ValueError, match=rf"`logits_by_split` lacks \['{missing}'\]"):
            unlearning_metrics(partial, labels)
    with pytest.raises(ValueError, match=r"`labels_by_split` lacks \['retain'\]"):
        unlearning_metrics(logits, {"forget": [0, 1], "test": [0, 1]})
    with pytest.raises(ValueError, match=r"`logits_by_split` must hold .* got \['validation'\] as well"):
        unlearning_metrics(logits | {"validation": np.zeros((2, 3))}, labels)
    with pytest.raises(ValueError, match=r"Split 'test': `labels` must lie in 0..2"):
        unlearning_metrics(logits, labels | {"test": [0, 5]})
    with pytest.raises(ValueError, match="`logits_by_split` must have the same classes in every split"):
        unlearning_metrics(logits | {"test": np.zeros((2, 4))}, labels)
    with pytest.raises(TypeError, match="`logits_by_split` must map split names to arrays, got `list`"):
        unlearning_metrics([np.zeros((2, 3))], labels)

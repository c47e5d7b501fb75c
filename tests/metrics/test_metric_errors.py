"""Bad input is refused by an error that names the argument, never turned into a number."""

from __future__ import annotations

import numpy as np
import pytest

from hf_invwnn.metrics import (
    loss_auc,
    membership_inference,
    per_example,
    retraining_distance,
    unlearning_accuracy,
    unlearning_metrics,
)


NAN, INF = float("nan"), float("inf")
ALL = ["forget", "retain", "test"]


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (([0, 1], [0], ["test", "test"]), "`references` must be as many as `predictions`, got 1 against 2"),
        (([0, 1], [0, 1], ["test"]), "`splits` must name the split of each of the 2 values of `predictions`"),
        (([0], [0], "test"), "`splits` must name the split of each"),
        (([0], [0], ["train"]), r"`splits` must be of .* got \['train'\]"),
        (([0], [0], [None]), r"`splits` must be of .* got \['None'\]"),
        (([], [], []), "`predictions` is empty"),
        (([0.5], [0], ["test"]), "`predictions` must be a flat list of integers"),
        (([[0]], [0], ["test"]), "`predictions` must be a flat list of integers"),
        (([0], [NAN], ["test"]), "`references` must be a flat list of integers"),
    ],
)
def test_unlearning_accuracy(arguments, match):
    with pytest.raises(ValueError, match=match):
        unlearning_accuracy(*arguments)


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
def test_membership_inference(confidences, splits, match):
    with pytest.raises(ValueError, match=match):
        membership_inference(confidences, splits)


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
def test_loss_auc(losses, splits, options, match):
    with pytest.raises(ValueError, match=match):
        loss_auc(losses, splits, **options)


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
def test_retraining_distance(predictions, references, names, match):
    with pytest.raises(ValueError, match=match):
        retraining_distance(predictions, references, names)


@pytest.mark.parametrize(
    ("logits", "labels", "match"),
    [
        (np.zeros(3), [0, 0, 0], r"`logits` must be numbers of shape \(N, C\).*got shape \(3,\)"),
        (np.zeros((0, 3)), [], r"`logits` must be .* at least one example"),
        (np.zeros((2, 3)), [0], "`labels` must hold one label for each of the 2 logits, got 1"),
        (np.zeros((2, 3)), [0, 3], "`labels` must lie in 0..2"),
        (np.zeros((2, 3)), [0, -100], "`labels` must lie in 0..2"),
        (np.zeros((2, 3)), [0.0, 1.0], "`labels` must be a flat list of integers"),
        ([[0, 1], [NAN, 0]], [0, 0], "`logits` must be finite, but row 1 is not"),
        ([[INF, 1]], [0], "`logits` must be finite, but row 0"),
    ],
)
def test_per_example(logits, labels, match):
    with pytest.raises(ValueError, match=match):
        per_example(logits, labels)


def test_unlearning_report():
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

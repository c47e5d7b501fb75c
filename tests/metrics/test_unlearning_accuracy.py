"""UA, RA and TA by hand."""

from __future__ import annotations

import pytest

from hf_invwnn.metrics import ua, unlearning_accuracy


NAN = float("nan")


def test_accuracies_by_hand():
    values = unlearning_accuracy(
        predictions=[0, 1, 2, 3, 0, 1, 2, 2],
        references=[0, 1, 2, 0, 0, 0, 2, 2],
        splits=["forget", "forget", "forget", "forget", "retain", "retain", "test", "test"],
    )
    assert values == {"UA": 25.0, "RA": 50.0, "TA": 100.0}
    assert unlearning_accuracy([1], [1], ["forget"]) == {"UA": 0.0}
    assert unlearning_accuracy([1, 0], [1, 1], ["test", "retain"]) == {"RA": 0.0, "TA": 100.0}


def test_ua_of_an_evaluation_by_the_trainer():
    assert ua({"eval_forget_accuracy": 0.25, "eval_forget_loss": 1.0}) == 75.0


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
def test_bad_arguments_are_refused(arguments, match):
    with pytest.raises(ValueError, match=match):
        unlearning_accuracy(*arguments)

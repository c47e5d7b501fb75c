"""Bad arguments of a scenario raise an error that names the argument."""

from __future__ import annotations

import numpy as np
import pytest
from datasets import ClassLabel, DatasetDict

from hf_invwnn.scenarios import (
    SCENARIOS,
    badnets,
    class_removal,
    given_indices,
    label_noise,
    overfitting,
    random_subset,
    triggered_test_set,
)


@pytest.mark.parametrize("scenario", [random_subset, label_noise])
@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({"fraction": 0.0}, ValueError, "`fraction`.*above 0 and below 1, got 0.0"),
        ({"fraction": 1}, ValueError, "`fraction`.*got 1"),
        ({"fraction": float("nan")}, ValueError, "`fraction`.*got nan"),
        ({"fraction": 50}, ValueError, "`fraction`.*0.1 means a tenth"),
        ({"fraction": "half"}, TypeError, "`fraction` must be a number, got 'half'"),
        ({"fraction": 0.001}, ValueError, "`fraction` of 0.001 makes 0 of 180"),
        ({"fraction": 0.999}, ValueError, "`fraction` of 0.999 makes 180 of 180"),
        ({"validation_fraction": 1.0}, ValueError, "`validation_fraction`.*at least 0 and below 1"),
        ({"validation_fraction": -0.1}, ValueError, "`validation_fraction`.*got -0.1"),
        ({"validation_fraction": 0.001}, ValueError, "`validation_fraction` of 0.001 makes 0 of 200"),
        ({"seed": -1}, ValueError, "`seed` must be 0 or above, got -1"),
        ({"seed": 1.5}, TypeError, "`seed` must be an integer, got 1.5"),
        ({"label_column": "fine_label"}, ValueError, r"`train` has no column `fine_label`.*`label_column`"),
    ],
)
def test_shares_and_seeds(scenario, arguments, error, match, train, test):
    with pytest.raises(error, match=match):
        scenario(train, test, **arguments)


@pytest.mark.parametrize("name", sorted(SCENARIOS))
def test_datasets(name, train, test):
    extra = {"class_removal": {"label": 0}, "given_indices": {"indices": [0]}}.get(name, {})
    scenario = SCENARIOS[name]
    with pytest.raises(TypeError, match=r"`train` must be a `datasets.Dataset`, got `DatasetDict`"):
        scenario(DatasetDict({"train": train}), test, **extra)
    with pytest.raises(ValueError, match="`test` must hold examples, got an empty dataset"):
        scenario(train, test.select([]), **extra)
    with pytest.raises(ValueError, match="`test` has no column `label`"):
        scenario(train, test.remove_columns("label"), **extra)
    floats = train.remove_columns("label").add_column("label", np.linspace(0, 1, 200))
    with pytest.raises(ValueError, match=r"`label` of `train` must hold integers or a `ClassLabel`.*float64"):
        scenario(floats, test, **extra)
    renamed = test.cast_column("label", ClassLabel(names=["dog", "cat", "owl", "fox"]))
    with pytest.raises(ValueError, match="`label` of `test` must name the same classes"):
        scenario(train, renamed, **extra)


def test_unlabelled_examples(train, test):
    minus_one = train.remove_columns("label").add_column("label", np.arange(200) % 4 - 1)
    plain_test = test.remove_columns("label").add_column("label", np.arange(60) % 4)
    with pytest.raises(ValueError, match="`label` of `train` holds the label -1"):
        label_noise(minus_one, plain_test)
    missing = train.remove_columns("label").add_column("label", [None, *([1] * 199)])
    with pytest.raises(ValueError, match="`label` of `train` has missing labels"):
        class_removal(missing.cast_column("label", train.features["label"]), test, label=1)


@pytest.mark.parametrize(
    ("label", "error", "match"),
    [
        ("cow", ValueError, "`label` 'cow' is not a class of `label`; its classes are"),
        (9, ValueError, "`label` 9 must be the class of some examples of `train`, but it is the class of none"),
        (-1, ValueError, "`label` -1 must be the class of some"),
        (1.0, TypeError, "`label` must be a class id or name, got 1.0"),
        (True, TypeError, "`label` must be a class id or name, got True"),
    ],
)
def test_classes(label, error, match, train, test):
    with pytest.raises(error, match=match):
        class_removal(train, test, label=label)


def test_a_class_of_all_examples_is_refused(train, test):
    cats, cats_test = (data.filter(lambda example: example["label"] == 0) for data in (train, test))
    with pytest.raises(
        ValueError, match="`label` 0 must be the class of some examples of `train`, but it is the class of all"
    ):
        class_removal(cats, test, label=0)
    with pytest.raises(ValueError, match="`test` has only examples of the class `label` 0"):
        class_removal(train, cats_test, label=0)
    plain, plain_test = (data.cast_column("label", train.features["row"]) for data in (cats, test))
    with pytest.raises(ValueError, match="`label` of `train` has only one class"):
        label_noise(plain, plain_test)
    with pytest.raises(ValueError, match="`label` 'cat' is a name, but `label` holds plain integers"):
        class_removal(plain, plain_test, label="cat")


def test_a_clean_label_column_is_not_overwritten(train, test):
    with pytest.raises(ValueError, match="`train` already has a column `clean_label`"):
        label_noise(train.add_column("clean_label", np.zeros(200, dtype=int)), test)


@pytest.mark.parametrize(
    ("indices", "error", "match"),
    [
        ([], ValueError, "`indices` is empty"),
        ([1, 200], ValueError, r"`indices` must lie in 0..199, got 200"),
        ([-1], ValueError, "`indices` must lie in 0..199, got -1"),
        ([4, 2, 4], ValueError, "`indices` must not repeat, got 4"),
        ([1.0], TypeError, "`indices` must hold integers, got 1.0"),
        ([True], TypeError, "`indices` must hold integers, got True"),
        (np.array([0.5]), TypeError, "`indices` must hold integers, got 0.5"),
        ("12", TypeError, "`indices` must be an iterable of integers, got `str`"),
        (3, TypeError, "`indices` must be an iterable of integers, got `int`"),
        (range(200), ValueError, "`indices` holds all 200 training examples"),
    ],
)
def test_indices(indices, error, match, train, test):
    with pytest.raises(error, match=match):
        given_indices(train, test, indices=indices)


def test_given_validation_is_checked_like_the_others(train, test):
    with pytest.raises(ValueError, match="`validation` has no column `label`"):
        given_indices(train, test, indices=[1], validation=test.remove_columns("label"))


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"target": 9}, "`train` has no example of the class `target` 9"),
        ({"target": "cow"}, "`target` 'cow' is not a class"),
        ({"image_column": "picture"}, "`image_column` 'picture' is not a column of `train`"),
        ({"fraction": 1.5}, "`fraction`"),
    ],
)
def test_poisoning(arguments, match, train, test):
    with pytest.raises(ValueError, match=match):
        badnets(train, test, **arguments)


def test_a_test_set_of_the_target_class_cannot_be_triggered(train, test):
    target_only = test.filter(lambda example: example["label"] == 0)
    with pytest.raises(ValueError, match=r"`splits\.test` has only images of the target class"):
        triggered_test_set(badnets(train, target_only))


def test_only_badnets_splits_have_a_triggered_test_set(train, test):
    with pytest.raises(ValueError, match="'badnets', got 'label_noise'"):
        triggered_test_set(label_noise(train, test))


def test_overfitting_needs_an_example(train, test):
    with pytest.raises(ValueError, match=r"`fraction` of 0.001 makes 0 of 180"):
        overfitting(train, test, fraction=0.001)

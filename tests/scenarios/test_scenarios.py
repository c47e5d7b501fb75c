"""The splits of every scenario, and those of each."""

from __future__ import annotations

import numpy as np
import pytest
from datasets import ClassLabel
from PIL import Image

from hf_invwnn.scenarios import (
    CLEAN_LABEL_COLUMN,
    SCENARIOS,
    UnlearningSplits,
    add_trigger,
    badnets,
    class_removal,
    given_indices,
    label_noise,
    overfitting,
    random_subset,
    triggered_test_set,
)


ARGUMENTS = {
    "random_subset": {},
    "class_removal": {"label": 2},
    "label_noise": {},
    "given_indices": {"indices": [7, 3, 150]},
    "overfitting": {"fraction": 0.1},
    "badnets": {},
}
DRAWN = ["random_subset", "class_removal", "label_noise", "overfitting", "badnets"]


def rows(dataset) -> list[int]:
    return list(dataset.with_format(None)["row"])


def test_registry_holds_the_scenarios_under_their_names():
    assert set(SCENARIOS) == set(ARGUMENTS)
    assert all(function.__name__ == name for name, function in SCENARIOS.items())


@pytest.mark.parametrize("name", sorted(ARGUMENTS))
def test_forget_and_retain_part_train_and_share_nothing_with_validation_and_test(name, train, test):
    splits = SCENARIOS[name](train, test, **ARGUMENTS[name])
    parts = [rows(getattr(splits, part)) for part in ("forget", "retain", "validation", "test")]
    everything = [row for part in parts for row in part]
    assert len(everything) == len(set(everything))
    assert sorted(parts[0] + parts[1]) == rows(splits.train)
    assert parts[0] == [rows(splits.train)[i] for i in splits.forget_indices]
    assert parts[1] == sorted(parts[1]) and parts[0] == sorted(parts[0])
    assert splits.scenario == name
    # Nothing is lost: what is not in validation is in train.
    if name == "overfitting":
        return
    assert sorted(rows(splits.train) + parts[2]) == rows(train)


@pytest.mark.parametrize("name", DRAWN)
def test_the_seed_decides_everything(name, train, test):
    first, again, other = (SCENARIOS[name](train, test, **ARGUMENTS[name], seed=seed) for seed in (5, 5, 6))
    assert first.sha256 == again.sha256
    assert (first.sha256, rows(first.forget)) != (other.sha256, rows(other.forget))
    for part in ("train", "forget", "retain", "validation", "test"):
        assert getattr(first, part)[:] == getattr(again, part)[:]
    assert rows(first.validation) != rows(other.validation)
    assert (first.seed, other.seed) == (5, 6)


def test_the_global_numpy_state_is_neither_used_nor_moved(train, test):
    np.random.seed(0)
    before = np.random.get_state()[1].copy()
    first = random_subset(train, test).sha256
    assert (np.random.get_state()[1] == before).all()
    np.random.seed(1)
    assert random_subset(train, test).sha256 == first


@pytest.mark.parametrize("name", DRAWN)
def test_sizes_and_an_empty_validation_set_on_request(name, train, test):
    assert len(SCENARIOS[name](train, test, **ARGUMENTS[name], validation_fraction=0.2).validation) in (30, 40)
    splits = SCENARIOS[name](train, test, **ARGUMENTS[name], validation_fraction=0)
    assert (len(splits.validation), len(splits.train)) == (0, 20 if name == "overfitting" else 200)


def test_random_subset_forgets_the_fraction_asked_for(train, test):
    splits = random_subset(train, test, fraction=0.25, validation_fraction=0.1)
    assert (len(splits.train), len(splits.forget), len(splits.retain)) == (180, 45, 135)
    assert rows(splits.test) == rows(test)


@pytest.mark.parametrize("label", [2, "owl", np.int64(2)])
def test_a_removed_class_leaves_validation_and_test_too(label, train, test):
    splits = class_removal(train, test, label=label)
    assert set(splits.forget["label"]) == {2}
    assert len(splits.forget) == 50  # all of it: no example of the class is lost to validation
    for part in ("retain", "validation", "test"):
        assert set(getattr(splits, part)["label"]) == {0, 1, 3}
    assert splits.train.features == train.features


def test_noise_is_wrong_in_the_forget_set_and_only_there(train, test):
    splits = label_noise(train, test, fraction=0.3)
    assert len(splits.forget) == 54
    assert all(
        noisy != clean for noisy, clean in zip(splits.forget["label"], splits.forget["clean_label"], strict=True)
    )
    assert list(splits.retain["label"]) == list(splits.retain["clean_label"])
    for part in ("forget", "retain"):
        assert [row % 4 for row in rows(getattr(splits, part))] == list(getattr(splits, part)["clean_label"])
    for part in ("validation", "test"):
        assert [row % 4 for row in rows(getattr(splits, part))] == list(getattr(splits, part)["label"])
        assert "clean_label" not in getattr(splits, part).column_names
    assert splits.train.column_names == ["row", "image", "label", "clean_label"]
    assert isinstance(splits.train.features["label"], ClassLabel)
    assert splits.train.features["clean_label"] == splits.train.features["label"]


def test_wrong_labels_are_uniform_over_the_other_classes(train, test):
    large = train.select(np.arange(10_000) % 200)
    splits = label_noise(large, test, fraction=0.5, validation_fraction=0)
    counts = np.zeros((4, 4))
    np.add.at(counts, (np.asarray(splits.forget["clean_label"]), np.asarray(splits.forget["label"])), 1)
    shares = counts / counts.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(shares, (1 - np.eye(4)) / 3, atol=0.06)


def test_plain_integer_labels_with_gaps_stay_within_the_classes_that_occur(train, test):
    sparse = train.remove_columns("label").add_column("label", np.array([3, 7, 40])[np.arange(200) % 3])
    sparse_test = test.remove_columns("label").add_column("label", np.full(60, 7))
    assert set(label_noise(sparse, sparse_test).forget["label"]) <= {3, 7, 40}


def test_a_transform_is_kept_and_never_baked_into_the_noisy_data(train, test):
    """Flattening under a transform would freeze one random crop of each image into the training set."""
    seen = train.with_transform(lambda batch: {"pixels": batch["row"]})
    noisy = label_noise(seen, test).train
    assert set(noisy[0]) == {"pixels"}
    assert set(noisy.with_format(None)[0]) == {"row", "image", "label", "clean_label"}
    assert "clean_label" in label_noise(train.with_format("numpy"), test).train[0]


def test_given_indices_keeps_every_training_example_and_draws_nothing(train, test):
    splits = given_indices(train, test, indices=np.array([150, 3, 7]))
    assert splits.forget_indices == (3, 7, 150)
    assert (rows(splits.train), rows(splits.forget), splits.seed) == (rows(train), [3, 7, 150], None)
    assert len(splits.validation) == 0 and splits.validation.features == train.features
    unseen = test.select(range(10))
    assert rows(given_indices(train, test, indices=[3], validation=unseen).validation) == rows(unseen)


def test_overfitting_forgets_all_that_the_model_is_trained_on(train, test, tmp_path):
    splits = overfitting(train, test, fraction=0.1)
    assert len(splits.train) == len(splits.forget) == 18
    assert len(splits.retain) == 0
    assert set(rows(splits.train)).isdisjoint(rows(splits.validation))
    splits.save_to_disk(tmp_path / "splits")
    assert UnlearningSplits.load_from_disk(tmp_path / "splits").sha256 == splits.sha256


def test_poisoned_images_have_the_trigger_and_the_label_of_the_target(train, test):
    splits = badnets(train, test, target="owl")
    clean = {example["row"]: example for example in train}
    assert len(splits.forget) == 36
    for example in splits.forget:
        assert example["label"] == 2 and example[CLEAN_LABEL_COLUMN] == clean[example["row"]]["label"]
        assert list(example["image"].getdata()) == list(add_trigger(clean[example["row"]]["image"]).getdata())
    for example in splits.retain:
        assert example["label"] == example[CLEAN_LABEL_COLUMN] == clean[example["row"]]["label"]
        assert list(example["image"].getdata()) == list(clean[example["row"]]["image"].getdata())
    assert all(list(e["image"].getdata()) == list(clean[e["row"]]["image"].getdata()) for e in splits.validation)


def test_the_triggered_test_set_has_no_image_of_the_target_class(train, test):
    triggered = triggered_test_set(badnets(train, test, target=2))
    true = {example["row"]: example["label"] for example in test}
    assert len(triggered) == sum(label != 2 for label in true.values())
    assert all(example["label"] == 2 and true[example["row"]] != 2 for example in triggered)
    assert all(example["image"].getpixel((0, 0)) == 255 for example in triggered)


@pytest.mark.parametrize("mode", ["L", "RGB", "1"])
def test_the_trigger_changes_the_left_edge_only(mode):
    image = Image.fromarray(np.full((32, 32, 3), 100, np.uint8)).convert(mode)
    marked = np.array(add_trigger(image)).astype(int).reshape(32, 32, -1)
    before = np.array(image).astype(int).reshape(32, 32, -1)
    assert (marked[:, 2:] == before[:, 2:]).all()
    white = marked.max()
    assert (marked[:, :2] == np.repeat([white, 0, white, 0], 8).reshape(32, 1, 1)).all()
    assert (before == np.array(image).astype(int).reshape(32, 32, -1)).all()

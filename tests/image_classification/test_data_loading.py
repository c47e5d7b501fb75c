"""The images and splits of an experiment from settings."""

from __future__ import annotations

from pathlib import Path

import pytest
from datasets import ClassLabel, Dataset
from transformers import ViTImageProcessorPil

from hf_invwnn.image_classification import (
    DataArguments,
    ScenarioArguments,
    digit_images,
    load_images,
    make_splits,
    split_datasets,
)
from hf_invwnn.scenarios import random_subset


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A local copy of the digits as parquet files."""
    path = tmp_path_factory.mktemp("data")
    for name, dataset in zip(("train", "test"), digit_images(), strict=True):
        dataset.select(range(60)).to_parquet(path / f"{name}-00000.parquet")
    return path


def test_a_folder_of_parquet_files_is_loaded(folder: Path) -> None:
    train, test = load_images(DataArguments(str(folder)), seed=0)
    expected_train, expected_test = digit_images()
    assert list(train["label"]) == list(expected_train["label"])[:60]
    assert list(test["label"]) == list(expected_test["label"])[:60]
    assert list(test[7]["image"].getdata()) == list(expected_test[7]["image"].getdata())


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="`dataset`: there is no folder"):
        load_images(DataArguments(str(tmp_path / "nowhere")), seed=0)


def test_a_subset_has_the_first_classes_and_is_drawn_by_the_seed() -> None:
    settings = DataArguments(max_classes=4, max_train_examples=100, max_test_examples=50)
    train, test = load_images(settings, seed=3)
    assert (len(train), len(test)) == (100, 50)
    assert set(train["label"]) == {0, 1, 2, 3} and isinstance(train.features["label"], ClassLabel)
    assert train.features["label"].num_classes == 4
    assert list(load_images(settings, seed=3)[0]["label"]) == list(train["label"])
    assert list(load_images(settings, seed=4)[0]["label"]) != list(train["label"])
    with pytest.raises(ValueError, match="`max_classes` must be at least 2, got 1"):
        load_images(DataArguments(max_classes=1), seed=0)


def test_settings_of_the_scenario_are_checked() -> None:
    data = DataArguments(max_train_examples=100, max_test_examples=50)
    splits = make_splits(data, ScenarioArguments("random_subset", {"fraction": 0.25}), seed=5)
    assert (splits.scenario, splits.seed, len(splits.forget)) == ("random_subset", 5, round(0.25 * 90))
    assert make_splits(data, ScenarioArguments("random_subset", {"seed": 6}), seed=5).seed == 6
    with pytest.raises(ValueError, match=r"`scenario` must be one of .*, got 'random'"):
        make_splits(data, ScenarioArguments("random"), seed=0)
    with pytest.raises(ValueError, match=r"`scenario_settings`: random_subset takes fraction, .*; got \['share'\]"):
        make_splits(data, ScenarioArguments("random_subset", {"share": 0.5}), seed=0)


def test_empty_splits_are_left_out() -> None:
    train, test = digit_images()
    splits = random_subset(train.select(range(40)), test.select(range(10)), validation_fraction=0)
    processor = ViTImageProcessorPil(size={"height": 8, "width": 8})
    sets = split_datasets(splits, processor, names=("train", "validation", "test"))
    assert {name: len(dataset) for name, dataset in sets.items()} == {"train": 40, "test": 10}


def test_a_local_copy_may_have_another_image_column(folder: Path, tmp_path: Path) -> None:
    for name in ("train", "test"):
        dataset = Dataset.from_parquet(str(folder / f"{name}-00000.parquet"))
        dataset.rename_column("image", "img").to_parquet(tmp_path / f"{name}.parquet")
    train, test = load_images(DataArguments(str(tmp_path)), seed=0)
    assert "image" in train.column_names and "image" in test.column_names
    dataset = dataset.remove_columns("image")
    for name in ("train", "test"):
        dataset.to_parquet(tmp_path / f"{name}.parquet")
    with pytest.raises(ValueError, match=r"`image_column`: .* has no column 'image'"):
        load_images(DataArguments(str(tmp_path)), seed=0)

"""The image classification recipes run as documented: training, retraining, unlearning."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest
import torch
from datasets import concatenate_datasets
from transformers import AutoModelForImageClassification

from hf_invwnn.cli.parser import parse_yaml_and_flags
from hf_invwnn.image_classification import (
    DataArguments,
    ModelArguments,
    ScenarioArguments,
    digit_images,
    load_classifier,
    load_images,
    make_model,
    make_splits,
)
from hf_invwnn.scenarios import SCENARIOS


ROOT = Path(__file__).parents[2]
RECIPES = ROOT / "recipes" / "image_classification"


def launch(recipe: str, *flags: str, config: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "accelerate.commands.launch", str(RECIPES / recipe)]
    words = ["--config", str(RECIPES / "configs" / config), *flags]
    return subprocess.run([*command, *words], capture_output=True, text=True, cwd=ROOT, timeout=300)


@pytest.mark.slow
def test_train_retrain_and_unlearn_from_the_configurations(tmp_path: Path) -> None:
    original, retrained, splits, unlearned = (
        str(tmp_path / name) for name in ("original", "retrained", "splits", "unlearned")
    )
    for output_dir, train_on in ((original, "train"), (retrained, "retain")):
        ended = launch(
            "train.py",
            *("--output_dir", output_dir, "--splits_dir", splits, "--train_on", train_on, "--num_train_epochs", "1"),
            config="digits_vit_train.yaml",
        )
        assert ended.returncode == 0, ended.stderr
    ended = launch(
        "unlearn.py",
        *("--model", original, "--retrained", retrained, "--splits_dir", splits, "--output_dir", unlearned),
        *("--num_rewinds", "1", "--snapshot_strategy", "steps", "--recovery_steps", "4"),
        config="digits_vit_unlearn.yaml",
    )
    assert ended.returncode == 0, ended.stderr
    assert not list(Path(original).glob("*split*")) and not list(Path(unlearned).glob("*split*"))
    results = json.loads((tmp_path / "unlearned" / "results.json").read_text())
    for name in ("original", "unlearned", "retrained"):
        assert {"RA", "UA", "TA", "MIA"} <= results[name].keys()
    assert results["unlearned"]["seconds"] > 0 and "distance" in results
    assert results["splits"]["counts"]["forget"] == 208
    assert (tmp_path / "unlearned" / "curves.png").exists()
    assert (tmp_path / "unlearned" / "results.md").read_text().count("\n") == 5
    private = {path.name for path in (tmp_path / "unlearned" / "_private").iterdir()}
    assert private >= {"original", "retrained", "splits", "per_example.parquet"}
    AutoModelForImageClassification.from_pretrained(unlearned)


# ---- Functions of the recipes, in this process ----


@pytest.fixture
def train(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(RECIPES))
    return import_module("train")


@pytest.fixture
def recipe(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(RECIPES))
    return import_module("recipe")


def test_a_model_that_was_saved_in_16_bits_is_trained_and_unlearned_in_float32(tmp_path: Path) -> None:
    """By default `from_pretrained` uses the dtype of the file, in which short steps are rounded away."""
    args = ModelArguments("vit", TINY_VIT, 8)
    processor, model = make_model(args, 10)
    model.bfloat16().save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    assert next(AutoModelForImageClassification.from_pretrained(tmp_path).parameters()).dtype == torch.bfloat16
    _, trained_further = make_model(ModelArguments(str(tmp_path)), 10)
    for loaded in (trained_further, load_classifier(tmp_path)[0]):
        assert {parameter.dtype for parameter in loaded.parameters()} == {torch.float32}


TINY_VIT = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
TINY_VIT |= {"image_size": 8, "patch_size": 4}
SETTINGS = {"class_removal": {"label": 3}, "given_indices": {"indices": [5, 2, 9]}}


@pytest.mark.parametrize("scenario", sorted(SCENARIOS))
def test_every_scenario_makes_splits(train: ModuleType, tmp_path: Path, scenario: str) -> None:
    """All scenarios but one take a seed."""
    arguments = (DataArguments(), ScenarioArguments(scenario, SETTINGS.get(scenario)))
    folder = str(tmp_path / "splits")
    splits = train.get_splits(*arguments, train.RecipeArguments(folder), seed=3)
    assert splits.scenario == scenario and len(splits.forget) > 0
    splits.save_to_disk(folder)
    assert train.get_splits(*arguments, train.RecipeArguments(folder, "retain"), seed=3).sha256 == splits.sha256
    with pytest.raises(SystemExit, match=r"--splits_dir: .* exists already"):
        train.get_splits(*arguments, train.RecipeArguments(folder), seed=3)


def test_an_unknown_setting_of_a_scenario_is_refused(train: ModuleType, tmp_path: Path) -> None:
    arguments = (DataArguments(), ScenarioArguments("class_removal", {"classes": [3]}))
    with pytest.raises(SystemExit, match=r"`scenario_settings`: class_removal takes label, .*; got \['classes'\]"):
        train.get_splits(*arguments, train.RecipeArguments(str(tmp_path / "splits")), seed=3)


def test_a_model_of_other_splits_is_refused(recipe: ModuleType, tmp_path: Path) -> None:
    """A comparison with a model that was retrained on other splits would be meaningless."""
    mine, other = (make_splits(DataArguments(), ScenarioArguments(), seed=seed) for seed in (0, 1))
    recipe.write_trained_on(str(tmp_path), "retain", mine)
    recipe.check_trained_on("retrained", str(tmp_path), "retain", mine)
    with pytest.raises(SystemExit, match=r"--retrained: .* does not fit the splits; .* sha256"):
        recipe.check_trained_on("retrained", str(tmp_path), "retain", other)
    with pytest.raises(SystemExit, match=r"--model: .* train_on retain for train"):
        recipe.check_trained_on("model", str(tmp_path), "train", mine)


def test_retraining_needs_the_splits_of_the_first_training(train: ModuleType, tmp_path: Path) -> None:
    arguments = train.RecipeArguments(splits_dir=str(tmp_path / "none"), train_on="retain")
    with pytest.raises(SystemExit, match=r"--splits_dir: .* Train on everything first"):
        train.get_splits(DataArguments(), ScenarioArguments(), arguments, seed=0)


def test_a_missing_folder_is_not_taken_for_a_hub_id(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"`dataset`: there is no folder"):
        load_images(DataArguments(dataset=str(tmp_path / "cifar10")), seed=0)


def write_parquet(folder: Path, *columns: str) -> DataArguments:
    """The digits as parquet files, with their images in each of the columns."""
    for split, images in zip(("train", "test"), digit_images(), strict=True):
        copies = [images.select_columns("image").rename_column("image", name) for name in columns]
        concatenate_datasets([*copies, images.select_columns("label")], axis=1).to_parquet(folder / f"{split}.parquet")
    return DataArguments(dataset=str(folder), image_column="img")


def test_the_only_image_column_of_a_local_copy_is_renamed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """`image_column: img` of a Hub data set also works for a local copy with another column name."""
    arguments = write_parquet(tmp_path, "picture")
    with caplog.at_level("INFO", logger="hf_invwnn"):
        train, test = load_images(arguments, seed=0)
    assert train.column_names == test.column_names == ["img", "label"]
    assert train[0]["img"].size == (8, 8)
    assert "has no column 'img'; its images are in 'picture'" in caplog.text
    splits = make_splits(arguments, ScenarioArguments("badnets", {"target": 0}), seed=0)
    assert "img" in splits.forget.column_names


def test_an_image_column_is_not_guessed_among_two(tmp_path: Path) -> None:
    arguments = write_parquet(tmp_path, "left", "right")
    with pytest.raises(ValueError, match=r"`image_column`: .* no column 'img'; its columns are left, right, label"):
        load_images(arguments, seed=0)


@pytest.mark.parametrize("words", [["--config", "{}"], ["--config={}"]], ids=["space", "equals"])
def test_flags_win_over_the_file(
    train: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    config = tmp_path / "run.yaml"
    config.write_text("scenario: class_removal\nsplits_dir: somewhere\ndataset: uoft-cs/cifar10\n")
    flags = ["--splits_dir", "elsewhere", "--dataset", "folder", *(word.format(config) for word in words)]
    monkeypatch.setattr(sys, "argv", ["train.py", *flags])
    data, scenario, recipe = parse_yaml_and_flags((DataArguments, ScenarioArguments, train.RecipeArguments), "")
    assert (data.dataset, scenario.scenario, recipe.splits_dir) == ("folder", "class_removal", "elsewhere")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("learning_rat: 0.1\n", "unknown keys: learning_rat"),
        ("- a\n- b\n", "must hold `name: value` lines"),
        ("a: [", "is not YAML"),
    ],
)
def test_a_broken_configuration_is_an_error(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    text: str,
    message: str,
) -> None:
    config = tmp_path / "broken.yaml"
    config.write_text(text)
    monkeypatch.setattr(sys, "argv", ["train.py", "--config", str(config)])
    with pytest.raises(SystemExit):
        parse_yaml_and_flags((ScenarioArguments,), "")
    assert message in capsys.readouterr().err

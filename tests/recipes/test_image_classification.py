"""The recipes run as their docstrings say, from training over unlearning to the table."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest
import torch
from transformers import AutoModelForImageClassification

from hf_invwnn.cli.parser import parse_yaml_and_flags
from hf_invwnn.image_classification import (
    DataArguments,
    ModelArguments,
    ScenarioArguments,
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


def test_train_retrain_and_unlearn_from_the_configurations(tmp_path: Path) -> None:
    pretrained, retrained, splits, unlearned = (
        str(tmp_path / name) for name in ("pretrained", "retrained", "splits", "unlearned")
    )
    for output_dir, train_dataset in ((pretrained, "train"), (retrained, "retain")):
        ended = launch(
            "train.py",
            *("--output_dir", output_dir, "--splits_dir", splits, "--train_dataset", train_dataset, "--num_train_epochs", "1"),
            config="digits_vit_train.yaml",
        )
        assert ended.returncode == 0, ended.stderr
    ended = launch(
        "unlearn.py",
        *("--model", pretrained, "--retrained", retrained, "--splits_dir", splits, "--output_dir", unlearned),
        *("--num_rewinds", "1", "--snapshot_strategy", "steps"),
        config="digits_vit_unlearn.yaml",
    )
    assert ended.returncode == 0, ended.stderr
    assert not list(Path(pretrained).glob("*split*")) and not list(Path(unlearned).glob("*split*"))
    results = json.loads((tmp_path / "unlearned" / "results.json").read_text())
    assert {"RA", "UA", "TA", "MIA"} <= results["unlearned"].keys()
    assert results["splits"]["counts"]["forget"] == 208
    assert (tmp_path / "unlearned" / "curves.png").exists()
    AutoModelForImageClassification.from_pretrained(unlearned)


# ---- The pieces, without a process of their own ----


@pytest.fixture
def train(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(RECIPES))
    return import_module("train")


@pytest.fixture
def recipe(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(RECIPES))
    return import_module("recipe")


@pytest.fixture
def unlearn(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(RECIPES))
    return import_module("unlearn")


def test_a_model_that_was_saved_in_16_bits_is_trained_and_unlearned_in_float32(
    unlearn: ModuleType, tmp_path: Path
) -> None:
    """Left to itself, `from_pretrained` takes the dtype of the file, in which short steps are rounded away."""
    args = ModelArguments("vit", TINY_VIT, 8)
    processor, model = make_model(args, 10)
    model.bfloat16().save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    assert next(AutoModelForImageClassification.from_pretrained(tmp_path).parameters()).dtype == torch.bfloat16
    _, trained_further = make_model(ModelArguments(str(tmp_path)), 10)
    for loaded in (trained_further, unlearn.load_model(str(tmp_path))):
        assert {parameter.dtype for parameter in loaded.parameters()} == {torch.float32}


TINY_VIT = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
TINY_VIT |= {"image_size": 8, "patch_size": 4}
SETTINGS = {"class_removal": {"label": 3}, "given_indices": {"indices": [5, 2, 9]}}


@pytest.mark.parametrize("scenario", sorted(SCENARIOS))
def test_every_scenario_can_be_asked_for(train: ModuleType, tmp_path: Path, scenario: str) -> None:
    """Some draw and take a seed, one does not."""
    asked = (DataArguments(), ScenarioArguments(scenario, SETTINGS.get(scenario)))
    folder = str(tmp_path / "splits")
    splits = train.get_splits(*asked, train.RecipeArguments(folder), seed=3)
    assert splits.scenario == scenario and len(splits.forget) > 0
    splits.save_to_disk(folder)
    assert train.get_splits(*asked, train.RecipeArguments(folder, "retain"), seed=3).sha256 == splits.sha256
    with pytest.raises(SystemExit, match=r"--splits_dir: .* exists already"):
        train.get_splits(*asked, train.RecipeArguments(folder), seed=3)


def test_a_setting_that_a_scenario_does_not_take(train: ModuleType, tmp_path: Path) -> None:
    asked = (DataArguments(), ScenarioArguments("class_removal", {"classes": [3]}))
    with pytest.raises(SystemExit, match=r"`scenario_settings`: class_removal takes label, .*; got \['classes'\]"):
        train.get_splits(*asked, train.RecipeArguments(str(tmp_path / "splits")), seed=3)


def test_a_model_of_other_splits_is_refused(recipe: ModuleType, tmp_path: Path) -> None:
    """A comparison with the twin of another split would be a table of nonsense."""
    mine, other = (make_splits(DataArguments(), ScenarioArguments(), seed=seed) for seed in (0, 1))
    recipe.write_trained_on(str(tmp_path), "retain", mine)
    recipe.check_trained_on("retrained", str(tmp_path), "retain", mine)
    with pytest.raises(SystemExit, match=r"--retrained: .* does not fit the splits; .* sha256"):
        recipe.check_trained_on("retrained", str(tmp_path), "retain", other)
    with pytest.raises(SystemExit, match=r"--model: .* train_dataset retain for train"):
        recipe.check_trained_on("model", str(tmp_path), "train", mine)


def test_retraining_needs_the_splits_of_the_first_training(train: ModuleType, tmp_path: Path) -> None:
    asked = train.RecipeArguments(splits_dir=str(tmp_path / "none"), train_dataset="retain")
    with pytest.raises(SystemExit, match=r"--splits_dir: .* Train on everything first"):
        train.get_splits(DataArguments(), ScenarioArguments(), asked, seed=0)


def test_a_folder_that_is_not_there_is_not_looked_for_on_the_hub(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"`dataset`: there is no folder"):
        load_images(DataArguments(dataset=str(tmp_path / "cifar10")), seed=0)


@pytest.mark.parametrize("words", [["--config", "{}"], ["--config={}"]], ids=["space", "equals"])
def test_flags_win_over_the_file(
    train: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    config = tmp_path / "run.yaml"
    config.write_text("scenario: class_removal\nsplits_dir: somewhere\n")
    given = [word.format(config) for word in words]
    monkeypatch.setattr(sys, "argv", ["train.py", "--splits_dir", "elsewhere", *given])
    scenario, asked = parse_yaml_and_flags((ScenarioArguments, train.RecipeArguments), "")
    assert (scenario.scenario, asked.splits_dir) == ("class_removal", "elsewhere")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("learning_rat: 0.1\n", "unknown keys: learning_rat"),
        ("- a\n- b\n", "must hold `name: value` lines"),
        ("a: [", "is no YAML"),
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

"""The recipes run as their docstrings say, from training over unlearning to the table."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from transformers import AutoModelForImageClassification


ROOT = Path(__file__).parents[2]
RECIPES = ROOT / "recipes" / "image_classification"


def launch(recipe: str, *flags: str, config: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "accelerate.commands.launch", str(RECIPES / recipe)]
    words = ["--config", str(RECIPES / "configs" / config), *flags]
    return subprocess.run([*command, *words], capture_output=True, text=True, cwd=ROOT, timeout=300)


def test_train_retrain_and_unlearn_from_the_configurations(tmp_path: Path) -> None:
    pretrained, splits, unlearned = (str(tmp_path / name) for name in ("pretrained", "splits", "unlearned"))
    ended = launch(
        "train.py",
        *("--output_dir", pretrained, "--splits_dir", splits, "--num_train_epochs", "1"),
        config="digits_vit_train.yaml",
    )
    assert ended.returncode == 0, ended.stderr
    ended = launch(
        "unlearn.py",
        *("--model", pretrained, "--retrained", pretrained, "--splits_dir", splits, "--output_dir", unlearned),
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


@pytest.mark.parametrize("recipe", ["train.py", "unlearn.py"])
def test_an_unknown_key_in_a_configuration_is_an_error(recipe: str, tmp_path: Path) -> None:
    config = tmp_path / "typo.yaml"
    config.write_text("learning_rat: 0.1\n")
    ended = subprocess.run(
        [sys.executable, str(RECIPES / recipe), "--config", str(config)], capture_output=True, text=True, timeout=300
    )
    assert ended.returncode != 0 and "unknown keys: learning_rat" in ended.stderr

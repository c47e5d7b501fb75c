"""The recipes of `recipes/ddpm` run as their docstrings say, from training to the comparison, on the 8 x 8 digits."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml

from hf_invwnn.diffusion import load_pipeline


pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
RECIPES = ROOT / "recipes" / "ddpm"


def launch(recipe: str, *arguments: str, cwd: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, str(RECIPES / recipe), *arguments]
    process = subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=300, env=environment)
    assert process.returncode == 0, process.stderr


def settings(name: str) -> dict[str, Any]:
    return yaml.safe_load((RECIPES / "configs" / name).read_text())


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a briefly trained pipeline and classifier in `outputs`."""
    folder = tmp_path_factory.mktemp("ddpm")
    short = {"train": ("--max_steps", "20"), "classifier": ("--num_train_epochs", "1")}
    for name, recipe in (("train", "train.py"), ("classifier", "train_classifier.py")):
        launch(recipe, "--config", str(RECIPES / "configs" / f"digits_{name}.yaml"), *short[name], cwd=folder)
    return folder


def test_a_trained_pipeline_has_its_average_and_a_classifier_its_accuracy(trained: Path) -> None:
    assert load_pipeline(trained / "outputs" / "ddpm" / "digits" / "pipeline").trained is not None
    metrics = json.loads((trained / "outputs" / "ddpm" / "digits" / "classifier" / "eval_results.json").read_text())
    assert metrics["eval_accuracy"] > 0.2


def test_unlearning_writes_pipeline_results_and_plots(trained: Path) -> None:
    few = ("--num_images", "100", "--num_inference_steps", "2", "--num_rewinds", "1", "--recovery_steps", "4")
    launch("unlearn.py", "--config", str(RECIPES / "configs" / "digits_unlearn.yaml"), *few, cwd=trained)
    folder = trained / "outputs" / "ddpm" / "digits" / "unlearned"
    assert json.loads((folder / "results.json").read_text())["unlearned"]["kid"] is not None
    assert load_pipeline(folder).trained is not None
    assert (folder / "generated.png").exists() and (folder / "curves.png").exists()


def test_a_comparison_chooses_settings_and_repeats_no_run(trained: Path, tmp_path: Path) -> None:
    config = settings("digits_compare.yaml")
    config["forget"]["max_forget_ratio"] = 99.0  # every setting reaches it in the first round
    for stage in ("sweep", "final", "fresh"):
        config[stage] |= {"num_images": 20, "num_inference_steps": 2, "kid_subset_size": 10}
    rates = {"learning_rate": [1e-4, 1e-3], "recovery_steps": [0]}
    samples = {"count": 8, "num_inference_steps": 2}
    recovery = {"learning_rate": [1e-3], "recovery_steps": [2], "own_samples": [samples]}
    config["rows"] = {
        "InvWNN": {"method": "invwnn", **rates},
        "InvWNN with recovery": {"method": "invwnn", **recovery},
        "NegGrad": {"method": "neg_grad", **rates},
    }
    config["seeds"] = [0, 1]
    path = tmp_path / "compare.yaml"
    path.write_text(yaml.safe_dump(config))
    folder = trained / "outputs" / "ddpm" / "digits" / "compare"
    launch("compare.py", "--config", str(path), "--sweep_only", cwd=trained)
    assert not (folder / "comparison.md").exists()
    launch("compare.py", "--config", str(path), cwd=trained)
    first = (folder / "results.json").read_text()
    launch("compare.py", "--config", str(path), cwd=trained)
    assert (folder / "results.json").read_text() == first
    table = (folder / "comparison.md").read_text()
    assert "| InvWNN | 2 |" in table and "| NegGrad | 2 |" in table and "| InvWNN with recovery | 1 |" in table
    runs = [key for key in json.loads(first) if key != "original"]
    assert sorted(json.loads(key)[0] for key in runs) == ["final"] * 6 + ["sweep"] * 4  # one row has nothing to choose
    for name in ("comparison.json", "curves.png", "generated.png", "unlearned/InvWNN_1/model_index.json"):
        assert (folder / name).exists()


def test_the_page_shows_the_recorded_results(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(RECIPES)
    page = (RECIPES / "README.md").read_text()
    recorded = json.loads((RECIPES / "results" / "mnist16.json").read_text())
    assert all(len(seeds) == 3 for seeds in recorded["finals"].values())
    parts = import_module("comparison_report").report(**recorded).split("\n\n")
    tables = [part for part in parts if part.startswith("| method")]
    assert len(tables) == 2 and all(table.strip() in page for table in tables)

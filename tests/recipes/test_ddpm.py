"""The diffusion recipes run as they say: a pipeline, a judge, a digit forgotten, three methods compared."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from diffusers import DDPMPipeline
from PIL import Image


ROOT = Path(__file__).parents[2]
RECIPES = ROOT / "recipes" / "ddpm"


def launch(monkeypatch: pytest.MonkeyPatch, recipe: str, config: Path, *flags: str) -> None:
    """What a command line does, without the seconds that another process takes for its imports."""
    monkeypatch.setattr(sys, "argv", [recipe, "--config", str(config), *flags])
    runpy.run_path(str(RECIPES / recipe), run_name="__main__")


def test_a_digit_is_learned_judged_forgotten_and_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With far fewer steps than the configurations ask for: what is tested is that each step finds the one before."""
    monkeypatch.chdir(tmp_path)
    configs = RECIPES / "configs"
    launch(monkeypatch, "train.py", configs / "digits_train.yaml", "--max_steps", "300", "--use_cpu", "true")
    pipeline = DDPMPipeline.from_pretrained("outputs/ddpm/digits/pipeline")
    assert pipeline.unet.config.sample_size == 8
    launch(
        monkeypatch, "train_classifier.py", configs / "digits_classifier.yaml",
        *("--num_train_epochs", "3", "--use_cpu", "true"),
    )  # fmt: skip
    accuracy = json.loads(Path("outputs/ddpm/digits/classifier/eval_results.json").read_text())["eval_accuracy"]
    assert accuracy > 0.8

    launch(
        monkeypatch, "unlearn.py", configs / "digits_unlearn.yaml",
        *("--num_rewinds", "2", "--max_forget_ratio", "0", "--use_cpu", "true"),
    )  # fmt: skip
    unlearned = DDPMPipeline.from_pretrained("outputs/ddpm/digits/unlearned")
    before, after = (pipe.unet.state_dict() for pipe in (pipeline, unlearned))
    assert not any(torch.equal(after[name], value) for name, value in before.items())
    results = json.loads(Path("outputs/ddpm/digits/unlearned/results.json").read_text())
    assert results["history"][0]["rewind"] == 0

    settings: dict[str, Any] = yaml.safe_load((configs / "digits_compare.yaml").read_text())
    # A goal that every method has reached, however raw the model; what is tested is the way to the table.
    settings["forget"]["max_forget_ratio"] = 99.0
    settings["unlearning"]["use_cpu"] = True
    for grid in settings["methods"].values():
        grid["num_rewinds"] = [1]
    Path("compare.yaml").write_text(yaml.safe_dump(settings))
    launch(monkeypatch, "compare.py", Path("compare.yaml"))
    folder = Path("outputs/ddpm/digits/compare")
    table = (folder / "comparison.md").read_text()
    for method in ("before", "InvWNN", "Task Vector", "NegGrad"):
        assert f"| {method} |" in table
    for picture in ("curves.png", "generated.png"):
        assert Image.open(folder / picture).width > 500
    written = (folder / "results.json").stat().st_mtime_ns
    launch(monkeypatch, "compare.py", Path("compare.yaml"))
    assert (folder / "results.json").stat().st_mtime_ns == written, "what has run is not run again"


@pytest.mark.parametrize("name", ["digits", "mnist16", "mnist28"])
def test_the_steps_of_every_size_are_configured_alike(name: str) -> None:
    """Each step looks for the files of the one before where that puts them."""
    read = {
        step: yaml.safe_load((RECIPES / "configs" / f"{name}_{step}.yaml").read_text())
        for step in ("train", "classifier", "unlearn", "compare")
    }
    assert read["unlearn"]["pipeline"] == read["compare"]["forget"]["pipeline"] == read["train"]["pipeline_dir"]
    judge = read["classifier"]["output_dir"]
    assert read["unlearn"]["classifier"] == read["compare"]["forget"]["classifier"] == judge
    assert read["classifier"]["generated_size"] == read["train"]["image_size"]
    assert set(read["compare"]["methods"]) == {"invwnn", "task_vector", "neg_grad"}

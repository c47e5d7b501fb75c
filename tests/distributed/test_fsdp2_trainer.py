"""FSDP2 through the Trainer: checkpoints, a resumed run, the saved model. accelerate shards on accelerators only."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import build_model
from safetensors.torch import load_file
from transformers import AutoModelForImageClassification


pytestmark = [
    pytest.mark.slow,
    pytest.mark.distributed,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="accelerate shards a model on accelerators only"),
]

CONFIG = Path(__file__).parents[2] / "recipes" / "accelerate_configs" / "fsdp2.yaml"
SCRIPT = Path(__file__).with_name("fsdp2_script.py")
# Two rewinds of 6 steps, and 4 steps of recovery.
OPTIONS: dict[str, Any] = {"recovery_steps": 4, "save_strategy": "steps", "save_steps": 3}


def launch(folder: Path, options: dict[str, Any], resume: bool = False, sharded: bool = True) -> dict[str, Any]:
    """The run by the shipped configuration, without its bfloat16 so that results can be compared, or by one GPU."""
    folder.mkdir(exist_ok=True)
    processes = min(2, torch.cuda.device_count()) if sharded else 1
    options = {**options, "per_device_train_batch_size": 8 // processes}
    words = [str(SCRIPT), str(folder), json.dumps(options), "resume" if resume else "begin"]
    if sharded:
        launcher = ["-m", "accelerate.commands.launch", "--config_file", str(CONFIG)]
        # By default accelerate wraps the embeddings of a ViT and then a part of them again, which fails.
        options_of_launch = ["--mixed_precision", "no", "--fsdp_transformer_layer_cls_to_wrap", "ViTLayer"]
        words = [*launcher, "--num_processes", str(processes), *options_of_launch, *words]
    environment = {**os.environ, "PYTHONPATH": str(SCRIPT.parents[1])}
    result = subprocess.run([sys.executable, *words], capture_output=True, text=True, timeout=200, env=environment)
    assert result.returncode == 0, result.stderr[-4000:]
    facts: dict[str, Any] = json.loads((folder / "facts.json").read_text())
    return facts


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, torch.Tensor]]:
    """An uninterrupted run."""
    folder = tmp_path_factory.mktemp("whole")
    assert launch(folder, OPTIONS)["layout"] == "sharded"
    return folder, load_file(folder / "weights.safetensors")


def test_the_saved_model_is_whole_and_loads_in_transformers(whole: tuple[Path, dict[str, torch.Tensor]]) -> None:
    folder, weights = whole
    model = AutoModelForImageClassification.from_pretrained(folder / "saved")
    assert {name: value.shape for name, value in model.state_dict().items()} == {
        name: value.shape for name, value in weights.items()
    }
    for name, value in model.state_dict().items():
        assert torch.equal(value, weights[name]), name
    assert (folder / "saved" / "unlearning.json").exists()


def test_a_sharded_run_ends_where_one_on_a_single_device_ends(
    whole: tuple[Path, dict[str, torch.Tensor]], tmp_path: Path
) -> None:
    assert launch(tmp_path, OPTIONS, sharded=False)["layout"] == "single"
    single, start = load_file(tmp_path / "weights.safetensors"), build_model("vit").state_dict()
    for name, weights in whole[1].items():
        assert (weights - single[name]).norm() <= 1e-3 * (single[name] - start[name]).norm() + 1e-5, name


@pytest.mark.parametrize("step", [7, 14], ids=["rewinding", "recovering"])
def test_a_sharded_run_goes_on_from_its_checkpoint(
    whole: tuple[Path, dict[str, torch.Tensor]], tmp_path: Path, step: int
) -> None:
    """Ended after a step by a callback, and resumed from the checkpoint before it."""
    launch(tmp_path, {**OPTIONS, "stop_at": step})
    launch(tmp_path, OPTIONS, resume=True)
    resumed, start = load_file(tmp_path / "weights.safetensors"), build_model("vit").state_dict()
    for name, weights in whole[1].items():
        moved = (weights - start[name]).norm()
        assert (resumed[name] - weights).norm() <= 1e-4 * moved + 1e-6, name

"""ZeRO-2 with DeepSpeed itself, where it is installed: what DDP does, bit for bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import workers
from helpers import build_model
from processes import run
from safetensors.torch import load_file


pytest.importorskip("deepspeed", reason="`pip install deepspeed` to test ZeRO-2; nothing here can stand in for it")

# SGD is none of the optimizers that ZeRO divides.
ADAM: dict[str, Any] = {"learning_rate": 1e-3, "optim": "adamw_torch", "max_grad_norm": 0.0}
ZERO2: dict[str, Any] = {
    "zero_optimization": {"stage": 2},
    "train_micro_batch_size_per_gpu": "auto",
    "gradient_accumulation_steps": "auto",
    "gradient_clipping": "auto",
}


def trained(folder: Path, world: int, **options: Any) -> list[dict[str, torch.Tensor]]:
    run(workers.train_and_save, (folder, world, "vit", {**ADAM, **options}), world, folder)
    return [load_file(folder / f"weights_{rank}.safetensors") for rank in range(world)]


def assert_same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> None:
    assert first.keys() == second.keys()
    assert [name for name in first if not torch.equal(first[name], second[name])] == []


def test_zero_2_ends_with_the_weights_of_plain_training(tmp_path: Path) -> None:
    """Its float32 copies would undo both rewinds if they were not told of them."""
    for found, expected in zip(
        trained(tmp_path / "zero", 2, deepspeed=ZERO2), trained(tmp_path / "plain", 2), strict=True
    ):
        assert_same(found, expected)


def test_bfloat16_by_autocast_is_that_of_the_trainer(tmp_path: Path) -> None:
    """As recipes/accelerate_configs/zero2.json has it; the weights, and so the trajectory, stay in float32."""
    (plain,) = trained(tmp_path / "plain", 1, bf16=True)
    autocast = {**ZERO2, "torch_autocast": {"enabled": True, "dtype": "bfloat16"}}
    (divided,) = trained(tmp_path / "zero", 1, deepspeed=autocast)
    start = build_model("vit").state_dict()
    for name, found in divided.items():
        assert found.dtype == torch.float32, name
        # Of the order of a sum of gradients; what a key's bias gets is nothing but that.
        assert (found - plain[name]).norm() <= 1e-4 * (plain[name] - start[name]).norm() + 1e-5, name


def test_a_checkpoint_of_zero_2_resumes_to_the_same_weights(tmp_path: Path) -> None:
    whole = trained(tmp_path / "whole", 2, deepspeed=ZERO2)
    options = {**ADAM, "deepspeed": ZERO2}
    saving = {"save_strategy": "steps", "save_steps": 10, "max_forget_steps": 12}
    trained(tmp_path / "parted", 2, deepspeed=ZERO2, **saving)
    run(workers.train_and_save, (tmp_path / "parted", 2, "vit", options, True), 2, tmp_path / "parted")
    for rank, expected in enumerate(whole):
        assert_same(load_file(tmp_path / "parted" / f"weights_{rank}.safetensors"), expected)

"""ZeRO-2 gives bit-identical weights to DDP. Needs DeepSpeed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import workers
from helpers import build_model
from processes import run
from safetensors.torch import load_file


pytestmark = [pytest.mark.slow, pytest.mark.distributed]

pytest.importorskip("deepspeed", reason="ZeRO-2 is tested with DeepSpeed itself: `pip install deepspeed`")

# ZeRO does not partition the state of SGD.
ADAM: dict[str, Any] = {"learning_rate": 1e-3, "optim": "adamw_torch", "max_grad_norm": 0.0}
ZERO2: dict[str, Any] = {
    "zero_optimization": {"stage": 2},
    "train_micro_batch_size_per_gpu": "auto",
    "gradient_accumulation_steps": "auto",
    "gradient_clipping": "auto",
}


def train(folder: Path, world: int, **options: Any) -> list[dict[str, torch.Tensor]]:
    """Trains in `world` processes; returns the weights that each ends with."""
    run(workers.train_and_save, (folder, world, "vit", {**ADAM, **options}), world, folder)
    return [load_file(folder / f"weights_{rank}.safetensors") for rank in range(world)]


def assert_same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> None:
    assert first.keys() == second.keys()
    assert [name for name in first if not torch.equal(first[name], second[name])] == []


def test_zero_2_equals_ddp_bitwise(tmp_path: Path) -> None:
    """Without a copy into DeepSpeed's float32 master weights, its next step would undo each rewind."""
    zero, ddp = train(tmp_path / "zero", 2, deepspeed=ZERO2), train(tmp_path / "ddp", 2)
    for weights, expected in zip(zero, ddp, strict=True):
        assert_same(weights, expected)


def test_bfloat16_autocast_of_deepspeed_equals_that_of_the_trainer(tmp_path: Path) -> None:
    """The setting of recipes/accelerate_configs/zero2.json; weights and trajectory stay in float32."""
    (plain,) = train(tmp_path / "plain", 1, bf16=True)
    autocast = {**ZERO2, "torch_autocast": {"enabled": True, "dtype": "bfloat16"}}
    (zero,) = train(tmp_path / "zero", 1, deepspeed=autocast)
    start = build_model("vit").state_dict()
    for name, weights in zero.items():
        assert weights.dtype == torch.float32, name
        # The rounding of a sum of gradients; the true gradient of the bias of a key is 0, so it has nothing else.
        assert (weights - plain[name]).norm() <= 1e-4 * (plain[name] - start[name]).norm() + 1e-5, name


def test_a_run_resumed_from_a_checkpoint_of_zero_2_ends_with_the_same_weights(tmp_path: Path) -> None:
    whole = train(tmp_path / "whole", 2, deepspeed=ZERO2)
    options = {**ADAM, "deepspeed": ZERO2}
    saving = {"save_strategy": "steps", "save_steps": 10, "max_forget_steps": 12}
    train(tmp_path / "resumed", 2, deepspeed=ZERO2, **saving)
    run(workers.train_and_save, (tmp_path / "resumed", 2, "vit", options, True), 2, tmp_path / "resumed")
    for rank, expected in enumerate(whole):
        assert_same(load_file(tmp_path / "resumed" / f"weights_{rank}.safetensors"), expected)


def test_the_shipped_configuration_works_in_two_processes(tmp_path: Path) -> None:
    """Both end with the same bits, and near a single process: under bfloat16 a sum of two halves rounds otherwise."""
    shipped = json.loads((Path(__file__).parents[2] / "recipes" / "accelerate_configs" / "zero2.json").read_text())
    first, second = train(tmp_path / "two", 2, deepspeed=shipped)
    assert_same(first, second)
    (single,) = train(tmp_path / "one", 1, deepspeed=shipped)
    start = build_model("vit").state_dict()
    assert all(weights.dtype == torch.float32 for weights in first.values())
    # Adam makes whole steps of the rounding of a gradient whose true value is 0, so tensors are compared together.
    moved, apart = (
        torch.cat([(one[name] - other[name]).flatten() for name in start]).norm()
        for one, other in ((single, start), (first, single))
    )
    assert apart < 0.2 * moved

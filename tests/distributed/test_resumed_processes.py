"""What two processes hold in addition to one: random states, shards, adapters; and what is left if a run fails."""

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
from test_processes import SGD, final_weights, same, train

from hf_invwnn.trainer.checkpoint_files import check_checkpoint


pytestmark = [pytest.mark.slow, pytest.mark.distributed]

ADAM: dict[str, Any] = {"optim": "adamw_torch", "learning_rate": 1e-3, "train_sampling_strategy": "random"}
INTERRUPTED = {"save_strategy": "steps", "save_steps": 10, "max_forget_steps": 12}


def resumed_equals_whole(folder: Path, world: int, architecture: str, options: dict[str, Any]) -> None:
    """Stops after the first round, resumes from a checkpoint within it, and compares with an uninterrupted run."""
    whole = train(folder / "whole", world, architecture, **options)
    train(folder / "part", world, architecture, **{**options, **INTERRUPTED})
    arguments = (folder / "part", world, architecture, {**SGD, **options}, True)
    run(workers.train_and_save, arguments, world, folder / "part")
    for weights, expected in zip(final_weights(folder / "part", world), whole, strict=True):
        assert same(weights, expected)


def test_the_random_state_of_every_process_is_restored(tmp_path: Path) -> None:
    """With dropout and a random order, Adam and two processes: bit for bit."""
    resumed_equals_whole(tmp_path, 2, "bert", ADAM)


@pytest.mark.parametrize("world", [1, 2])
def test_a_run_of_an_adapter_resumes_bit_for_bit(tmp_path: Path, world: int) -> None:
    resumed_equals_whole(tmp_path, world, "bert", {**ADAM, "adapter": True})


def test_every_process_saves_and_restores_its_shard(tmp_path: Path) -> None:
    run(workers.save_and_load_shards, (tmp_path, 2), 2, tmp_path)
    trained = [load_file(tmp_path / f"trained_{rank}.safetensors") for rank in range(2)]
    assert same(trained[0], trained[1])
    for weights in final_weights(tmp_path, 2):
        assert same(weights, trained[0])
    state = json.loads((tmp_path / "checkpoint-9" / "unlearning_state.json").read_text())
    assert (state["layout"], state["world"]) == ("sharded", 2)
    shards = [load_file(tmp_path / "checkpoint-9" / f"unlearning_state_{rank}.safetensors") for rank in range(2)]
    for name, value in trained[0].items():
        sizes = [shard[f"last_good.{name}"].numel() if f"last_good.{name}" in shard else 0 for shard in shards]
        assert sum(sizes) == value.numel(), name


@pytest.mark.parametrize("architecture", ["convnext", "pvt_v2"])
def test_other_architectures_in_two_processes_equal_one(tmp_path: Path, architecture: str) -> None:
    """Two processes sum gradients in another order: 1e-4 of how far a tensor moved, and 1e-6 of its norm."""
    options = {"learning_rate": 0.1}
    (single,) = train(tmp_path / "one", 1, architecture, **options)
    first, second = train(tmp_path / "two", 2, architecture, **options)
    assert same(first, second)
    assert_near(first, single, build_model(architecture).state_dict())


def test_a_pipeline_in_two_processes_equals_one(tmp_path: Path) -> None:
    for world in (1, 2):
        run(workers.train_diffusion, (tmp_path / str(world), world), world, tmp_path / str(world))
    (single,), (first, second) = (final_weights(tmp_path / str(world), world) for world in (1, 2))
    assert same(first, second)
    assert_near(first, single, None)


def assert_near(
    weights: dict[str, torch.Tensor], expected: dict[str, torch.Tensor], start: dict[str, torch.Tensor] | None
) -> None:
    assert weights.keys() == expected.keys()
    moved = 0
    for name, value in expected.items():
        if not value.is_floating_point():
            continue
        distance = (value - start[name]).norm() if start is not None else value.norm()
        moved += bool(distance > 1e-4)
        assert (weights[name] - value).norm() <= 1e-4 * distance + 1e-6 * value.norm() + 1e-8, name
    assert moved > len(expected) / 3, "the run hardly changed the weights"


def test_a_run_that_fails_in_several_processes_says_what_to_do_and_leaves_a_whole_checkpoint(tmp_path: Path) -> None:
    """Nothing is put back, because the other processes may have ended."""
    run(workers.train_until_it_fails, (tmp_path, 2), 2, tmp_path)
    for rank in range(2):
        failed = json.loads((tmp_path / f"failed_{rank}.json").read_text())
        assert failed["error"] == "no space left on device"
        assert failed["moved"] is True
        assert any(
            "go on from the last checkpoint with `resume_from_checkpoint=True`" in line for line in failed["log"]
        )
        check_checkpoint(tmp_path / "run" / "checkpoint-6", rank, 2)

"""Runs of two processes end with the weights of one process: replicated (DDP) and sharded (FSDP2)."""

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

from hf_invwnn.errors import CheckpointMismatchError
from hf_invwnn.predictor import PARAMETER_KINDS, parameter_kind
from hf_invwnn.trainer.checkpoint_files import check_checkpoint


pytestmark = [pytest.mark.slow, pytest.mark.distributed]

# Not Adam: it turns the rounding of a gradient whose true value is 0 into a whole step.
SGD = {"optim": "sgd", "learning_rate": 0.1}


def final_weights(folder: Path, world: int) -> list[dict[str, torch.Tensor]]:
    """The weights that each process has saved at the end of its run."""
    return [load_file(folder / f"weights_{rank}.safetensors") for rank in range(world)]


def train(folder: Path, world: int, architecture: str = "vit", **options: Any) -> list[dict[str, torch.Tensor]]:
    """Trains in `world` processes; returns the weights that each ends with."""
    run(workers.train_and_save, (folder, world, architecture, {**SGD, **options}), world, folder)
    return final_weights(folder, world)


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    """Whether all weights are bitwise equal."""
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> dict[str, torch.Tensor]:
    """The weights that a run of one process ends with."""
    (weights,) = train(tmp_path_factory.mktemp("single"), 1)
    return weights


def assert_equal_up_to_rounding(weights: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    """Two processes sum gradients in another order: allows 1e-4 of how far a tensor moved, and 1e-6 of its norm."""
    start = build_model("vit").state_dict()
    moved = {name: (expected[name] - value).norm() for name, value in start.items()}
    assert sum(bool(size > 1e-3) for size in moved.values()) > len(moved) / 2, "the run hardly changed the weights"
    for name, value in expected.items():
        assert (weights[name] - value).norm() <= 1e-4 * moved[name] + 1e-6 * value.norm() + 1e-9, name


@pytest.mark.parametrize("options", [{}, {"trajectory_storage": "disk", "reset_optimizer": True}], ids=["cpu", "disk"])
def test_two_processes_with_replicated_weights_equal_one(
    tmp_path: Path, single: dict[str, torch.Tensor], options: dict[str, Any]
) -> None:
    """Each process records and predicts half of the weights of each kind; both end with the same bits."""
    if options:
        (single,) = train(tmp_path / "single", 1, **options)
    first, second = train(tmp_path / "two", 2, **options)
    assert same(first, second)
    assert_equal_up_to_rounding(first, single)
    assert (tmp_path / "two" / "reason_0.txt").read_text() == "all 2 rounds are done\nreplicated\n"


def test_two_processes_with_shards_equal_one(tmp_path: Path, single: dict[str, torch.Tensor]) -> None:
    """With `fully_shard` each process records its own shard, and a rewind needs no communication."""
    first, second = train(tmp_path, 2, shard=True)
    assert same(first, second)
    assert_equal_up_to_rounding(first, single)
    assert (tmp_path / "reason_1.txt").read_text() == "all 2 rounds are done\nsharded\n"


def test_the_fingerprint_of_frozen_shards_is_the_same_on_all_processes(tmp_path: Path) -> None:
    """Rank 0 writes it into the checkpoint and every rank compares. A single process has the same one."""
    for world in (1, 2):
        run(workers.write_fingerprint, (tmp_path / str(world), world, world > 1), world, tmp_path / str(world))
    names = ("1/fingerprint_0.json", "2/fingerprint_0.json", "2/fingerprint_1.json")
    single, first, second = (json.loads((tmp_path / name).read_text()) for name in names)
    assert single["starting weights"] is not None
    assert first == second
    assert {**single, "per_device_train_batch_size": 2} == first  # the same batch in all


def test_a_search_inside_a_round_ends_at_the_same_weights_on_both_processes(tmp_path: Path) -> None:
    """The stopping rule is met inside a round, and the bisection ends at the same fraction of it on both processes."""
    options = {"num_rewinds": 6, "residual_scale": 4.0, "stop_at_unseen_loss": True}
    first, second = train(tmp_path, 2, **options)
    assert same(first, second)
    assert "stop_at_unseen_loss" in (tmp_path / "reason_0.txt").read_text()


def test_three_processes_have_the_same_weights_after_all_gather(tmp_path: Path) -> None:
    """With many small rounds and with a single one; every weight comes from the process that owns it."""
    run(workers.gather_in_rounds, (tmp_path,), 3, tmp_path)
    for size in (8, 52, 10**6):
        first, second, third = (load_file(tmp_path / f"{size}_{rank}.safetensors") for rank in range(3))
        assert same(first, second)
        assert same(first, third)
        owners: dict[str, list[float]] = {kind: [] for kind in PARAMETER_KINDS}
        for value in first.values():
            owners[parameter_kind(value.shape)] += value.flatten().tolist()
        for kind, of_kind in owners.items():
            counts = [of_kind.count(rank + 1) for rank in range(3)]
            assert sum(counts) == len(of_kind), kind
            assert max(counts) - min(counts) <= 1, kind


def test_a_checkpoint_of_two_processes_resumes_in_two_and_is_refused_by_one(tmp_path: Path) -> None:
    options = {"save_strategy": "steps", "save_steps": 10, "max_forget_steps": 12}
    whole = train(tmp_path / "whole", 2)
    train(tmp_path / "resumed", 2, **options)
    checkpoint = tmp_path / "resumed" / "run" / "checkpoint-10"
    message = r"written by 2 process\(es\), and this run has 1; .* so start 2\."
    with pytest.raises(CheckpointMismatchError, match=message):
        check_checkpoint(checkpoint)
    run(workers.train_and_save, (tmp_path / "resumed", 2, "vit", SGD, True), 2, tmp_path / "resumed")
    for weights, expected in zip(final_weights(tmp_path / "resumed", 2), whole, strict=True):
        assert same(weights, expected)


@pytest.mark.parametrize(
    ("problems", "found"),
    [
        (["CheckpointMismatchError", None], "CheckpointMismatchError"),
        (["CorruptCheckpointError", "CheckpointMismatchError"], "CheckpointMismatchError"),
        ([None, "CorruptCheckpointError"], "checkpoint-4"),
        ([None, None], "checkpoint-8"),
    ],
)
def test_both_processes_refuse_a_checkpoint_for_the_same_reason(
    tmp_path: Path, problems: list[str | None], found: str
) -> None:
    """Otherwise one would go on to the checkpoint before it, and wait there for the other."""
    for step in (4, 8):
        (tmp_path / "run" / f"checkpoint-{step}").mkdir(parents=True)
    run(workers.look_for_a_checkpoint, (tmp_path, 2, problems), 2, tmp_path)
    assert [(tmp_path / f"found_{rank}.txt").read_text() for rank in range(2)] == [found, found]

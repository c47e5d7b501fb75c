"""Two processes do what one does: with the same weights on each (DDP), and with a shard on each (FSDP2)."""

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

from hf_invwnn.predictor import PARAMETER_KINDS, parameter_kind
from hf_invwnn.errors import CheckpointMismatchError
from hf_invwnn.trainer.checkpoint_files import check_checkpoint


def ends(folder: Path, world: int) -> list[dict[str, torch.Tensor]]:
    return [load_file(folder / f"weights_{rank}.safetensors") for rank in range(world)]


# Plain steps, for Adam makes the rounding of a gradient that should be 0 into a whole step.
PLAIN = {"optim": "sgd", "learning_rate": 0.1}


def trained(folder: Path, world: int, architecture: str = "vit", **options: Any) -> list[dict[str, torch.Tensor]]:
    run(workers.train_and_save, (folder, world, architecture, {**PLAIN, **options}), world, folder)
    return ends(folder, world)


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, torch.Tensor]:
    """The weights that one process ends with."""
    (weights,) = trained(tmp_path_factory.mktemp("alone"), 1)
    return weights


def assert_equal_to_rounding(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    """Gradients are summed in another order: 1e-4 of how far a tensor has moved, or 1e-6 of its size."""
    start = build_model("vit").state_dict()
    moved = {name: (expected[name] - value).norm() for name, value in start.items()}
    assert sum(bool(size > 1e-3) for size in moved.values()) > len(moved) / 2, "the run must have gone somewhere"
    for name, value in expected.items():
        assert (found[name] - value).norm() <= 1e-4 * moved[name] + 1e-6 * value.norm() + 1e-9, name


@pytest.mark.parametrize("options", [{}, {"trajectory_storage": "disk", "reset_optimizer": True}], ids=["cpu", "disk"])
def test_two_processes_with_the_same_weights_equal_one(
    tmp_path: Path, alone: dict[str, torch.Tensor], options: dict[str, Any]
) -> None:
    """Each records and predicts half of the weights of each kind, and both end with the same bits."""
    if options:
        (alone,) = trained(tmp_path / "alone", 1, **options)
    first, second = trained(tmp_path / "two", 2, **options)
    assert same(first, second)
    assert_equal_to_rounding(first, alone)
    assert (tmp_path / "two" / "reason_0.txt").read_text() == "all 2 rewinds are done\nsplit\n"


def test_two_processes_with_shards_equal_one(tmp_path: Path, alone: dict[str, torch.Tensor]) -> None:
    """`fully_shard`: each records its own shard, and nothing is exchanged for a rewind."""
    first, second = trained(tmp_path, 2, shard=True)
    assert same(first, second)
    assert_equal_to_rounding(first, alone)
    assert (tmp_path / "reason_1.txt").read_text() == "all 2 rewinds are done\nsharded\n"


def test_all_processes_say_the_same_of_frozen_shards(tmp_path: Path) -> None:
    """The first writes it into the checkpoint, and each compares; one process with the whole model says it too."""
    for world in (1, 2):
        run(workers.write_identity, (tmp_path / str(world), world, world > 1), world, tmp_path / str(world))
    names = ("1/identity_0.json", "2/identity_0.json", "2/identity_1.json")
    alone, first, second = (json.loads((tmp_path / name).read_text()) for name in names)
    assert alone["frozen parameters"] is not None
    assert alone == first == second


def test_a_search_between_two_rewinds_ends_at_the_same_point(tmp_path: Path) -> None:
    """A stopping rule goes back on the way, on both processes to the same weights."""
    options = {"num_rewinds": 6, "residual_scale": 4.0, "stop_at_unseen_loss": True}
    first, second = trained(tmp_path, 2, **options)
    assert same(first, second)
    assert "stop_at_unseen_loss" in (tmp_path / "reason_0.txt").read_text()


def test_three_processes_know_all_weights_after_an_exchange(tmp_path: Path) -> None:
    """In rounds of two numbers and in one; each weight is what its owner made it, half of the processes' or not."""
    run(workers.exchange_in_rounds, (tmp_path,), 3, tmp_path)
    for size in (8, 52, 10**6):
        found = [load_file(tmp_path / f"{size}_{rank}.safetensors") for rank in range(3)]
        assert same(found[0], found[1])
        assert same(found[0], found[2])
        owners: dict[str, list[float]] = {kind: [] for kind in PARAMETER_KINDS}
        for value in found[0].values():
            owners[parameter_kind(value.shape)] += value.flatten().tolist()
        for kind, of_kind in owners.items():
            counts = [of_kind.count(rank + 1) for rank in range(3)]
            assert sum(counts) == len(of_kind), kind
            assert max(counts) - min(counts) <= 1, kind


def test_a_checkpoint_of_two_processes_resumes_in_two_and_is_refused_by_one(tmp_path: Path) -> None:
    options = {"save_strategy": "steps", "save_steps": 10, "max_forget_steps": 12}
    whole = trained(tmp_path / "whole", 2)
    trained(tmp_path / "parted", 2, **options)
    checkpoint = tmp_path / "parted" / "run" / "checkpoint-10"
    with pytest.raises(CheckpointMismatchError, match=r"written by 2 process\(es\), and this run has 1; .* start 2 again"):
        check_checkpoint(checkpoint)
    run(workers.train_and_save, (tmp_path / "parted", 2, "vit", PLAIN, True), 2, tmp_path / "parted")
    for found, expected in zip(ends(tmp_path / "parted", 2), whole, strict=True):
        assert same(found, expected)

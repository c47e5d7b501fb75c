"""Where snapshots live, what they take, and what is said when there is no room."""

from __future__ import annotations

import errno
import logging
import os
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from helpers import build_model
from safetensors.torch import load_file

from hf_invwnn.trajectory import memory as room
from hf_invwnn.trajectory.memory import check_memory
from hf_invwnn.trajectory.sharding import LocalShards
from hf_invwnn.errors import InsufficientMemoryError
from hf_invwnn.trajectory.storage import TensorSpec, allocate, map_file
from accelerate.utils import convert_bytes
from hf_invwnn.trajectory.trajectory import Trajectory


CPU = torch.device("cpu")
SLOTS = {
    "weight": TensorSpec((2, 3, 4), torch.float32, CPU),
    "differences": TensorSpec((5, 7), torch.bfloat16, CPU),
    "scalar": TensorSpec((), torch.int64, CPU),
    "none": TensorSpec((0, 3), torch.float32, CPU),
}


def filled(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    for tensor in tensors.values():
        tensor.copy_(torch.randint(-9, 9, tensor.shape, generator=generator))
    return tensors


def test_a_mapped_file_is_a_safetensors_file_of_what_was_written(tmp_path: Path) -> None:
    """As the library reads it, which did not write it."""
    tensors = filled(map_file(tmp_path / "folder" / "trajectory.safetensors", SLOTS))
    found = load_file(tmp_path / "folder" / "trajectory.safetensors")
    assert found.keys() == SLOTS.keys()
    for name, slot in SLOTS.items():
        assert (found[name].dtype, tuple(found[name].shape)) == (slot.dtype, slot.shape)
        assert torch.equal(found[name], tensors[name])


def test_a_disk_that_cannot_hold_it_is_an_error_before_anything_is_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The space is asked for at once: a mapped file that outgrows its disk ends the process by a signal."""

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    path = tmp_path / "trajectory.safetensors"
    with pytest.raises(InsufficientMemoryError, match=r"cannot be given the .* it needs \(No space left on device\)"):
        Trajectory(dict(build_model("vit").named_parameters()), 4, storage="disk", path=path)
    assert not path.exists()


def test_the_space_of_a_mapped_file_is_taken_from_the_disk_at_once(tmp_path: Path) -> None:
    path = tmp_path / "file.safetensors"
    map_file(path, {"weight": TensorSpec((1000, 1000), torch.float32, CPU)})
    assert path.stat().st_blocks * 512 >= 4_000_000


@pytest.mark.parametrize("storage", ["cpu", "model", "disk"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_trajectory_is_the_same_wherever_it_lives(tmp_path: Path, storage: str, dtype: str) -> None:
    model = build_model("resnet")
    tracked = dict(model.named_parameters())
    path = tmp_path / "trajectory.safetensors"
    trajectories = [Trajectory(tracked, 3, dtype), Trajectory(tracked, 3, dtype, storage, path)]
    for _ in range(3):
        for trajectory in trajectories:
            trajectory.record()
        with torch.no_grad():
            for parameter in tracked.values():
                parameter.mul_(1.01)
    for (name, _, expected), (_, _, found) in zip(*(t.items() for t in trajectories), strict=True):
        assert torch.equal(found, expected), name
    for (name, _, expected), (_, _, found) in zip(*(t.blocks(100) for t in trajectories), strict=True):
        assert found.shape[1] <= 100
        assert torch.equal(found, expected), name


def test_blocks_of_weights_that_lie_channels_last_are_those_of_the_weights() -> None:
    tracked = {"conv": torch.nn.Parameter(torch.randn(4, 3, 5, 5).to(memory_format=torch.channels_last))}
    trajectory = Trajectory(tracked, 2)
    trajectory.record()
    trajectory.record()
    for _, local, snapshots in trajectory.blocks(7):
        assert torch.equal(snapshots[0], local)
    ((_, local, snapshots),) = trajectory.items()
    assert torch.equal(snapshots[1], local)


def test_an_unknown_storage_is_refused() -> None:
    with pytest.raises(ValueError, match=r"`storage` must be one of \('cpu', 'model', 'disk'\), got 'tape'"):
        allocate(SLOTS, "tape")
    with pytest.raises(ValueError, match="`path` is missing"):
        allocate(SLOTS, "disk")


@pytest.mark.parametrize(("nbytes", "words"), [(0, "0 bytes"), (1536, "1.5 KiB"), (3 * 2**30, "3.0 GiB")])
def test_bytes_convert_bytes(nbytes: int, words: str) -> None:
    assert convert_bytes(nbytes) == words


# ---- Room ----


class Memory(NamedTuple):
    available: int


class Disk(NamedTuple):
    free: int


@pytest.fixture
def parts() -> LocalShards:
    return LocalShards({"weight": torch.zeros(250, 1000)})  # 1 MB a snapshot in float32


def give(monkeypatch: pytest.MonkeyPatch, memory: int, disk: int) -> None:
    monkeypatch.setattr(room.psutil, "virtual_memory", lambda: Memory(memory))
    monkeypatch.setattr(room.shutil, "disk_usage", lambda path: Disk(disk))


def test_what_a_trajectory_takes_is_said_beside_what_is_free(
    parts: LocalShards, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """K x tracked x bytes of a number, to the byte."""
    give(monkeypatch, memory=2**30, disk=0)
    with caplog.at_level(logging.WARNING):
        assert check_memory(parts, 15, "float32", "cpu", tmp_path) == 15 * 250_000 * 4
    assert "15 snapshots of 250,000 weights takes 14.3 MiB of main memory" in caplog.text
    assert "1.0 GiB is free" in caplog.text
    assert check_memory(parts, 15, "bfloat16", "cpu", tmp_path) == 250_000 * (2 * 4 + 13 * 2)
    half = LocalShards({"weight": torch.zeros(250, 1000)}, 1, 2)
    assert check_memory(half, 15, "float32", "cpu", tmp_path) == 15 * 125_000 * 4


@pytest.mark.parametrize(
    ("memory", "disk", "advice"),
    [
        (11 * 10**6, 0, r"`trajectory_storage='cpu'` with `trajectory_dtype='bfloat16'` would fit"),
        (10**6, 10**8, r"`trajectory_storage='disk'` with `trajectory_dtype='float32'` would fit"),
        (10**6, 11 * 10**6, r"`trajectory_storage='disk'` with `trajectory_dtype='bfloat16'` would fit"),
        (10**6, 10**6, "No other storage here would do; track fewer parameters"),
    ],
)
def test_too_little_room_is_an_error_that_says_what_would_fit(
    parts: LocalShards, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, memory: int, disk: int, advice: str
) -> None:
    give(monkeypatch, memory, disk)
    with pytest.raises(InsufficientMemoryError, match=advice) as refused:
        check_memory(parts, 15, "float32", "cpu", tmp_path)
    assert "14.3 MiB of main memory" in str(refused.value)


def test_the_weights_to_go_back_to_count_as_well(
    parts: LocalShards, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """15 snapshots of a megabyte fit into 16.5, but not with the last good weights and the end of a segment."""
    give(monkeypatch, memory=17 * 10**6, disk=0)
    check_memory(parts, 15, "float32", "cpu", tmp_path)
    give(monkeypatch, memory=165 * 10**5, disk=0)
    with pytest.raises(InsufficientMemoryError, match=r"up to 1\.9 MiB more for the weights to go back to"):
        check_memory(parts, 15, "float32", "cpu", tmp_path)


def test_a_file_of_the_same_name_does_not_change_what_another_run_has_mapped(tmp_path: Path) -> None:
    slots = {"weight": TensorSpec((4,), torch.float32, torch.device("cpu"))}
    first = map_file(tmp_path / "trajectory_0.safetensors", slots)["weight"]
    first.fill_(1)
    map_file(tmp_path / "trajectory_0.safetensors", slots)["weight"].fill_(2)
    assert torch.equal(first, torch.ones(4))


def test_the_processes_of_a_machine_share_its_memory(
    parts: LocalShards, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    give(monkeypatch, memory=2 * 10**7, disk=0)
    check_memory(parts, 15, "float32", "cpu", tmp_path)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    with pytest.raises(InsufficientMemoryError, match=r"on each of 2 process\(es\) here"):
        check_memory(parts, 15, "float32", "cpu", tmp_path)

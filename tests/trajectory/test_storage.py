"""Storage of snapshots (main memory, device, mapped file), and the memory check before a run."""

from __future__ import annotations

import errno
import logging
import os
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from helpers import build_model

from hf_invwnn.errors import InsufficientMemoryError
from hf_invwnn.trajectory import memory
from hf_invwnn.trajectory.memory import check_memory
from hf_invwnn.trajectory.sharding import LocalShards
from hf_invwnn.trajectory.storage import TensorSpec, allocate, map_file
from hf_invwnn.trajectory.trajectory import Trajectory


CPU = torch.device("cpu")
SPECS = {
    "weight": TensorSpec((2, 3, 4), torch.float32, CPU),
    "differences": TensorSpec((5, 7), torch.bfloat16, CPU),
    "scalar": TensorSpec((), torch.int64, CPU),
    "empty": TensorSpec((0, 3), torch.float32, CPU),
}


def filled(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The same tensors, with seeded random values in them."""
    generator = torch.Generator().manual_seed(0)
    for tensor in tensors.values():
        tensor.copy_(torch.randint(-9, 9, tensor.shape, generator=generator))
    return tensors


def test_a_mapped_file_holds_the_bytes_of_the_tensors(tmp_path: Path) -> None:
    """Each tensor starts at the next multiple of 64 bytes."""
    path = tmp_path / "folder" / "trajectory.bin"
    tensors, expected = filled(map_file(path, SPECS)), filled(allocate(SPECS, "cpu"))
    assert tensors.keys() == SPECS.keys()
    content = path.read_bytes()
    start = 0
    for name, spec in SPECS.items():
        assert (tensors[name].dtype, tuple(tensors[name].shape)) == (spec.dtype, spec.shape)
        assert torch.equal(tensors[name], expected[name]), name
        if spec.nbytes:
            read = torch.frombuffer(bytearray(content[start : start + spec.nbytes]), dtype=spec.dtype)
            assert torch.equal(read, expected[name].flatten()), name
            assert tensors[name].data_ptr() % 64 == 0
        start += -(-spec.nbytes // 64) * 64
    assert len(content) == start


def test_a_full_disk_is_an_error_before_anything_is_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The space is reserved at once: writing to a mapped file on a full disk kills the process by a signal."""

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    path = tmp_path / "trajectory.bin"
    message = r"trajectory\.bin` needs .* which the disk does not have \(No space left on device\)"
    with pytest.raises(InsufficientMemoryError, match=message):
        Trajectory(dict(build_model("vit").named_parameters()), 4, storage="disk", path=path)
    assert not path.exists()


def test_the_space_of_a_mapped_file_is_reserved_at_once(tmp_path: Path) -> None:
    path = tmp_path / "file.bin"
    map_file(path, {"weight": TensorSpec((1000, 1000), torch.float32, CPU)})
    assert path.stat().st_blocks * 512 >= 4_000_000


@pytest.mark.parametrize("storage", ["cpu", "model", "disk"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_trajectory_is_the_same_in_every_storage(tmp_path: Path, storage: str, dtype: str) -> None:
    model = build_model("resnet")
    tracked = dict(model.named_parameters())
    path = tmp_path / "trajectory.bin"
    trajectories = [Trajectory(tracked, 3, dtype), Trajectory(tracked, 3, dtype, storage, path)]
    for _ in range(3):
        for trajectory in trajectories:
            trajectory.record()
        with torch.no_grad():
            for parameter in tracked.values():
                parameter.mul_(1.01)
    for size in (sys.maxsize, 100):
        blocks = zip(*(trajectory.blocks(size) for trajectory in trajectories), strict=True)
        for (name, _, expected), (_, _, snapshots) in blocks:
            assert snapshots.shape[1] <= size
            assert torch.equal(snapshots, expected), name


def test_blocks_of_a_channels_last_parameter_follow_its_memory_order() -> None:
    tracked = {"conv": torch.nn.Parameter(torch.randn(4, 3, 5, 5).to(memory_format=torch.channels_last))}
    trajectory = Trajectory(tracked, 2)
    trajectory.record()
    trajectory.record()
    for size in (7, sys.maxsize):
        for _, local, snapshots in trajectory.blocks(size):
            assert torch.equal(snapshots, torch.stack([local, local]))
    ((_, local, _),) = trajectory.blocks(sys.maxsize)
    assert torch.equal(local, tracked["conv"].detach().permute(0, 2, 3, 1).flatten())


def test_an_unknown_storage_is_refused() -> None:
    with pytest.raises(ValueError, match=r"`storage` must be one of \('cpu', 'model', 'disk'\), got 'tape'"):
        allocate(SPECS, "tape")
    with pytest.raises(ValueError, match="`path` is missing"):
        allocate(SPECS, "disk")


# ---- Memory check ----


class VirtualMemory(NamedTuple):
    available: int


class DiskUsage(NamedTuple):
    free: int


@pytest.fixture
def shards() -> LocalShards:
    """One snapshot is 1 MB in float32."""
    return LocalShards({"weight": torch.zeros(250, 1000)})


def set_free(monkeypatch: pytest.MonkeyPatch, main_memory: int, disk: int) -> None:
    """Sets the free bytes that the memory check sees."""
    monkeypatch.setattr(memory.psutil, "virtual_memory", lambda: VirtualMemory(main_memory))
    monkeypatch.setattr(memory.shutil, "disk_usage", lambda path: DiskUsage(disk))


def test_the_required_and_the_free_memory_are_logged(
    shards: LocalShards, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The required memory is exactly `K * local weights * bytes of a number`."""
    set_free(monkeypatch, main_memory=2**30, disk=0)
    with caplog.at_level(logging.INFO, logger="hf_invwnn"):
        assert check_memory(shards, 15, "float32", "cpu", tmp_path) == 15 * 250_000 * 4
    assert "15 snapshots of 250,000 weights needs 14.31 MB of main memory" in caplog.text
    assert "1.0 GB is free" in caplog.text
    assert [record.levelname for record in caplog.records] == ["INFO"]
    assert check_memory(shards, 15, "bfloat16", "cpu", tmp_path) == 250_000 * (2 * 4 + 13 * 2)
    half = LocalShards({"weight": torch.zeros(250, 1000)}, 1, 2)
    assert check_memory(half, 15, "float32", "cpu", tmp_path) == 15 * 125_000 * 4


@pytest.mark.parametrize(
    ("main_memory", "disk", "advice"),
    [
        (11 * 10**6, 0, r"`trajectory_storage='cpu'` with `trajectory_dtype='bfloat16'` would fit"),
        (10**6, 10**8, r"`trajectory_storage='disk'` with `trajectory_dtype='float32'` would fit"),
        (10**6, 11 * 10**6, r"`trajectory_storage='disk'` with `trajectory_dtype='bfloat16'` would fit"),
        (10**6, 10**6, "No other storage here would fit either; track fewer parameters"),
    ],
)
def test_too_little_memory_is_an_error_that_names_settings_that_fit(
    shards: LocalShards, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, main_memory: int, disk: int, advice: str
) -> None:
    set_free(monkeypatch, main_memory, disk)
    with pytest.raises(InsufficientMemoryError, match=advice) as error:
        check_memory(shards, 15, "float32", "cpu", tmp_path)
    assert "14.31 MB of main memory" in str(error.value)


def test_copies_of_the_weights_count_as_well(
    shards: LocalShards, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """15 snapshots of 1 MB fit into 16.5 MB, but not together with the last good weights and the end of a segment."""
    set_free(monkeypatch, main_memory=17 * 10**6, disk=0)
    check_memory(shards, 15, "float32", "cpu", tmp_path)
    set_free(monkeypatch, main_memory=165 * 10**5, disk=0)
    with pytest.raises(InsufficientMemoryError, match=r"copies of the weights up to 1\.91 MB more"):
        check_memory(shards, 15, "float32", "cpu", tmp_path)


def test_replacing_a_mapped_file_does_not_change_the_tensors_of_the_earlier_run(tmp_path: Path) -> None:
    specs = {"weight": TensorSpec((4,), torch.float32, CPU)}
    first = map_file(tmp_path / "trajectory_0.bin", specs)["weight"]
    first.fill_(1)
    map_file(tmp_path / "trajectory_0.bin", specs)["weight"].fill_(2)
    assert torch.equal(first, torch.ones(4))


def test_local_processes_share_the_main_memory(
    shards: LocalShards, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_free(monkeypatch, main_memory=2 * 10**7, disk=0)
    check_memory(shards, 15, "float32", "cpu", tmp_path)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    with pytest.raises(InsufficientMemoryError, match=r"on each of 2 local process\(es\)"):
        check_memory(shards, 15, "float32", "cpu", tmp_path)

"""Selection of tracked parameters, recording and restoring of trajectories, snapshots and interpolation."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator

import pytest
import torch
from helpers import build_model
from torch import nn

from hf_invwnn.trajectory.memory import trajectory_bytes
from hf_invwnn.trajectory.sharding import LocalShards
from hf_invwnn.trajectory.snapshot import Snapshot, interpolate
from hf_invwnn.trajectory.tracking import non_finite, select_parameters
from hf_invwnn.trajectory.trajectory import Trajectory


def parameters(seed: int = 0) -> dict[str, nn.Parameter]:
    generator = torch.Generator().manual_seed(seed)
    shapes = {"conv": (3, 2, 2, 2), "linear": (4, 3), "bias": (5,), "scalar": ()}
    return {name: nn.Parameter(torch.randn(shape, generator=generator)) for name, shape in shapes.items()}


@torch.no_grad()
def move(values: Iterable[nn.Parameter], size: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for value in values:
        value.add_(size * torch.randn(value.shape, generator=generator).to(value.dtype))


def recorded(
    tracked: dict[str, nn.Parameter], snapshots: int, size: float = 0.1, **options: str
) -> tuple[Trajectory, dict[str, torch.Tensor]]:
    """A full trajectory, and the recorded points themselves in float32, `(K, *shape)` by name."""
    trajectory = Trajectory(tracked, snapshots, **options)
    points: dict[str, list[torch.Tensor]] = {name: [] for name in tracked}
    for index in range(snapshots):
        if index:
            move(tracked.values(), size, seed=index)
        trajectory.record()
        for name, parameter in tracked.items():
            points[name].append(parameter.detach().float().clone())
    return trajectory, {name: torch.stack(values) for name, values in points.items()}


def read(trajectory: Trajectory) -> Iterator[tuple[str, torch.Tensor, torch.Tensor]]:
    """Name, local weights and snapshots `(count, *shape)` of every whole parameter."""
    for name, local, snapshots in trajectory.blocks(sys.maxsize):
        yield name, local, snapshots.reshape(trajectory.count, *trajectory.shards.tensors[name].shape)


# ---- Selection of parameters ----


def test_all_parameters_that_require_grad_are_tracked_by_default(vit: nn.Module) -> None:
    vit.vit.embeddings.requires_grad_(False)
    expected = {name for name, parameter in vit.named_parameters() if parameter.requires_grad}
    assert set(select_parameters(vit)) == expected
    assert not any(name.startswith("vit.embeddings") for name in expected)


def test_a_pattern_is_searched_for_anywhere_in_the_names(vit: nn.Module) -> None:
    selected = set(select_parameters(vit, r"classifier|layernorm_after"))
    names = [name for name, _ in vit.named_parameters()]
    assert selected == {name for name in names if "classifier" in name or "layernorm_after" in name}
    assert {"classifier.weight", "classifier.bias"} < selected


def test_a_pattern_cannot_unfreeze(vit: nn.Module) -> None:
    vit.classifier.bias.requires_grad_(False)
    assert set(select_parameters(vit, "classifier")) == {"classifier.weight"}


def test_tied_parameters_count_once() -> None:
    model = nn.Module()
    model.first = nn.Linear(2, 2, bias=False)
    model.second = nn.Linear(2, 2, bias=False)
    model.second.weight = model.first.weight
    assert list(select_parameters(model)) == ["first.weight"]


def test_a_pattern_that_matches_nothing_is_refused_with_examples_of_names(vit: nn.Module) -> None:
    first = next(name for name, _ in vit.named_parameters())
    with pytest.raises(
        ValueError, match=r"`tracked_parameters` matches no trainable parameter, got 'decoder'"
    ) as error:
        select_parameters(vit, "decoder")
    assert first in str(error.value)


def test_an_invalid_pattern_is_refused(vit: nn.Module) -> None:
    with pytest.raises(ValueError, match=re.escape("`tracked_parameters` is not a regular expression")):
        select_parameters(vit, "(")


def test_a_model_without_trainable_parameters_is_refused(vit: nn.Module) -> None:
    vit.requires_grad_(False)
    with pytest.raises(ValueError, match="`model` has no parameter that requires grad"):
        select_parameters(vit)


# ---- Trajectory ----


def test_snapshots_come_back_bitwise_oldest_first() -> None:
    tracked = parameters()
    trajectory, points = recorded(tracked, 5)
    assert trajectory.is_full
    names = []
    for name, local, snapshots in read(trajectory):
        assert local.data_ptr() == tracked[name].data_ptr()
        assert torch.equal(snapshots, points[name]), name
        names.append(name)
    assert names == list(tracked)


def test_snapshots_do_not_change_with_the_parameters() -> None:
    tracked = parameters()
    trajectory, points = recorded(tracked, 3)
    move(tracked.values(), 1.0, seed=9)
    for name, _, snapshots in read(trajectory):
        assert torch.equal(snapshots, points[name])


def test_a_trajectory_that_is_not_full_returns_the_snapshots_taken_so_far() -> None:
    tracked = parameters()
    trajectory = Trajectory(tracked, 4)
    assert [snapshots.shape[0] for _, _, snapshots in read(trajectory)] == [0] * 4
    trajectory.record()
    move(tracked.values(), 0.1, seed=1)
    trajectory.record()
    assert trajectory.count == 2
    assert not trajectory.is_full
    for name, _, snapshots in read(trajectory):
        assert snapshots.shape == (2, *tracked[name].shape)
        assert torch.equal(snapshots[1], tracked[name])


def test_recording_into_a_full_trajectory_is_an_error() -> None:
    trajectory, _ = recorded(parameters(), 3)
    with pytest.raises(RuntimeError, match="already holds its 3 snapshots"):
        trajectory.record()


def test_a_cleared_trajectory_records_into_the_same_memory() -> None:
    tracked = parameters()
    trajectory, _ = recorded(tracked, 3)
    addresses = {name: stored.data_ptr() for name, stored in trajectory.state_dict().items()}
    trajectory.clear()
    assert trajectory.count == 0
    move(tracked.values(), 2.0, seed=5)
    trajectory.record()
    for name, _, snapshots in read(trajectory):
        assert torch.equal(snapshots, tracked[name].detach().unsqueeze(0))
    assert {name: stored.data_ptr() for name, stored in trajectory.state_dict().items()} == addresses


def test_bfloat16_keeps_differences_up_to_the_rounding_of_bfloat16() -> None:
    """The error is relative to how far a weight moved (2^-9 of it), not to how large the weight is."""
    tracked = parameters()
    with torch.no_grad():
        for parameter in tracked.values():
            parameter.add_(100)
    trajectory, points = recorded(tracked, 5, size=0.01, dtype="bfloat16")
    for name, _, snapshots in read(trajectory):
        assert torch.equal(snapshots[0], points[name][0]), "the oldest snapshot is exact"
        assert torch.equal(snapshots[-1], points[name][-1]), "and so is the newest"
        moved = points[name] - points[name][:1]
        float32_spacing = torch.finfo(torch.float32).eps * points[name].abs()
        assert ((snapshots - points[name]).abs() <= moved.abs() * 2**-8 + float32_spacing).all()
    plain = (points["conv"] - points["conv"].bfloat16().float()).abs().max()
    assert plain > 0.1, "plain bfloat16 would lose the whole movement here"


def test_bfloat16_takes_less_memory() -> None:
    tracked = parameters()
    numbers = sum(parameter.numel() for parameter in tracked.values())
    for dtype, expected in (("float32", 15 * 4 * numbers), ("bfloat16", (2 * 4 + 13 * 2) * numbers)):
        trajectory, _ = recorded(tracked, 15, dtype=dtype)
        assert sum(stored.nbytes for stored in trajectory.state_dict().values()) == expected
        assert trajectory_bytes(trajectory.shards, 15, dtype) == expected


def test_parameters_in_half_precision_are_recorded_exactly() -> None:
    tracked = {name: nn.Parameter(value.bfloat16()) for name, value in parameters().items()}
    trajectory, points = recorded(tracked, 3)
    for name, _, snapshots in read(trajectory):
        assert snapshots.dtype == torch.float32
        assert torch.equal(snapshots, points[name])


def test_snapshots_are_on_the_device_of_their_storage() -> None:
    tracked = {"weight": nn.Parameter(torch.empty(2, device="meta"))}
    for storage, device in (("model", "meta"), ("cpu", "cpu")):
        trajectory = Trajectory(tracked, 3, storage=storage)
        assert trajectory.state_dict() == {}
        assert trajectory._row("weight", 0).device.type == device


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("count", [0, 1, 2, 4])
def test_a_saved_trajectory_is_restored_bitwise(dtype: str, count: int) -> None:
    tracked = parameters()
    trajectory = Trajectory(tracked, 4, dtype)
    for index in range(count):
        move(tracked.values(), 0.1, seed=index)
        trajectory.record()
    state = {name: value.clone() for name, value in trajectory.state_dict().items()}
    other = Trajectory(parameters(seed=1), 4, dtype)
    other.load_state_dict(state, count)
    assert other.count == count
    for (name, _, restored), (_, _, expected) in zip(read(other), read(trajectory), strict=True):
        assert torch.equal(restored, expected), name


def test_a_saved_trajectory_that_does_not_fit_is_refused() -> None:
    trajectory, _ = recorded(parameters(), 4)
    state = trajectory.state_dict()
    fewer = {name: value for name, value in parameters().items() if name != "bias"}
    for other in (
        Trajectory(parameters(), 3),
        Trajectory(fewer, 4),
        Trajectory(parameters(), 4, "bfloat16"),
        Trajectory({**parameters(), "bias": nn.Parameter(torch.zeros(6))}, 4),
    ):
        with pytest.raises(ValueError, match=r"does not fit this run: .*`num_snapshots=\d`"):
            other.load_state_dict(state, 4)
        assert other.count == 0


# ---- Snapshot and interpolation ----


def test_a_snapshot_restores_bitwise() -> None:
    tracked = parameters()
    before = {name: parameter.detach().clone() for name, parameter in tracked.items()}
    snapshot = Snapshot(LocalShards(tracked), "cpu")
    move(tracked.values(), 1.0, seed=1)
    snapshot.restore()
    assert all(torch.equal(tracked[name], value) for name, value in before.items())


def test_taking_a_snapshot_again_replaces_the_values() -> None:
    tracked = parameters()
    snapshot = Snapshot(LocalShards(tracked))
    move(tracked.values(), 1.0, seed=1)
    snapshot.take()
    moved = {name: parameter.detach().clone() for name, parameter in tracked.items()}
    move(tracked.values(), 1.0, seed=2)
    snapshot.restore()
    assert all(torch.equal(tracked[name], value) for name, value in moved.items())


def test_interpolation_is_exact_at_both_ends_and_linear_between() -> None:
    tracked = parameters()
    start = Snapshot(LocalShards(tracked))
    move(tracked.values(), 1e-3, seed=1)
    end = Snapshot(LocalShards(tracked))
    for fraction, expected in ((0.0, start), (1.0, end)):
        interpolate(start, end, fraction)
        assert all(torch.equal(tracked[name], expected.values[name]) for name in tracked)
    interpolate(start, end, 0.25)
    for name, parameter in tracked.items():
        expected_value = 0.75 * start.values[name].double() + 0.25 * end.values[name].double()
        torch.testing.assert_close(parameter.detach().double(), expected_value, rtol=1e-6, atol=1e-7)


def test_non_finite_returns_the_names_of_tensors_with_an_infinity_or_nan() -> None:
    values = {"good": torch.ones(2), "nan": torch.tensor([1.0, float("nan")]), "inf": torch.tensor(float("-inf"))}
    assert non_finite(values.items()) == ["nan", "inf"]
    assert non_finite(build_model("vit").named_parameters()) == []

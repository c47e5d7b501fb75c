"""`LocalShards` assigns every weight to one process, divides each kind evenly, and returns views."""

from __future__ import annotations

import pytest
import torch
from helpers import build_model, copied, differing
from torch import nn

from hf_invwnn.predictor import PARAMETER_KINDS, parameter_kind
from hf_invwnn.trajectory.sharding import LocalShards, flat_view


WORLDS = [1, 2, 3, 7]


def resnet_parameters() -> dict[str, torch.Tensor]:
    return dict(build_model("resnet").named_parameters())


@pytest.mark.parametrize("world", WORLDS)
def test_every_weight_belongs_to_exactly_one_process(world: int) -> None:
    """Each process adds 1 to its views; afterwards every weight of the tensors themselves is 1."""
    tensors = {name: torch.zeros_like(value) for name, value in resnet_parameters().items()}
    for rank in range(world):
        for _, local in LocalShards(tensors, rank, world).items():
            local.add_(1)
    assert all(bool((value == 1).all()) for value in tensors.values())


@pytest.mark.parametrize("world", WORLDS)
def test_each_kind_is_divided_evenly(world: int) -> None:
    """The shares differ by at most one weight, so all processes have the same work for each network."""
    tensors = resnet_parameters()
    for kind in PARAMETER_KINDS:
        total = sum(value.numel() for value in tensors.values() if parameter_kind(value.shape) == kind)
        shares = []
        for rank in range(world):
            shards = LocalShards(tensors, rank, world)
            shares.append(sum(local.numel() for name, local in shards.items() if shards.kind(name) == kind))
        assert sum(shares) == total
        assert max(shares) - min(shares) <= 1


def test_a_single_process_has_whole_tensors_with_their_shape() -> None:
    tensors = resnet_parameters()
    shards = LocalShards(tensors)
    assert shards.layout == "single"
    assert shards.names == list(tensors)
    assert all(local.data_ptr() == tensors[name].data_ptr() for name, local in shards.items())
    assert all(local.shape == tensors[name].shape for name, local in shards.items())


def test_the_kind_of_a_slice_is_that_of_the_whole_tensor() -> None:
    """A slice is flat like a bias, so its kind cannot come from its own shape."""
    tensors = resnet_parameters()
    shards = LocalShards(tensors, 1, 3)
    assert shards.layout == "replicated"
    assert {shards.kind(name) for name, local in shards.items() if local.ndim == 1} == set(PARAMETER_KINDS)
    assert all(shards.kind(name) == parameter_kind(tensors[name].shape) for name in shards.names)


def test_more_processes_than_weights_are_refused() -> None:
    with pytest.raises(ValueError, match="`model`: 8 processes are more than the 5 weights to track; start fewer"):
        LocalShards({"bias": torch.zeros(5)}, 0, 8)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_a_flat_view_writes_through(memory_format: torch.memory_format) -> None:
    """Also for weights in the channels-last memory format."""
    weight = torch.zeros(2, 3, 4, 5).to(memory_format=memory_format)
    flat = flat_view(weight)
    flat.copy_(torch.arange(120.0))
    assert flat.shape == (120,)
    assert sorted(weight.flatten().tolist()) == list(range(120))
    assert flat_view(torch.tensor(3.0)).shape == (1,)


def test_a_tensor_that_is_not_dense_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="`model`: head has the strides"):
        flat_view(torch.zeros(4, 4)[:, ::2], "head")


def test_a_single_process_gathers_nothing_and_any_rank_returns_its_flag(vit: nn.Module) -> None:
    before = copied(vit)
    shards = LocalShards(dict(vit.named_parameters()))
    shards.all_gather()
    assert differing(copied(vit), before) == []
    assert shards.any_rank(True)
    assert not shards.any_rank(False)

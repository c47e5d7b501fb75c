"""Which weights a process answers for: all of them once, evenly, in views of the real thing."""

from __future__ import annotations

import pytest
import torch
from helpers import build_model
from torch import nn

from hf_invwnn.predictor import PARAMETER_KINDS, parameter_kind
from hf_invwnn.trajectory.sharding import LocalShards, flat_view


WORLDS = [1, 2, 3, 7]


def tensors() -> dict[str, torch.Tensor]:
    return dict(build_model("resnet").named_parameters())


@pytest.mark.parametrize("world", WORLDS)
def test_every_weight_belongs_to_one_process(world: int) -> None:
    """Marked through the views of all processes, each is marked once, and in the tensor itself."""
    model = {name: torch.zeros_like(value) for name, value in tensors().items()}
    for rank in range(world):
        for _, local in LocalShards(model, rank, world).items():
            local.add_(1)
    assert all(bool((value == 1).all()) for value in model.values())


@pytest.mark.parametrize("world", WORLDS)
def test_each_kind_is_split_evenly(world: int) -> None:
    """To one weight, so that no process waits for another's network."""
    model = tensors()
    for kind in PARAMETER_KINDS:
        total = sum(value.numel() for value in model.values() if parameter_kind(value.shape) == kind)
        shares = []
        for rank in range(world):
            parts = LocalShards(model, rank, world)
            shares.append(sum(local.numel() for name, local in parts.items() if parts.kind(name) == kind))
        assert sum(shares) == total
        assert max(shares) - min(shares) <= 1


def test_one_process_has_whole_tensors_in_their_shape() -> None:
    model = tensors()
    parts = LocalShards(model)
    assert parts.layout == "whole"
    assert parts.names == list(model)
    assert all(local.data_ptr() == model[name].data_ptr() for name, local in parts.items())
    assert all(local.shape == model[name].shape for name, local in parts.items())


def test_the_kind_is_that_of_the_whole_tensor() -> None:
    """A slice is flat, and must not be taken for a bias."""
    model = tensors()
    parts = LocalShards(model, 1, 3)
    assert {parts.kind(name) for name, local in parts.items() if local.ndim == 1} == set(PARAMETER_KINDS)
    assert all(parts.kind(name) == parameter_kind(model[name].shape) for name in parts.names)


def test_more_processes_than_weights_are_refused() -> None:
    with pytest.raises(ValueError, match="`model`: 8 processes are more than the 5 weights to track; start fewer"):
        LocalShards({"bias": torch.zeros(5)}, 0, 8)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_a_flat_view_writes_through(memory_format: torch.memory_format) -> None:
    """Also into images of weights that lie channels last."""
    weight = torch.zeros(2, 3, 4, 5).to(memory_format=memory_format)
    flat = flat_view(weight)
    flat.copy_(torch.arange(120.0))
    assert flat.shape == (120,)
    assert sorted(weight.flatten().tolist()) == list(range(120))
    assert flat_view(torch.tensor(3.0)).shape == (1,)


def test_a_tensor_with_gaps_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="`model`: head has the strides"):
        flat_view(torch.zeros(4, 4)[:, ::2], "head")


def test_without_other_processes_nothing_is_exchanged_and_any_is_its_own(vit: nn.Module) -> None:
    parts = LocalShards(dict(vit.named_parameters()))
    parts.exchange()
    assert parts.any(True)
    assert not parts.any(False)

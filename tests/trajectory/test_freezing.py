"""`frozen_statistics` keeps running statistics bitwise unchanged, and restores the modes and hooks of the model."""

from __future__ import annotations

import pytest
import torch
from helpers import Examples, build_model, copied, differing
from torch import nn

from hf_invwnn.trajectory.freezing import frozen_statistics


def train_three_steps(model: nn.Module, digits: Examples) -> None:
    """Three SGD steps with `model.train()` before each, as in the Trainer."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for index in range(3):
        model.train()
        optimizer.zero_grad()
        model(**digits.part(32 * index, 32 * index + 32).columns).loss.backward()
        optimizer.step()


def buffers(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.named_buffers()}


def test_statistics_are_bitwise_unchanged_while_weights_move(resnet: nn.Module, digits: Examples) -> None:
    before, weights = buffers(resnet), dict(copied(resnet))
    assert any(name.endswith("running_mean") for name in before)
    assert any(name.endswith("num_batches_tracked") for name in before)
    with frozen_statistics(resnet):
        train_three_steps(resnet, digits)
    assert differing(buffers(resnet), before) == []
    moved = set(differing(copied(resnet), weights))
    assert moved == {name for name, _ in resnet.named_parameters()}, "all parameters train, scale and shift too"


def test_statistics_move_without_the_context(resnet: nn.Module, digits: Examples) -> None:
    """Without this counterpart, the test above would pass on a model without statistics."""
    before = buffers(resnet)
    train_three_steps(resnet, digits)
    assert set(differing(buffers(resnet), before)) == set(before)


def test_layers_normalise_with_running_statistics() -> None:
    layer = nn.BatchNorm1d(2)
    layer.running_mean.copy_(torch.tensor([1.0, -1.0]))
    layer.running_var.copy_(torch.tensor([4.0, 0.25]))
    x = torch.randn(8, 2, generator=torch.Generator().manual_seed(0))
    with frozen_statistics(layer):
        layer.train()
        normalised = layer(x)
    torch.testing.assert_close(normalised, (x - layer.running_mean) / (layer.running_var + layer.eps).sqrt())


def test_dropout_and_layers_without_statistics_still_train() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.LayerNorm(4))
    with frozen_statistics(model):
        model.train()
        model(torch.ones(8, 4))
        assert [layer.training for layer in model] == [True, False, True, True]


@pytest.mark.parametrize("training", [True, False])
def test_modes_and_hooks_are_restored(resnet: nn.Module, digits: Examples, training: bool) -> None:
    resnet.train(training)
    modes = [layer.training for layer in resnet.modules()]
    hooks = [len(layer._forward_pre_hooks) for layer in resnet.modules()]
    with frozen_statistics(resnet):
        assert sum(len(layer._forward_pre_hooks) for layer in resnet.modules()) > sum(hooks)
        resnet(**digits.part(0, 4).columns)
    assert [layer.training for layer in resnet.modules()] == modes
    assert [len(layer._forward_pre_hooks) for layer in resnet.modules()] == hooks


def test_modes_and_hooks_are_restored_after_an_error() -> None:
    model = build_model("resnet").train()
    with pytest.raises(KeyboardInterrupt), frozen_statistics(model):
        raise KeyboardInterrupt
    assert all(layer.training for layer in model.modules())
    assert not any(layer._forward_pre_hooks for layer in model.modules())

"""The network for prediction computes what the trained one does."""

from __future__ import annotations

import copy

import pytest
import torch
from helpers import build_predictor

from hf_invwnn.predictor import PARAMETER_KINDS
from hf_invwnn.predictor.inference import Affine, InferenceNetwork, Workspace


def workspace() -> Workspace:
    return Workspace(torch.device("cpu"), torch.float64)


@pytest.mark.parametrize("newest_first", [True, False])
@pytest.mark.parametrize("sizes", [{}, {"hidden_size": 7, "activation_size": 3, "stream_size": 5}], ids=["", "odd"])
@pytest.mark.parametrize("kind", PARAMETER_KINDS)
def test_it_is_the_trained_network(kind: str, sizes: dict[str, int], newest_first: bool) -> None:
    """In float64, where nothing but a mistake is left between them; a small block after a large one too."""
    model = build_predictor(6, newest_first=newest_first, **sizes).double()
    network = model.networks[kind]
    before = copy.deepcopy(network.state_dict())
    inference, buffers = InferenceNetwork.exact(network, model.config), workspace()
    generator = torch.Generator().manual_seed(0)
    for batch, count in ((3, 16), (1, 3), (1, 1)):
        trajectory = torch.randn(batch, 6, count, generator=generator, dtype=torch.float64)
        shown = trajectory.flip(1) if newest_first else trajectory
        expected = torch.stack([network(block.T) for block in shown]).detach()
        assert float(expected.abs().max()) > 1e-3
        inputs = torch.cat([trajectory[:, :1], trajectory[:, 1:] - trajectory[:, :1]], dim=1)
        residual = inference(inputs, buffers)
        assert residual.shape == (batch, 1, count)
        torch.testing.assert_close(residual[:, 0], expected, rtol=1e-12, atol=1e-15)
    after = network.state_dict()
    assert [name for name, value in before.items() if not torch.equal(value, after[name])] == []


@pytest.mark.parametrize("trajectory_scale", ["weight", "tensor"])
def test_with_a_trajectory_scale_it_takes_the_displacements_alone(trajectory_scale: str) -> None:
    model = build_predictor(6, trajectory_scale=trajectory_scale).double()
    displacement = torch.randn(1, 5, 20, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    shown = torch.cat([torch.zeros(20, 1, dtype=torch.float64), displacement[0].T], dim=1).flip(-1)
    expected = model.networks["conv"](shown).detach()
    residual = InferenceNetwork.exact(model.networks["conv"], model.config)(displacement, workspace())
    torch.testing.assert_close(residual[0, 0], expected, rtol=1e-12, atol=1e-15)


def test_an_affine_layer_leaves_out_what_does_not_count() -> None:
    generator = torch.Generator().manual_seed(0)
    one, other = torch.randn(2, 3, 4, generator=generator), torch.randn(2, 5, 4, generator=generator)
    weight, bias = torch.randn(6, 5, generator=generator), torch.randn(6, generator=generator)
    layer = Affine(bias, None, weight)
    torch.testing.assert_close(layer(torch.empty(2, 6, 4), one, other), weight @ other + bias[:, None])
    assert layer.multiplications == 30
    empty = Affine(bias, torch.empty(6, 0), None)
    torch.testing.assert_close(empty(torch.empty(2, 6, 4), one[:, :0], other), bias[:, None].expand(2, 6, 4))
    added = Affine(None, None, weight)(torch.ones(2, 6, 4), one, other)
    torch.testing.assert_close(added, 1 + weight @ other)


def test_buffers_are_allocated_once() -> None:
    buffers = workspace()
    large = buffers("a", 3, 4, 5)
    assert buffers("a", 2, 4, 5).data_ptr() == large.data_ptr()
    assert buffers("b", 3, 4, 5).data_ptr() != large.data_ptr()
    assert buffers("a", 4, 4, 5).shape == (4, 4, 5)

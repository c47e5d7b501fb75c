"""The network for prediction is the trained one in other words."""

from __future__ import annotations

import copy

import pytest
import torch
from helpers import build_predictor

from hf_invwnn.predictor import PARAMETER_KINDS
from hf_invwnn.predictor.inference import InferenceNetwork


@pytest.mark.parametrize("sizes", [{}, {"hidden_size": 7, "activation_size": 3, "stream_size": 5}], ids=["", "odd"])
@pytest.mark.parametrize("kind", PARAMETER_KINDS)
def test_it_is_the_trained_network(kind: str, sizes: dict[str, int]) -> None:
    """In float64, where nothing but a mistake is left between them; a short block after a long one too."""
    network = build_predictor(6, **sizes).double().networks[kind]
    before = copy.deepcopy(network.state_dict())
    inference = InferenceNetwork(network, 6, 16)
    generator = torch.Generator().manual_seed(0)
    for count in (16, 3, 1):
        shown = torch.randn(6, count, generator=generator, dtype=torch.float64)
        expected = network(shown.T)
        assert float(expected.detach().abs().max()) > 1e-3
        torch.testing.assert_close(inference(shown), expected.detach(), rtol=1e-12, atol=1e-15)
    after = network.state_dict()
    assert [name for name, value in before.items() if not torch.equal(value, after[name])] == []


def test_a_predictor_that_is_trained_further_predicts_with_what_it_has_learned() -> None:
    """Nothing of the weights is kept from one prediction to the next."""
    predictor = build_predictor(6)
    trajectory = torch.randn(6, 10, generator=torch.Generator().manual_seed(0))
    first = predictor.predict_residual(trajectory, "conv")
    with torch.no_grad():
        for parameter in predictor.networks["conv"].parameters():
            parameter.mul_(0.5)
        expected = predictor(trajectory.T, "conv").residual
    assert not torch.allclose(first, expected, rtol=1e-3)
    torch.testing.assert_close(predictor.predict_residual(trajectory, "conv"), expected)

"""The predictor as a Hugging Face model: what it computes, how it is saved, and which checkpoints it refuses."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import SNAPSHOTS, build_predictor
from reference import invwnn_residual
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import AutoConfig, AutoModel

from hf_invwnn import InvWNNConfig, InvWNNModel, PastWeightPredictor
from hf_invwnn.predictor import PARAMETER_KINDS, parameter_kind


def trajectories(count: int, num_snapshots: int = SNAPSHOTS, seed: int = 0) -> torch.Tensor:
    """`count` random walks around weights of usual size, `(count, K)`."""
    generator = torch.Generator().manual_seed(seed)
    steps = 0.05 * torch.randn(count, num_snapshots, generator=generator)
    return 0.3 * torch.randn(count, 1, generator=generator) + steps.cumsum(dim=1)


def network_weights(model: InvWNNModel, kind: str) -> dict[str, np.ndarray]:
    return {name: value.numpy() for name, value in model.networks[kind].state_dict().items()}


# ---- What it computes ----


@pytest.mark.parametrize("kind", PARAMETER_KINDS)
def test_forward_is_the_network_of_the_paper(kind: str) -> None:
    """At the paper's own sizes, against the float64 reference; each kind has a network of its own."""
    model = build_predictor(15, hidden_size=128, activation_size=8, stream_size=64)
    x = trajectories(300, 15)
    expected = invwnn_residual(network_weights(model, kind), x.numpy())
    assert expected.std() > 0.01
    with torch.no_grad():
        output = model(x, kind)
    np.testing.assert_allclose(output.residual.numpy(), expected, rtol=0, atol=1e-6)
    assert torch.equal(output.past, x[:, 0] + output.residual)
    assert output.loss is None


def test_the_three_kinds_have_networks_of_their_own(predictor: InvWNNModel) -> None:
    x = trajectories(50)
    with torch.no_grad():
        conv, linear, bias = (predictor(x, kind).residual for kind in PARAMETER_KINDS)
    assert not torch.allclose(conv, linear, atol=1e-3)
    assert not torch.allclose(linear, bias, atol=1e-3)


def test_newest_first_turns_the_trajectory_round(predictor: InvWNNModel) -> None:
    """The same weights, told not to reverse, must give for the reversed trajectory what they gave before."""
    forwards = build_predictor(newest_first=False)
    forwards.load_state_dict(predictor.state_dict())
    x = trajectories(50)
    with torch.no_grad():
        backwards = predictor(x, "conv").residual
        assert torch.equal(forwards(x.flip(-1), "conv").residual, backwards)
        assert not torch.allclose(forwards(x, "conv").residual, backwards, atol=1e-3)


def test_the_residual_belongs_to_the_oldest_snapshot(predictor: InvWNNModel) -> None:
    x = trajectories(20)
    past = predictor.predict_past(x.T, "linear")
    assert torch.equal(past, x[:, 0] + predictor.predict_residual(x.T, "linear"))


def test_residual_range_scales_the_tanh() -> None:
    narrow, wide = build_predictor(residual_range=1.0), build_predictor(residual_range=3.0)
    x = trajectories(50)
    with torch.no_grad():
        torch.testing.assert_close(wide(x, "bias").residual, 3 * narrow(x, "bias").residual)


@pytest.mark.parametrize("shape", [(), (1,), (7,), (5, 3), (4, 2, 3), (3, 2, 2, 2), (0,), (3, 0)])
@pytest.mark.parametrize("block_size", [1, 5, 8192])
def test_predict_past_is_forward_for_any_shape_and_block(
    predictor: InvWNNModel, shape: tuple[int, ...], block_size: int
) -> None:
    """Cutting a parameter into blocks and putting it together again must not mix up or lose a weight."""
    predictor.block_size = block_size
    count = math.prod(shape)
    flat = trajectories(count)
    kind = parameter_kind(shape)
    with torch.no_grad():
        expected = predictor(flat, kind).past.reshape(shape)
    found = predictor.predict_past(flat.T.reshape(SNAPSHOTS, *shape), kind)
    assert found.shape == shape
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-7)


@pytest.mark.parametrize("count", [1023, 1024, 1025, 2048])
def test_predict_past_at_the_boundary_of_a_block(predictor: InvWNNModel, count: int) -> None:
    predictor.block_size = 1024
    x = trajectories(count)
    with torch.no_grad():
        torch.testing.assert_close(predictor.predict_past(x.T, "conv"), predictor(x, "conv").past, rtol=0, atol=2e-7)


def test_predict_past_keeps_the_dtype_of_the_trajectory(predictor: InvWNNModel) -> None:
    x = trajectories(20)
    found = predictor.predict_past(x.T.bfloat16(), "conv")
    assert found.dtype == torch.bfloat16
    assert torch.equal(found, predictor.predict_past(x.bfloat16().float().T, "conv").bfloat16())


def test_prediction_leaves_no_graph_behind(predictor: InvWNNModel) -> None:
    x = trajectories(5).T.clone().requires_grad_()
    assert not predictor.predict_residual(x, "conv").requires_grad


def test_parameter_kinds_follow_the_number_of_dimensions() -> None:
    expected = {(): "bias", (3,): "bias", (3, 2): "linear", (3, 2, 1): "conv", (3, 2, 1, 1): "conv", (1,) * 5: "conv"}
    assert {shape: parameter_kind(shape) for shape in expected} == expected


def test_it_is_a_past_weight_predictor(predictor: InvWNNModel) -> None:
    assert isinstance(predictor, PastWeightPredictor)
    assert predictor.num_snapshots == SNAPSHOTS


# ---- trajectory_scale="weight" ----


@pytest.mark.parametrize("factor", [1e-4, 0.5, 7.0])
@pytest.mark.parametrize("shift", [0.0, 0.7])
def test_a_scale_free_residual_follows_the_scale_of_the_trajectory(
    scale_free_predictor: InvWNNModel, factor: float, shift: float
) -> None:
    """residual(a W + b) = a residual(W); in float64, where no cancellation hides it."""
    model = scale_free_predictor.double()
    x = trajectories(100).double()
    residual = model.predict_residual(x.T, "conv")
    assert residual.abs().max() > 1e-3
    moved = model.predict_residual(factor * x.T + shift, "conv")
    torch.testing.assert_close(moved, factor * residual, rtol=1e-7, atol=0)


def test_raw_trajectories_are_not_rescaled(predictor: InvWNNModel) -> None:
    """The counterpart: the paper's predictor is not scale-free."""
    x = trajectories(100)
    residual = predictor.predict_residual(x.T, "conv")
    assert not torch.allclose(predictor.predict_residual(0.5 * x.T, "conv"), 0.5 * residual, atol=1e-3)


def test_a_scale_free_residual_is_in_units_of_the_largest_displacement() -> None:
    model = build_predictor(trajectory_scale="weight", residual_range=2.0)
    x = trajectories(200)
    reach = (x - x[:, :1]).abs().amax(dim=1)
    assert (model.predict_residual(x.T, "bias").abs() <= 2.0 * reach).all()


def test_a_weight_that_stood_still_is_predicted_still(scale_free_predictor: InvWNNModel) -> None:
    """Frozen or dead weights must not drift, whatever constant the network has learned."""
    x = trajectories(6)
    x[2] = 0.25
    x[4] = 0.0
    past = scale_free_predictor.predict_past(x.T, "conv")
    assert past[2] == 0.25
    assert past[4] == 0.0
    assert (past[[0, 1, 3, 5]] != x[[0, 1, 3, 5], 0]).all()


def test_tiny_displacements_stay_finite(scale_free_predictor: InvWNNModel) -> None:
    """Down to subnormal numbers, where a division by the displacement would overflow."""
    for size in (1e-30, 1e-38, 1e-45):
        x = torch.zeros(SNAPSHOTS, 3)
        x[-1] = size
        residual = scale_free_predictor.predict_residual(x, "linear")
        assert residual.isfinite().all()
        assert (residual.abs() <= size).all()


# ---- Training ----


@pytest.mark.parametrize("kind", PARAMETER_KINDS)
def test_the_loss_is_eq_7_with_its_penalties(kind: str) -> None:
    model = build_predictor(kernel_penalty=1e-3, bias_penalty=0.2)
    x, labels = trajectories(40), trajectories(40, seed=1)[:, 0]
    output = model(x, kind, labels=labels)
    error = (x[:, 0] + output.residual - labels).abs().sum().item() / 40
    state = model.networks[kind].state_dict()
    kernels = sum(value.abs().sum().item() for name, value in state.items() if name.endswith(".weight"))
    biases = sum(value.abs().sum().item() for name, value in state.items() if name.endswith(".bias"))
    assert kernels > 0
    assert biases > 0
    assert output.loss.item() == pytest.approx(error + 1e-3 * kernels + 0.2 * biases, rel=1e-5)


def test_the_penalties_of_the_paper_are_the_defaults() -> None:
    config = InvWNNConfig()
    assert (config.kernel_penalty, config.bias_penalty, config.num_snapshots) == (1e-6, 0.1, 15)


def test_the_loss_reaches_every_weight_of_its_own_network_only(predictor: InvWNNModel) -> None:
    predictor(trajectories(64), "conv", labels=torch.zeros(64)).loss.backward()
    for kind in PARAMETER_KINDS:
        grads = {name: parameter.grad for name, parameter in predictor.networks[kind].named_parameters()}
        if kind == "conv":
            assert [name for name, grad in grads.items() if grad is None or not grad.any()] == []
        else:
            assert [name for name, grad in grads.items() if grad is not None] == []


def test_training_lowers_the_loss_on_a_line() -> None:
    """Gradients point the right way: the network learns a task vector of its own."""
    model = build_predictor(trajectory_scale="weight", kernel_penalty=0.0, bias_penalty=0.0)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    x = trajectories(256)
    labels = x[:, 0] - 0.5 * (x[:, -1] - x[:, 0])
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        loss = model(x, "linear", labels=labels).loss
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


def test_variance_scaling_initialisation_fills_its_bounds() -> None:
    """U(-l, l) with l = sqrt(3 scale / fan_in), biases zero: fan-in, not fan-out, and not PyTorch's own."""
    torch.manual_seed(0)
    model = InvWNNModel(InvWNNConfig())
    for name, module in model.named_modules():
        if not isinstance(module, nn.Linear):
            continue
        limit = math.sqrt(3 * 0.1 / module.in_features)
        largest = module.weight.abs().max().item()
        assert largest <= limit, name
        assert largest > 0.9 * limit, name
        assert module.weight.std().item() == pytest.approx(limit / math.sqrt(3), rel=0.15), name
        assert not module.bias.any(), name


# ---- Saving and loading ----


def test_a_config_survives_its_round_trip(tmp_path: Path) -> None:
    values = {
        "num_snapshots": 7,
        "rewind_epochs": 5,
        "hidden_size": 12,
        "activation_size": 3,
        "stream_size": 6,
        "negative_slope": 0.2,
        "newest_first": False,
        "trajectory_scale": "weight",
        "residual_range": 2.5,
        "kernel_penalty": 1e-4,
        "bias_penalty": 0.3,
        "training_jitter": {"conv": 3.0, "bias": 0.5},
        "initializer_scale": 0.7,
    }
    InvWNNConfig(**values).save_pretrained(tmp_path)
    for loaded in (InvWNNConfig.from_pretrained(tmp_path), AutoConfig.from_pretrained(tmp_path)):
        assert type(loaded) is InvWNNConfig
        assert {name: getattr(loaded, name) for name in values} == values
        assert loaded.model_type == "invwnn"


@pytest.mark.parametrize("loader", [InvWNNModel, AutoModel])
def test_a_saved_predictor_comes_back_bitwise(tmp_path: Path, loader: type) -> None:
    model = build_predictor(trajectory_scale="weight", residual_range=2.0, negative_slope=0.1)
    model.save_pretrained(tmp_path)
    assert (tmp_path / "model.safetensors").is_file()
    loaded = loader.from_pretrained(tmp_path)
    assert type(loaded) is InvWNNModel
    assert not loaded.training
    assert loaded.state_dict().keys() == model.state_dict().keys()
    assert all(torch.equal(loaded.state_dict()[name], value) for name, value in model.state_dict().items())
    x = trajectories(30).T
    assert torch.equal(loaded.predict_past(x, "conv"), model.predict_past(x, "conv"))


def test_loading_info_is_still_there_for_those_who_ask(predictor: InvWNNModel, tmp_path: Path) -> None:
    predictor.save_pretrained(tmp_path)
    loaded, info = InvWNNModel.from_pretrained(tmp_path, output_loading_info=True)
    assert isinstance(loaded, InvWNNModel)
    assert not info["missing_keys"]


WEIGHT = "networks.linear.difference_stream.2.weight"


def without_a_weight(state: dict[str, torch.Tensor]) -> None:
    del state[WEIGHT]


def with_another_weight(state: dict[str, torch.Tensor]) -> None:
    state["networks.linear.third_stream.weight"] = torch.zeros(2)


def with_a_misshapen_weight(state: dict[str, torch.Tensor]) -> None:
    state[WEIGHT] = torch.zeros(3, 16)


def with_a_nan(state: dict[str, torch.Tensor]) -> None:
    state[WEIGHT][1, 2] = float("nan")


def with_an_infinity(state: dict[str, torch.Tensor]) -> None:
    state[WEIGHT][1, 2] = float("inf")


@pytest.mark.parametrize("loader", [InvWNNModel, AutoModel])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without_a_weight, f"missing: {WEIGHT}"),
        (with_another_weight, "unexpected: networks.linear.third_stream.weight"),
        (with_a_misshapen_weight, f"misshapen: {WEIGHT}"),
        (with_a_nan, f"not finite: {WEIGHT}"),
        (with_an_infinity, f"not finite: {WEIGHT}"),
    ],
)
def test_a_wrong_checkpoint_is_refused_by_name(
    predictor: InvWNNModel, tmp_path: Path, loader: type, change: Callable[[dict], None], message: str
) -> None:
    """Never a fresh random weight in place of one that does not fit."""
    predictor.save_pretrained(tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    change(state)
    save_file(state, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=re.escape(message)) as refused:
        loader.from_pretrained(tmp_path)
    assert str(tmp_path) in str(refused.value)


def test_a_checkpoint_of_another_size_is_refused(predictor: InvWNNModel, tmp_path: Path) -> None:
    """A config.json that does not belong to the weights."""
    predictor.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["num_snapshots"] = 9
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=r"misshapen: .*networks\.conv\.weight_stream\.0\.weight"):
        InvWNNModel.from_pretrained(tmp_path)


@pytest.mark.parametrize("loader", [InvWNNModel, AutoModel])
@pytest.mark.parametrize("keep", [0.0, 0.1, 0.9])
def test_truncated_weights_are_refused_by_name(
    predictor: InvWNNModel, tmp_path: Path, loader: type, keep: float
) -> None:
    predictor.save_pretrained(tmp_path)
    path = tmp_path / "model.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[: int(keep * len(whole))])
    with pytest.raises(ValueError, match=re.escape(f"`{tmp_path}` are damaged")):
        loader.from_pretrained(tmp_path)


@pytest.mark.parametrize("loader", [InvWNNModel, AutoModel])
def test_pickled_weights_are_never_read(predictor: InvWNNModel, tmp_path: Path, loader: type) -> None:
    predictor.save_pretrained(tmp_path)
    torch.save(predictor.state_dict(), tmp_path / "pytorch_model.bin")
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(OSError, match=r"model\.safetensors"):
        loader.from_pretrained(tmp_path)
    with pytest.raises(ValueError, match="`use_safetensors`"):
        InvWNNModel.from_pretrained(tmp_path, use_safetensors=False)


# ---- Bad input ----


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"num_snapshots": 1}, "`num_snapshots` must be at least 2, got 1"),
        ({"rewind_epochs": 0}, "`rewind_epochs` must be at least 1, got 0"),
        ({"hidden_size": 0}, "`hidden_size` must be at least 1, got 0"),
        ({"activation_size": 0}, "`activation_size` must be at least 1, got 0"),
        ({"stream_size": -1}, "`stream_size` must be at least 1, got -1"),
        ({"trajectory_scale": "layer"}, "`trajectory_scale` must be one of ('none', 'weight', 'tensor'), got 'layer'"),
        ({"target": "future"}, "`target` must be one of ('past', 'counterfactual'), got 'future'"),
        ({"residual_range": 0.0}, "`residual_range` must be positive, got 0.0"),
        ({"training_jitter": {"conv": -1.0}}, "`training_jitter` must map ('conv', 'linear', 'bias') to 0 or above"),
        ({"training_jitter": {"head": 1.0}}, "`training_jitter` must map"),
    ],
)
def test_a_config_out_of_range_names_its_field(values: dict, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        InvWNNConfig(**values)


def test_another_number_of_snapshots_is_refused(predictor: InvWNNModel) -> None:
    for call in (predictor.predict_past, predictor.predict_residual):
        with pytest.raises(ValueError, match=r"`trajectory` must have 4 snapshots in its first dimension, got .*5, 3"):
            call(torch.zeros(5, 3), "conv")
    with pytest.raises(ValueError, match="`trajectory` must have 4 snapshots"):
        predictor(torch.zeros(3, 5), "conv")


def test_forward_takes_n_trajectories_only(predictor: InvWNNModel) -> None:
    with pytest.raises(ValueError, match=re.escape("`trajectory` must have the shape (N, K), got (4,)")):
        predictor(torch.zeros(4), "conv")


@pytest.mark.parametrize("kind", ["embedding", "", None])
def test_an_unknown_kind_is_refused(predictor: InvWNNModel, kind: str | None) -> None:
    with pytest.raises(ValueError, match=re.escape(f"`kind` must be one of {PARAMETER_KINDS}, got {kind!r}")):
        predictor.predict_past(torch.zeros(4, 3), kind)

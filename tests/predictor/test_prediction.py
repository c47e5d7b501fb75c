"""One way to predict: by factored matrices where they are exact enough, by the exact network everywhere else."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import build_predictor

from hf_invwnn import InvWNNModel, convert_keras
from hf_invwnn.predictor import PARAMETER_KINDS, load_predictor, prediction
from hf_invwnn.predictor.inference import InferenceNetwork


def calm(seed: int = 0, **config: object) -> InvWNNModel:
    """A predictor with small weights, as training with the paper's penalties leaves them, which can be factored."""
    model = build_predictor(15, seed=seed, hidden_size=32, initializer_scale=0.1, **config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(0.5)
    return model


def moving(count: int, seed: int = 0, size: float = 1e-3) -> torch.Tensor:
    """Trajectories `(15, count)` of weights of usual size that drift and jitter."""
    generator = torch.Generator().manual_seed(seed)
    steps = size * torch.randn(15, count, generator=generator)
    return 0.2 * torch.randn(count, generator=generator).clamp(-3, 3) + steps.cumsum(dim=0)


def factored(model: InvWNNModel, kind: str) -> InferenceNetwork | None:
    """The factored network that the model predicts a kind with."""
    model.predict_residual(moving(1), kind)
    return model._prediction_cache.entries[kind].network.factored


def exact_residual(model: InvWNNModel, trajectory: torch.Tensor, kind: str) -> torch.Tensor:
    """What the network as trained says in float64."""
    with torch.no_grad():
        flat = trajectory.reshape(len(trajectory), -1).T.double()
        return copy.deepcopy(model).double()(flat, kind).residual.reshape(trajectory.shape[1:])


def relative_error(residual: torch.Tensor, true: torch.Tensor) -> float:
    return float((residual.double() - true).norm() / true.norm())


@pytest.fixture
def model() -> InvWNNModel:
    model = calm()
    model.block_size = 64
    return model


# ---- How exact it is ----


@pytest.mark.parametrize("scale", ["none", "weight"])
@pytest.mark.parametrize("kind", PARAMETER_KINDS)
@pytest.mark.parametrize("shape", [(600,), (3, 5, 7), (64,), (1,)])
def test_it_agrees_with_the_network_as_trained(kind: str, shape: tuple[int, ...], scale: str) -> None:
    model = calm(trajectory_scale=scale)
    trajectory = moving(int(np.prod(shape)), seed=5).reshape(15, *shape)
    assert factored(model, kind) is not None, "otherwise this compares the exact network with itself"
    residual = model.predict_residual(trajectory, kind)
    assert residual.shape == shape and residual.dtype == torch.float32
    assert relative_error(residual, exact_residual(model, trajectory, kind)) <= 1e-5
    torch.testing.assert_close(model.predict_past(trajectory, kind), trajectory[0] + residual)


@pytest.mark.parametrize("kind", PARAMETER_KINDS)
def test_it_multiplies_less(model: InvWNNModel, kind: str) -> None:
    exact = sum(parameter.numel() for parameter in model.networks[kind].parameters() if parameter.ndim == 2)
    network = factored(model, kind)
    assert network is not None and 4 * network.multiplications < exact


def odd_shapes(count: int) -> dict[str, torch.Tensor]:
    """Trajectories `(15, count)` unlike any training."""
    generator = torch.Generator().manual_seed(9)
    noise, size = torch.randn(15, count, generator=generator), torch.randn(1, count, generator=generator)
    time = torch.linspace(0, 1, 15)[:, None]
    return {
        "walk": noise.cumsum(dim=0),
        "noise": noise,
        "signs": noise.sign(),
        "alternating": (torch.arange(15) % 2)[:, None] * size,
        "spikes": noise * (torch.rand(15, count, generator=generator) < 0.07),
        "step": (time > torch.rand(1, count, generator=generator)) * size,
        "line": time * size,
        "first step only": (time > 0) * size + 1e-3 * noise,
        "last step only": (time == 1) * size,
        "there and back": time * (1 - time) * size + 1e-3 * noise,
    }


@pytest.mark.parametrize("kind", PARAMETER_KINDS)
def test_the_predictor_in_the_package_is_factored_for_any_shape(kind: str) -> None:
    """A trajectory of any shape is in the range of its calibration: each is shown over its largest displacement."""
    model = load_predictor("base")
    assert factored(model, kind) is not None
    for name, trajectory in odd_shapes(5000).items():
        error = relative_error(model.predict_residual(trajectory, kind), exact_residual(model, trajectory, kind))
        assert error <= 1e-5, name


def test_the_authors_weights(authors_predictor: Path | None) -> None:
    """
    Where they are at hand: at most 1e-5 from the authors' own outputs, and from the exact network on trajectories
    inside and outside the range of the calibration, with a tenth of the multiplications.
    """
    if authors_predictor is None:
        return  # they carry no licence and cannot be in the repository; the tests above need none
    files = [authors_predictor / f"InvWNN_{name}.h5" for name in ("Conv", "FC", "Bias")]
    model, golden = convert_keras(*files), np.load(authors_predictor / "golden.npz")
    for kind, name in (("conv", "Conv"), ("linear", "FC"), ("bias", "Bias")):
        network = factored(model, kind)
        assert network is not None and network.multiplications < 6_100
        residual = model.predict_residual(torch.from_numpy(golden[f"{name}_traj"]).T, kind)
        assert relative_error(residual, torch.from_numpy(golden[f"{name}_residual"]).double()) <= 1e-5
        far = moving(3000, seed=4, size=0.2)
        assert not bool(prediction.is_calibrated(torch.cat([far[:1], far[1:] - far[:1]])[None]).any())
        for trajectory in (moving(3000, seed=3, size=1e-2), far, torch.cat([moving(3000, size=1e-2), far], dim=1)):
            residual = model.predict_residual(trajectory, kind)
            assert relative_error(residual, exact_residual(model, trajectory, kind)) <= 1e-5


def test_float64_is_exact(model: InvWNNModel) -> None:
    """Whoever asks for more digits gets them: a float64 model is never factored."""
    model.double()
    trajectory = moving(200).double()
    residual = model.predict_residual(trajectory, "conv")
    torch.testing.assert_close(residual, exact_residual(model, trajectory, "conv"), rtol=1e-12, atol=1e-15)
    assert factored(model, "conv") is None


@pytest.mark.parametrize("config", [{"initializer_scale": 4.0}, {"trajectory_scale": "tensor"}])
def test_what_cannot_be_factored_stays_exact(config: dict[str, object]) -> None:
    model = build_predictor(15, **config)
    trajectory = moving(100)
    assert factored(model, "bias") is None
    residual = model.predict_residual(trajectory, "bias")
    assert relative_error(residual, exact_residual(model, trajectory, "bias")) < 1e-6


def test_a_dead_stream_costs_nothing(model: InvWNNModel) -> None:
    with torch.no_grad():
        model.networks["conv"].output.weight[0, model.config.stream_size :] = 0.0
    network = factored(model, "conv")
    assert network is not None and len(network.streams) == 1
    trajectory = moving(100)
    residual = model.predict_residual(trajectory, "conv")
    assert relative_error(residual, exact_residual(model, trajectory, "conv")) <= 1e-5


def test_weights_that_are_not_finite_predict_what_is_not_finite(model: InvWNNModel) -> None:
    """The run that uses the predictor reports them; the calibration is no obstacle."""
    with torch.no_grad():
        model.networks["conv"].weight_stream[2].weight[3, 4] = torch.nan
    assert model.predict_residual(moving(10), "conv").isnan().all()


# ---- The range of the calibration ----


@pytest.mark.parametrize(
    "change",
    [
        lambda trajectory: trajectory.index_fill(1, torch.tensor([70]), 1.5),
        lambda trajectory: torch.cat(
            [trajectory[:7], trajectory[7:].index_add(1, torch.tensor([70]), torch.ones(8, 1))]
        ),
        lambda trajectory: trajectory.index_fill(1, torch.tensor([70]), torch.nan),
    ],
    ids=["weight", "step", "nan"],
)
def test_a_weight_outside_the_calibration_is_predicted_exactly_and_alone(
    model: InvWNNModel, change: Callable[[torch.Tensor], torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It alone goes through the exact network, and its neighbours in the block are predicted as without it."""
    inside = model.predict_residual(moving(128), "conv")
    network = model._prediction_cache.entries["conv"].network
    exact, numbers = network.exact, []
    monkeypatch.setattr(network, "exact", lambda x, buffers: numbers.append(x.shape[-1]) or exact(x, buffers))
    trajectory = change(moving(128))
    residual = model.predict_residual(trajectory, "conv")
    assert numbers == [1]
    others = torch.arange(128) != 70
    assert torch.equal(residual[others], inside[others])
    true = exact_residual(model, trajectory, "conv")[70]
    torch.testing.assert_close(residual[70].double(), true, rtol=1e-6, atol=0, equal_nan=True)


def test_a_block_outside_the_calibration_is_predicted_exactly(
    model: InvWNNModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    trajectory = torch.cat([moving(64), moving(64) + 3.0], dim=1)
    assert factored(model, "conv") is not None
    network = model._prediction_cache.entries["conv"].network
    fast, numbers = network.factored, []
    monkeypatch.setattr(network, "factored", lambda x, buffers: numbers.append(x.shape[-1]) or fast(x, buffers))
    residual = model.predict_residual(trajectory, "conv")
    assert numbers == [64], "the second block needs no factored network"
    assert relative_error(residual[64:], exact_residual(model, trajectory, "conv")[64:]) < 1e-6


# ---- On what the result depends ----


@pytest.mark.parametrize("block_size", [1, 7, 100, 256, 700, 16384])
def test_the_result_does_not_depend_on_the_block_size(model: InvWNNModel, block_size: int) -> None:
    """To the rounding of matrix products of another shape; some weights are outside the calibration."""
    trajectory = moving(1000)
    trajectory[:, 100:900:50] += 2.0
    expected = model.predict_residual(trajectory, "conv")
    model.block_size = block_size
    residual = model.predict_residual(trajectory, "conv")
    torch.testing.assert_close(residual, expected, rtol=0, atol=3e-7 * float(expected.abs().max()))


def test_the_result_does_not_depend_on_what_was_predicted_before() -> None:
    trajectory = moving(300)
    fresh = calm().predict_residual(trajectory, "conv")
    used = calm()
    for count, kind in ((5000, "bias"), (3, "conv"), (2000, "conv")):
        used.predict_residual(moving(count, seed=count) + 2.0, kind)
    assert torch.equal(used.predict_residual(trajectory, "conv"), fresh)
    assert torch.equal(used.predict_residual(trajectory, "conv"), fresh)


def test_the_calibration_is_seeded_and_touches_no_global_random_state() -> None:
    torch.manual_seed(3)
    model = calm()
    before, trajectory = torch.get_rng_state(), moving(100)
    first = model.predict_residual(trajectory, "conv")
    assert factored(model, "conv") is not None
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(4)
    assert torch.equal(copy.deepcopy(model).predict_residual(trajectory, "conv"), first)


def test_each_kind_is_calibrated_once(model: InvWNNModel, monkeypatch: pytest.MonkeyPatch) -> None:
    calls, make = [], prediction.factored_network
    monkeypatch.setattr(prediction, "factored_network", lambda *given: calls.append(given[0]) or make(*given))
    for kind in ("conv", "bias", "conv", "bias", "conv"):
        model.predict_residual(moving(70), kind)
    assert calls == [model.networks["conv"], model.networks["bias"]]


def halve(model: InvWNNModel) -> None:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(0.5)


def step(model: InvWNNModel) -> None:
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    model(moving(10).T, "conv", labels=torch.ones(10)).loss.backward()
    optimizer.step()


def load(model: InvWNNModel) -> None:
    model.load_state_dict(calm(seed=1).state_dict())


def assign(model: InvWNNModel) -> None:
    model.load_state_dict(calm(seed=1).state_dict(), assign=True)


def replace_data(model: InvWNNModel) -> None:
    for parameter in model.parameters():
        parameter.data = parameter.data * 0.5


def round_off(model: InvWNNModel) -> None:
    model.bfloat16().float()


@pytest.mark.parametrize("change", [halve, step, load, assign, replace_data, round_off])
def test_a_model_predicts_with_the_weights_it_has_now(model: InvWNNModel, change: Callable) -> None:
    trajectory = moving(100)
    first = model.predict_residual(trajectory, "conv")
    change(model)
    true = exact_residual(model, trajectory, "conv")
    assert relative_error(first, true) > 1e-4
    assert relative_error(model.predict_residual(trajectory, "conv"), true) <= 1e-5


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_copy_predicts_with_its_own_weights(model: InvWNNModel, copied: Callable) -> None:
    trajectory = moving(100)
    first = model.predict_residual(trajectory, "conv")
    other = copied(model)
    assert torch.equal(other.predict_residual(trajectory, "conv"), first)
    halve(other)
    assert not torch.equal(other.predict_residual(trajectory, "conv"), first)
    assert torch.equal(model.predict_residual(trajectory, "conv"), first)


def test_threads_can_share_a_model(model: InvWNNModel) -> None:
    """Its buffers serve one of them at a time."""
    trajectories = [moving(3000, seed=seed) for seed in range(8)]
    expected = [model.predict_residual(trajectory, "conv") for trajectory in trajectories]
    with ThreadPoolExecutor(4) as pool:
        residuals = list(pool.map(lambda trajectory: model.predict_residual(trajectory, "conv"), trajectories))
    assert all(map(torch.equal, residuals, expected))


def test_a_prediction_in_inference_mode_does_not_bar_others(model: InvWNNModel) -> None:
    trajectory = moving(100)
    with torch.inference_mode():
        first = model.predict_residual(trajectory, "conv")
    assert torch.equal(model.predict_residual(trajectory, "conv"), first)

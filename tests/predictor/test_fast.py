"""The compressed predictor says what the exact one says, and gives way to it where it was not calibrated."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import build_predictor

from hf_invwnn import InvWNNModel, convert_keras
from hf_invwnn.predictor import PARAMETER_KINDS, FastInvWNN


def calm(seed: int = 0, **config: object) -> InvWNNModel:
    """A predictor with small weights, as training with the paper's penalties leaves them, which can be compressed."""
    model = build_predictor(15, seed=seed, hidden_size=32, initializer_scale=0.1, **config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(0.5)
    return model


def moving(count: int, seed: int = 0, size: float = 1e-3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    steps = size * torch.randn(15, count, generator=generator)
    return 0.2 * torch.randn(count, generator=generator).clamp(-3, 3) + steps.cumsum(dim=0)


@pytest.fixture(scope="module")
def model() -> InvWNNModel:
    return calm()


@pytest.fixture(scope="module")
def fast(model: InvWNNModel) -> FastInvWNN:
    return FastInvWNN(model, tolerance=1e-4, block_size=64)


def relative_error(found: torch.Tensor, true: torch.Tensor) -> float:
    return float((found - true).norm() / true.norm())


@pytest.mark.parametrize("kind", PARAMETER_KINDS)
@pytest.mark.parametrize("shape", [(200,), (3, 5, 7), (64,), (1,)])
def test_it_agrees_with_the_exact_predictor(
    fast: FastInvWNN, model: InvWNNModel, kind: str, shape: tuple[int, ...]
) -> None:
    trajectory = moving(int(np.prod(shape))).reshape(15, *shape)
    assert kind in fast.compressed, "otherwise this compares the exact predictor with itself"
    found, true = fast.predict_residual(trajectory, kind), model.predict_residual(trajectory, kind)
    assert found.shape == shape and found.dtype == true.dtype
    assert relative_error(found, true) < 3e-4
    torch.testing.assert_close(fast.predict_past(trajectory, kind), trajectory[0] + found)


@pytest.mark.parametrize("kind", PARAMETER_KINDS)
def test_it_multiplies_less(fast: FastInvWNN, model: InvWNNModel, kind: str) -> None:
    exact = sum(parameter.numel() for parameter in model.networks[kind].parameters() if parameter.ndim == 2)
    assert 4 * fast.compressed[kind].multiplications < exact


@pytest.mark.parametrize(
    "change",
    [
        lambda trajectory: trajectory.index_fill(1, torch.tensor([70]), 1.5),  # a weight outside the range
        lambda trajectory: torch.cat([trajectory[:7], trajectory[7:] + 0.3]),  # a step outside it
        lambda trajectory: trajectory.index_fill(1, torch.tensor([70]), torch.nan),
    ],
    ids=["weight", "step", "nan"],
)
def test_outside_the_calibration_it_is_the_exact_predictor(
    fast: FastInvWNN, model: InvWNNModel, change: object
) -> None:
    """Bitwise, for the whole block; blocks are 64 here and 70 lies in the second."""
    trajectory = change(moving(128))  # type: ignore[operator]
    found = fast.predict_residual(trajectory, "conv")
    true = model.predict_residual(trajectory[:, 64:], "conv")
    assert torch.equal(found[64:].nan_to_num(7.0), true.nan_to_num(7.0))
    assert bool(found.isnan().any()) == bool(trajectory.isnan().any())


def test_a_predictor_that_cannot_be_compressed_stays_exact() -> None:
    wild, scale_free = build_predictor(15, initializer_scale=4.0), calm(trajectory_scale="weight")
    trajectory = moving(100)
    for model in (wild, scale_free):
        fast = FastInvWNN(model, tolerance=1e-9)
        assert not fast.compressed
        assert torch.equal(fast.predict_residual(trajectory, "bias"), model.predict_residual(trajectory, "bias"))


@pytest.mark.parametrize(("name", "value"), [("tolerance", 0.0), ("block_size", 0)])
def test_options_that_cannot_work_are_refused(model: InvWNNModel, name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"`{name}` must be positive, got 0"):
        FastInvWNN(model, **{name: value})  # type: ignore[arg-type]


def test_the_authors_weights(authors_predictor: Path | None, tmp_path: Path) -> None:
    """Where they are at hand: at most 1e-5 from the authors' own outputs, with a tenth of the multiplications."""
    if authors_predictor is None:
        return  # they carry no licence and cannot be in the repository; the tests above need none
    files = [authors_predictor / f"InvWNN_{name}.h5" for name in ("Conv", "FC", "Bias")]
    model = convert_keras(*files)
    fast, golden = FastInvWNN(model), np.load(authors_predictor / "golden.npz")
    for kind, name in (("conv", "Conv"), ("linear", "FC"), ("bias", "Bias")):
        found = fast.predict_residual(torch.from_numpy(golden[f"{name}_traj"]).T, kind)
        assert fast.compressed[kind].multiplications < 6_100
        assert relative_error(found, torch.from_numpy(golden[f"{name}_residual"])) <= 1e-5

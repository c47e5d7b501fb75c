"""One rewind of a real model follows the equation of the paper for every parameter."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
import torch
from helpers import SNAPSHOTS, Examples, build_model, build_predictor, copied, differing
from reference import invwnn_residual, rewound
from torch import nn

from hf_invwnn import LinearPredictor
from hf_invwnn.errors import NonFiniteWeightsError
from hf_invwnn.predictor import load_predictor, parameter_kind
from hf_invwnn.trajectory.rewind import past_weights, rewind
from hf_invwnn.trajectory.tracking import select_parameters
from hf_invwnn.trajectory.trajectory import Trajectory


SCALES = [0.25, 1.0, 4.0]


def fine_tuned(
    model: nn.Module, digits: Examples, **options: str
) -> tuple[Trajectory, dict[str, np.ndarray], dict[str, torch.Tensor]]:
    """Records K points of plain SGD; returns the trajectory, the points `(K, N)` by name, and the last weights."""
    tracked = select_parameters(model)
    trajectory = Trajectory(tracked, SNAPSHOTS, **options)
    optimizer = torch.optim.SGD(tracked.values(), lr=0.1)
    points: dict[str, list[np.ndarray]] = {name: [] for name in tracked}
    for index in range(SNAPSHOTS):
        if index:
            optimizer.zero_grad()
            model(**digits.part(0, 32).columns).loss.backward()
            optimizer.step()
        trajectory.record()
        for name, parameter in tracked.items():
            points[name].append(parameter.detach().numpy().ravel().copy())
    return trajectory, {name: np.stack(values) for name, values in points.items()}, copied(model)


@pytest.mark.parametrize("residual_scale", SCALES)
@pytest.mark.parametrize("architecture", ["vit", "resnet"])
def test_a_rewind_with_invwnn_equals_the_reference(digits: Examples, architecture: str, residual_scale: float) -> None:
    """Expected: theta^t + scale * InvWNN(W, dW), in float64 from the recorded points; equal up to float32 rounding."""
    model, predictor = build_model(architecture), build_predictor()
    trajectory, points, _ = fine_tuned(model, digits)
    rewind(trajectory, predictor, residual_scale)
    kinds = set()
    for name, parameter in select_parameters(model).items():
        kind = parameter_kind(parameter.shape)
        weights = {key: value.numpy() for key, value in predictor.networks[kind].state_dict().items()}
        residual = invwnn_residual(weights, points[name].T)
        expected = rewound(points[name], residual, residual_scale)
        rewound_weights = parameter.detach().numpy().ravel()
        np.testing.assert_allclose(rewound_weights, expected, rtol=2e-7, atol=1e-6 * residual_scale, err_msg=name)
        assert np.abs(rewound_weights - points[name][0]).max() > 1e-4, f"{name} did not move"
        kinds.add(kind)
    assert kinds == {"conv", "linear", "bias"}


@pytest.mark.parametrize("residual_scale", SCALES)
def test_a_rewind_with_the_task_vector_equals_the_reference(
    vit: nn.Module, digits: Examples, residual_scale: float
) -> None:
    scales = {"conv": 1.25, "linear": 0.25, "bias": 0.5}
    trajectory, points, _ = fine_tuned(vit, digits)
    rewind(trajectory, LinearPredictor(scales), residual_scale)
    for name, parameter in select_parameters(vit).items():
        ends = points[name].astype(np.float64)
        residual = -scales[parameter_kind(parameter.shape)] * (ends[-1] - ends[0])
        expected = rewound(points[name], residual, residual_scale)
        np.testing.assert_allclose(parameter.detach().numpy().ravel(), expected, rtol=2e-7, atol=1e-7, err_msg=name)


def test_a_rewind_starts_from_the_oldest_snapshot_and_not_from_the_current_weights(
    vit: nn.Module, digits: Examples
) -> None:
    trajectory, points, _ = fine_tuned(vit, digits)
    with torch.no_grad():
        for parameter in vit.parameters():
            parameter.add_(1.0)
    rewind(trajectory, LinearPredictor(0.0), 1.0)
    for name, parameter in select_parameters(vit).items():
        assert np.array_equal(parameter.detach().numpy().ravel(), points[name][0]), name


def test_a_rewind_changes_tracked_parameters_only(resnet: nn.Module, digits: Examples) -> None:
    """Untracked parameters and BatchNorm buffers stay bitwise unchanged."""
    resnet.classifier.requires_grad_(False)
    trajectory, _, before = fine_tuned(resnet, digits)
    rewind(trajectory, build_predictor(), 1.0)
    assert set(differing(copied(resnet), before)) == set(select_parameters(resnet))


def test_the_trajectory_is_not_changed(vit: nn.Module, digits: Examples) -> None:
    trajectory, points, _ = fine_tuned(vit, digits)
    rewind(trajectory, LinearPredictor(), 1.0)
    for name, _, snapshots in trajectory.blocks(sys.maxsize):
        assert np.array_equal(snapshots.numpy(), points[name])


def test_bfloat16_snapshots_give_the_residual_to_a_thousandth(digits: Examples) -> None:
    """Relative L2 error of the residual of a whole model. The ends are exact, so the task vector has no error."""
    residuals: dict[str, dict[str, torch.Tensor]] = {"linear": {}, "base": {}}
    for dtype in ("float32", "bfloat16"):
        model = build_model("vit")
        trajectory = Trajectory(select_parameters(model), 15, dtype)
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
        for index in range(15):
            if index:
                optimizer.zero_grad()
                model(**digits.part(0, 32).columns).loss.backward()
                optimizer.step()
            trajectory.record()
        for kind, predictor in (("linear", LinearPredictor()), ("base", load_predictor("base"))):
            of_parameters = [
                predictor.predict_residual(snapshots, trajectory.shards.kind(name))
                for name, _, snapshots in trajectory.blocks(sys.maxsize)
            ]
            residuals[kind][dtype] = torch.cat(of_parameters)
    assert torch.equal(residuals["linear"]["float32"], residuals["linear"]["bfloat16"])
    exact, rounded = residuals["base"]["float32"], residuals["base"]["bfloat16"]
    assert 0 < (rounded - exact).norm() / exact.norm() < 1e-3


def test_a_model_in_bfloat16_is_rewound_in_float32_and_rounded_once(vit: nn.Module) -> None:
    vit.bfloat16()
    tracked = select_parameters(vit)
    trajectory = Trajectory(tracked, 2)
    trajectory.record()
    with torch.no_grad():
        for parameter in tracked.values():
            parameter.mul_(1.5).add_(0.01)
    trajectory.record()
    points = {name: snapshots.clone() for name, _, snapshots in trajectory.blocks(sys.maxsize)}
    rewind(trajectory, LinearPredictor(0.3), 0.5)
    for name, parameter in tracked.items():
        low, high = points[name]
        expected = (low + 0.5 * (-0.3 * (high - low))).bfloat16()
        assert torch.equal(parameter.flatten(), expected), name


def test_past_weights_derives_the_kind_from_the_shape() -> None:
    """Three or more dimensions: conv; two: linear; one: bias."""
    predictor = LinearPredictor({"conv": 1.0, "linear": 2.0, "bias": 3.0})
    for shape, expected in (((2, 2, 2, 2), -1.0), ((2, 2, 2), -1.0), ((2, 2), -2.0), ((2,), -3.0)):
        trajectory = torch.stack([torch.zeros(shape), torch.ones(shape)])
        assert torch.equal(past_weights(trajectory, predictor), torch.full(shape, expected))


def test_a_trajectory_that_is_not_full_is_refused(vit: nn.Module) -> None:
    trajectory = Trajectory(select_parameters(vit), 3)
    trajectory.record()
    before = copied(vit)
    with pytest.raises(RuntimeError, match="needs 3 snapshots, there are 1"):
        rewind(trajectory, LinearPredictor())
    assert differing(copied(vit), before) == []


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_non_finite_prediction_is_refused_by_name(vit: nn.Module, digits: Examples, value: float) -> None:
    """The parameter keeps its weights: the prediction is checked before it is written."""
    trajectory, _, before = fine_tuned(vit, digits)
    poisoned = list(select_parameters(vit))[5]
    trajectory._stored[poisoned][-1, 3] = value
    with pytest.raises(NonFiniteWeightsError, match=f"`{poisoned}` is not finite"):
        rewind(trajectory, LinearPredictor(), 1.0)
    assert torch.equal(vit.get_parameter(poisoned), before[poisoned])


@pytest.mark.parametrize(
    ("answer", "got"),
    [
        (lambda trajectory: trajectory[0].unsqueeze(-1), r"the shape \(6, 1\)"),
        (lambda trajectory: trajectory[:1], r"the shape \(1, 6\)"),
        (lambda trajectory: trajectory, r"the shape \(3, 6\)"),
        (lambda trajectory: trajectory[0].mean(), r"the shape \(\)"),
        (lambda trajectory: trajectory[0].numpy(), "a ndarray"),
        (lambda trajectory: None, "a NoneType"),
    ],
)
def test_a_predictor_of_another_output_shape_is_refused_and_not_broadcast(answer: Any, got: str) -> None:
    class Odd:
        num_snapshots = None

        def predict_residual(self, trajectory: torch.Tensor, kind: str) -> Any:
            return answer(trajectory)

    message = rf"`predictor` \(Odd\) must return one residual per weight, a tensor of shape \(6,\), got {got}"
    with pytest.raises(ValueError, match=message):
        past_weights(torch.randn(3, 6), Odd())

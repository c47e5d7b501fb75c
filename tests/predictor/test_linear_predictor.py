"""The task vector behind the predictor's interface."""

from __future__ import annotations

import re

import pytest
import torch

from hf_invwnn import LinearPredictor, PastWeightPredictor
from hf_invwnn.predictor import PARAMETER_KINDS


def test_it_walks_back_along_the_line_through_the_ends() -> None:
    """theta^t - scale (theta^{t+K-1} - theta^t); what lies between the ends does not count."""
    trajectory = torch.tensor([[1.0, -2.0], [50.0, 60.0], [3.0, -3.0]])
    predictor = LinearPredictor({"conv": 0.5, "linear": 2.0, "bias": 0.0})
    assert predictor.predict_residual(trajectory, "conv").tolist() == [-1.0, 0.5]
    assert predictor.predict_residual(trajectory, "linear").tolist() == [-4.0, 2.0]
    assert predictor.predict_residual(trajectory, "bias").tolist() == [0.0, 0.0]


def test_one_scale_counts_for_all_kinds() -> None:
    trajectory = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    expected = -0.3 * (trajectory[-1] - trajectory[0])
    for kind in PARAMETER_KINDS:
        torch.testing.assert_close(LinearPredictor(0.3).predict_residual(trajectory, kind), expected)


def test_it_takes_any_number_of_snapshots_shape_and_dtype() -> None:
    predictor = LinearPredictor()
    assert predictor.num_snapshots is None
    assert isinstance(predictor, PastWeightPredictor)
    for snapshots in (2, 15):
        residual = predictor.predict_residual(torch.zeros(snapshots, 2, 3, dtype=torch.bfloat16), "linear")
        assert residual.shape == (2, 3)
        assert residual.dtype == torch.float32


@pytest.mark.parametrize(
    ("scale", "message"),
    [
        ({"conv": 1.0, "linear": 1.0}, "`scale` needs exactly the kinds"),
        ({"conv": 1.0, "linear": 1.0, "bias": 1.0, "embedding": 1.0}, "`scale` needs exactly the kinds"),
        (-0.1, "`scale['conv']` must be a finite number of at least 0, got -0.1"),
        (float("inf"), "`scale['conv']` must be a finite number of at least 0, got inf"),
        ({"conv": 1.0, "linear": float("nan"), "bias": 1.0}, "`scale['linear']` must be a finite number"),
    ],
)
def test_a_scale_that_cannot_work_is_refused(scale: object, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        LinearPredictor(scale)


def test_a_trajectory_that_cannot_work_is_refused() -> None:
    with pytest.raises(ValueError, match="`kind` must be one of"):
        LinearPredictor().predict_residual(torch.zeros(3, 2), "embedding")
    with pytest.raises(ValueError, match="at least 2 snapshots"):
        LinearPredictor().predict_residual(torch.zeros(1, 2), "conv")

"""The divergence of two answers, against computations of its own in numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import expit, softmax

from hf_invwnn.recovery.divergence import CLASSES, LABELS, NUMBERS, divergence


@pytest.fixture
def answers() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(6, 5, generator=generator) * 3, torch.randn(6, 5, generator=generator) * 3


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_classes(answers: tuple[torch.Tensor, torch.Tensor], temperature: float) -> None:
    teacher, student = (softmax(value.numpy().astype(float) / temperature, axis=-1) for value in answers)
    expected = temperature**2 * (teacher * np.log(teacher / student)).sum(axis=-1).mean()
    assert float(divergence(*answers, CLASSES, temperature)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_independent_labels(answers: tuple[torch.Tensor, torch.Tensor], temperature: float) -> None:
    teacher, student = (expit(value.numpy().astype(float) / temperature) for value in answers)
    each = teacher * np.log(teacher / student) + (1 - teacher) * np.log((1 - teacher) / (1 - student))
    expected = temperature**2 * each.sum(axis=-1).mean()
    assert float(divergence(*answers, LABELS, temperature)) == pytest.approx(expected, rel=1e-4)


def test_numbers(answers: tuple[torch.Tensor, torch.Tensor]) -> None:
    teacher, student = (value.numpy() for value in answers)
    assert float(divergence(*answers, NUMBERS)) == pytest.approx(0.5 * ((teacher - student) ** 2).mean(), rel=1e-5)


def test_positions_that_do_not_count() -> None:
    """Of three texts of four tokens one is empty; the mean is over the five tokens that count."""
    generator = torch.Generator().manual_seed(0)
    teacher, student = torch.randn(3, 4, 7, generator=generator), torch.randn(3, 4, 7, generator=generator)
    counted = torch.tensor([[1, 1, 0, 0], [1, 1, 1, 0], [0, 0, 0, 0]]).bool()
    one, other = (softmax(value.numpy().astype(float), axis=-1)[counted.numpy()] for value in (teacher, student))
    expected = (one * np.log(one / other)).sum(axis=-1).mean()
    assert float(divergence(teacher, student, CLASSES, counted=counted)) == pytest.approx(expected, rel=1e-5)
    assert float(divergence(teacher, student, CLASSES, counted=torch.zeros_like(counted))) == 0.0


@pytest.mark.parametrize("outputs", [CLASSES, LABELS, NUMBERS])
def test_equal_answers_do_not_diverge_and_extreme_ones_are_finite(outputs: str) -> None:
    values = torch.tensor([[1e3, -1e3, 0.0]], dtype=torch.float16)
    assert float(divergence(values, values, outputs)) == 0.0
    assert torch.isfinite(divergence(values, -values, outputs))

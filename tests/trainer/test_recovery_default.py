"""InvWNN recovers unless it is told not to, other methods do if they are told to, and nothing fails for want of it."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import Examples, copied, differing
from torch import nn

from hf_invwnn import InvWNNUnlearner, LinearPredictor, UnlearningArguments
from hf_invwnn.audit.record import read_record
from hf_invwnn.methods import METHODS, make_unlearner


Make = Callable[..., Any]
SHORT: dict[str, Any] = {"num_rewinds": 1, "num_snapshots": 4, "use_cpu": True, "report_to": "none"}


@pytest.fixture
def args(tmp_path: Path) -> Callable[..., UnlearningArguments]:
    def make(**settings: Any) -> UnlearningArguments:
        quiet = {"disable_tqdm": True, "save_strategy": "no", "per_device_train_batch_size": 16}
        return UnlearningArguments(str(tmp_path / "out"), **{**SHORT, **quiet, **settings})

    return make


def test_the_default_is_that_of_the_method(
    args: Callable[..., UnlearningArguments], memorised_vit: nn.Module, noisy: Examples
) -> None:
    """Also if the same arguments are used for one method after the other, or are changed in between."""
    shared = args()
    for name, steps in (("invwnn", 600), ("neg_grad", 0), ("task_vector", 0), ("invwnn", 600)):
        own = {"predictor": LinearPredictor()} if name == "invwnn" else {}
        unlearner = make_unlearner(name, memorised_vit, shared, noisy, **own)
        assert (unlearner.recovery.steps, shared.recovery_steps) == (steps, steps), name
        shared = dataclasses.replace(shared, seed=1)
    assert {name for name, method in METHODS.items() if method.default_recovery_steps} == {"invwnn"}


def test_a_budget_is_shared_with_rewinding(
    args: Callable[..., UnlearningArguments], memorised_vit: nn.Module, noisy: Examples
) -> None:
    unlearner = InvWNNUnlearner(memorised_vit, args(max_forget_steps=20), noisy, predictor=LinearPredictor())
    assert unlearner.recovery.steps == 10
    unlearner.train()
    assert unlearner.history[-1]["step"] == 6 + 10  # one rewind of three epochs of two batches


def test_the_record_says_how_long_it_recovered(
    args: Callable[..., UnlearningArguments], memorised_vit: nn.Module, noisy: Examples
) -> None:
    settings = args(max_forget_steps=20)
    unlearner = InvWNNUnlearner(memorised_vit, settings, noisy, predictor=LinearPredictor())
    unlearner.train()
    unlearner.save_model()
    record = read_record(settings.output_dir)
    assert record["recovery"]["steps"] == 10 and record["arguments"]["recovery_steps"] == 10


@pytest.mark.parametrize(("count", "steps"), [(9, 0), (10, 600)])
def test_a_few_examples_are_not_recovered_from_by_default(
    count: int,
    steps: int,
    args: Callable[..., UnlearningArguments],
    memorised_vit: nn.Module,
    noisy: Examples,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Surrogates of a single example made a model forget nearly everything else; who asks for it is warned."""
    few = noisy.part(0, count)
    unlearner = InvWNNUnlearner(memorised_vit, args(), few, predictor=LinearPredictor())
    assert unlearner.recovery.steps == steps
    assert ("The run will rewind alone: the forget set has 9 examples" in caplog.text) == (steps == 0)
    caplog.clear()
    InvWNNUnlearner(memorised_vit, args(recovery_steps=5), few, predictor=LinearPredictor())
    assert ("Recovery may harm the model: the forget set has 9 examples" in caplog.text) == (steps == 0)


class LossOnly(nn.Module):
    """A model that returns nothing but its loss."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(64, 10)

    def forward(self, pixel_values: torch.Tensor, labels: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
        if labels is None:
            raise ValueError("labels are needed")
        return {"loss": nn.functional.cross_entropy(self.layer(pixel_values.flatten(1)), labels)}


def test_a_model_that_cannot_recover_rewinds_alone_and_says_so(
    args: Callable[..., UnlearningArguments], noisy: Examples, caplog: pytest.LogCaptureFixture
) -> None:
    """With the weights of a run that was told not to recover; one that was told to is refused."""
    ends = []
    for settings in ({}, {"recovery_steps": 0}):
        torch.manual_seed(0)
        model = LossOnly()
        with caplog.at_level(logging.WARNING):
            unlearner = InvWNNUnlearner(model, args(**settings), noisy, predictor=LinearPredictor())
        assert ("rewind alone, without recovery. `model` cannot answer" in caplog.text) == (settings == {})
        caplog.clear()
        unlearner.train()
        ends.append(copied(model))
    assert differing(*ends) == []
    with pytest.raises(ValueError, match="`model` cannot answer without its labels"):
        InvWNNUnlearner(LossOnly(), args(recovery_steps=600), noisy, predictor=LinearPredictor())

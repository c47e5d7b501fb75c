"""Evaluations measure every example of the set they are asked for, and give what those of the Trainer give."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import Examples
from torch import nn
from transformers import Trainer, TrainingArguments

from hf_invwnn import InvWNNUnlearner


Make = Callable[..., InvWNNUnlearner]


def loss_of(model: nn.Module, data: Examples) -> float:
    with torch.no_grad():
        return float(model.eval()(**data.columns).loss)


@pytest.mark.slow
def test_evaluation_sets_are_not_mixed_up_by_persistent_workers(
    make_unlearner: Make, memorised_vit: nn.Module, noisy: Examples, unseen: Examples
) -> None:
    """The Trainer keeps such loaders by name, and gives every data set without a name the first one's."""
    options = {"dataloader_num_workers": 1, "dataloader_persistent_workers": True}
    unlearner = make_unlearner(memorised_vit, noisy, eval_dataset=unseen, **options)
    for _ in range(2):
        metrics = unlearner.measure()
        assert metrics["eval_forget_loss"] == pytest.approx(loss_of(memorised_vit, noisy), rel=1e-5)
        assert metrics["eval_unseen_loss"] == pytest.approx(loss_of(memorised_vit, unseen), rel=1e-5)
    other = unseen.part(0, 50)
    assert unlearner.evaluate(other)["eval_loss"] == pytest.approx(loss_of(memorised_vit, other), rel=1e-5)
    assert unlearner.evaluate(unseen.part(50, 90))["eval_loss"] == pytest.approx(
        loss_of(memorised_vit, unseen.part(50, 90)), rel=1e-5
    )


def test_every_example_is_measured_although_training_drops_incomplete_batches(
    make_unlearner: Make, memorised_vit: nn.Module, noisy: Examples, unseen: Examples
) -> None:
    options = {"dataloader_drop_last": True, "per_device_eval_batch_size": 9}
    few = unseen.part(0, 5)
    unlearner = make_unlearner(memorised_vit, noisy, eval_dataset=few, **options)
    assert len(unlearner.predict(noisy).predictions) == len(noisy)
    metrics = unlearner.measure()
    assert metrics["eval_forget_loss"] == pytest.approx(loss_of(memorised_vit, noisy), rel=1e-5)
    assert metrics["eval_unseen_loss"] == pytest.approx(loss_of(memorised_vit, few), rel=1e-5)
    assert unlearner.args.dataloader_drop_last is True


def test_predict_and_evaluate_give_what_the_trainer_gives(
    make_unlearner: Make, memorised_vit: nn.Module, noisy: Examples, tmp_path: Path
) -> None:
    unlearner = make_unlearner(memorised_vit, noisy, num_rewinds=1)
    unlearner.train()
    args = TrainingArguments(str(tmp_path), report_to="none", use_cpu=True, per_device_eval_batch_size=256)
    plain = Trainer(memorised_vit, args)
    ours, theirs = unlearner.predict(noisy), plain.predict(noisy)
    assert ours.predictions.shape == (len(noisy), 10)
    np.testing.assert_array_equal(ours.predictions, theirs.predictions)
    assert "eval_accuracy" not in unlearner.evaluate(noisy)
    # Before a training, the Trainer also measures how long it prepares the model.
    apart = {"epoch", "eval_model_preparation_time"}
    assert set(unlearner.evaluate(noisy)) - apart == set(plain.evaluate(noisy)) - apart


def test_the_metrics_of_the_caller_stay_those_of_every_evaluation(
    make_unlearner: Make, memorised_vit: nn.Module, noisy: Examples
) -> None:
    unlearner = make_unlearner(memorised_vit, noisy, compute_metrics=lambda prediction: {"mine": 1.0})
    assert unlearner.measure()["eval_forget_mine"] == 1.0
    assert unlearner.evaluate(noisy)["eval_mine"] == 1.0

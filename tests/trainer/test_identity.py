"""A checkpoint is resumed only by the run that wrote it: same start, method, data, seeds and settings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import Examples, RaiseAt, build_model, build_predictor, unchanged
from torch import nn

from hf_invwnn import InvWNNUnlearner, LinearPredictor, UnlearningArguments
from hf_invwnn.errors import CheckpointMismatchError
from hf_invwnn.methods import TaskVectorUnlearner, make_unlearner
from hf_invwnn.trainer.identity import FREE_ARGUMENTS, difference, fixed_arguments


SETTINGS: dict[str, Any] = {
    **{"num_rewinds": 2, "num_snapshots": 4, "per_device_train_batch_size": 8, "save_strategy": "steps"},
    **{"save_steps": 3, "use_cpu": True, "report_to": "none", "disable_tqdm": True, "learning_rate": 1e-3},
    "recovery_steps": 0,
}


@pytest.fixture
def begin(tmp_path: Path, texts: Examples) -> Callable[..., InvWNNUnlearner]:
    """A run of a tiny BERT with dropout; every part of it can be replaced."""

    def make(
        model: nn.Module | None = None,
        method: str = "invwnn",
        forget: Any = None,
        own: dict[str, Any] | None = None,
        **settings: Any,
    ) -> Any:
        args = UnlearningArguments(str(tmp_path / "out"), **{**SETTINGS, **settings})
        options = {"predictor": LinearPredictor()} if method == "invwnn" else {}
        return make_unlearner(
            method,
            build_model("bert") if model is None else model,
            args,
            texts.part(0, 16) if forget is None else forget,
            eval_dataset=texts.part(900, 950),
            **{**options, **(own or {})},
        )

    return make


@pytest.fixture
def interrupted(begin: Callable[..., InvWNNUnlearner], tmp_path: Path) -> str:
    """The checkpoint of a run that was killed."""
    unlearner = begin()
    unlearner.add_callback(RaiseAt(5, SystemError("killed")))
    with pytest.raises(SystemError, match="killed"):
        unlearner.train()
    return str(tmp_path / "out" / "checkpoint-3")


class Reversed(Examples):
    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return super().__getitem__(len(self) - 1 - index)


def reordered(texts: Examples) -> Examples:
    return Reversed(**texts.part(0, 16).columns)


def moved(model: nn.Module) -> nn.Module:
    """The smallest change of a weight that there is."""
    with torch.no_grad():
        bias = model.classifier.bias
        bias[0] = torch.nextafter(bias[0], torch.tensor(1.0))
    return model


def cross_entropy(outputs: Any, labels: torch.Tensor, num_items_in_batch: Any = None) -> torch.Tensor:
    return nn.functional.cross_entropy(outputs["logits"], labels)


OTHER_RUNS: dict[str, Callable[[Examples], dict[str, Any]]] = {
    "starting weights": lambda texts: {"model": moved(build_model("bert"))},
    "method": lambda texts: {"method": "task_vector"},
    "predictor": lambda texts: {"own": {"predictor": LinearPredictor(0.5)}},
    "predictor of another kind": lambda texts: {"own": {"predictor": build_predictor()}},
    "model": lambda texts: {"model": build_model("bert", hidden_dropout_prob=0.3)},
    "forget set": lambda texts: {"forget": texts.part(1, 17)},
    "forget set in another order": lambda texts: {"forget": reordered(texts)},
    "seed": lambda texts: {"seed": 7},
    "data_seed": lambda texts: {"data_seed": 7},
    "learning_rate": lambda texts: {"learning_rate": 2e-3},
    "residual_scale": lambda texts: {"residual_scale": 0.6},
    "per_device_train_batch_size": lambda texts: {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 2},
    "weight_decay": lambda texts: {"weight_decay": 0.1},
    "optim": lambda texts: {"optim": "sgd"},
    "warmup_intervals": lambda texts: {"warmup_intervals": 1},
    "reset_optimizer": lambda texts: {"reset_optimizer": True},
    "freeze_normalization": lambda texts: {"freeze_normalization": False},
    "label_smoothing_factor": lambda texts: {"label_smoothing_factor": 0.1},
    "dataloader_drop_last": lambda texts: {"dataloader_drop_last": True},
    "dataloader_num_workers": lambda texts: {"dataloader_num_workers": 1},
    "compute_loss_func": lambda texts: {"own": {"compute_loss_func": cross_entropy}},
    "data_collator": lambda texts: {
        "own": {"data_collator": lambda examples: torch.utils.data.default_collate(examples)}
    },
}


@pytest.mark.parametrize("what", OTHER_RUNS)
def test_a_run_that_differs_is_refused_by_name(
    what: str, begin: Callable[..., InvWNNUnlearner], interrupted: str, texts: Examples
) -> None:
    name = what.split(" in ")[0].split(" of ")[0]
    unlearner = begin(**OTHER_RUNS[what](texts))
    with (
        unchanged(unlearner.model),
        pytest.raises(CheckpointMismatchError, match=f"belongs to another run: it was saved with `{name}` = "),
    ):
        unlearner.train(resume_from_checkpoint=interrupted)


def test_the_settings_of_a_method_belong_to_its_identity(tmp_path: Path, digits: Examples) -> None:
    """Such as the share of weights that SalUn trains."""
    identities = []
    for share in (0.5, 0.4):
        args = UnlearningArguments(str(tmp_path), **SETTINGS)
        unlearner = make_unlearner("salun", build_model("vit"), args, digits.part(0, 8), mask_share=share)
        identities.append(unlearner.fingerprint())
    assert difference(*identities) == "it was saved with `mask_share` = 0.5, but this run has 0.4"


def test_a_subclass_is_another_method(begin: Callable[..., InvWNNUnlearner], texts: Examples, tmp_path: Path) -> None:
    class Mine(TaskVectorUnlearner):
        pass

    args = UnlearningArguments(str(tmp_path / "out"), **SETTINGS)
    mine = Mine(build_model("bert"), args, texts.part(0, 16), texts.part(900, 950))
    other = begin(method="task_vector")
    assert "`method`" in str(difference(other.fingerprint(), mine.fingerprint()))


def test_what_may_change_is_recorded_with_the_step(begin: Callable[..., InvWNNUnlearner], interrupted: str) -> None:
    unlearner = begin(target_ua=99.0, num_rewinds=3, per_device_eval_batch_size=16, save_strategy="no")
    unlearner.train(resume_from_checkpoint=interrupted)
    changes = {
        change["argument"]: (change["step"], change["from"], change["to"]) for change in unlearner.run_state.changes
    }
    assert changes == {
        "num_rewinds": (3, 2, 3),
        "target_ua": (3, None, 99.0),
        "per_device_eval_batch_size": (3, 8, 16),
    }


def test_the_length_may_change_only_under_a_constant_learning_rate(begin: Callable[..., InvWNNUnlearner]) -> None:
    """Otherwise the rate of every step depends on it."""
    assert "num_rewinds" not in fixed_arguments(begin())
    assert "num_rewinds" in fixed_arguments(begin(lr_scheduler_type="linear"))


def test_the_list_of_what_may_change_is_short_and_names_arguments() -> None:
    assert set(FREE_ARGUMENTS) <= {item.name for item in fields(UnlearningArguments)}
    assert len(FREE_ARGUMENTS) <= 12


@pytest.mark.parametrize(
    "name",
    [
        *("learning_rate", "lr_scheduler_type", "warmup_steps", "optim", "optim_args", "weight_decay", "adam_beta1"),
        *("gradient_accumulation_steps", "max_grad_norm", "bf16", "fp16", "seed", "data_seed", "full_determinism"),
        *("per_device_train_batch_size", "neftune_noise_alpha", "train_sampling_strategy", "eval_strategy"),
        *("num_snapshots", "snapshot_strategy", "snapshot_steps", "warmup_intervals", "residual_scale"),
        *("tracked_parameters", "freeze_normalization", "reset_optimizer", "trajectory_dtype", "auto_find_batch_size"),
    ],
)
def test_every_argument_that_changes_weights_is_fixed(begin: Callable[..., InvWNNUnlearner], name: str) -> None:
    assert name in fixed_arguments(begin())

"""`UnlearningArguments`: the length that follows from the rewinds, and values that are refused by name."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest
from transformers import HfArgumentParser

from hf_invwnn import UnlearningArguments


def arguments(tmp_path: Path, **values: Any) -> UnlearningArguments:
    return UnlearningArguments(output_dir=str(tmp_path), use_cpu=True, report_to="none", **values)


@pytest.mark.parametrize(
    ("values", "epochs", "steps"),
    [
        ({"num_rewinds": 3, "num_snapshots": 15}, 42, -1),
        ({"num_rewinds": 3, "num_snapshots": 15, "warmup_intervals": 2}, 48, -1),
        ({"num_rewinds": 2, "num_snapshots": 4, "snapshot_strategy": "steps", "snapshot_steps": 5}, 3, 30),
        ({"num_rewinds": 2, "num_snapshots": 4, "snapshot_strategy": "steps", "warmup_intervals": 1}, 3, 8),
    ],
)
def test_the_length_follows_from_the_rewinds(tmp_path: Path, values: dict, epochs: float, steps: int) -> None:
    args = arguments(tmp_path, **values)
    assert (args.num_train_epochs, args.max_steps) == (epochs, steps)


def test_the_defaults_that_are_documented(tmp_path: Path) -> None:
    """Damped rewinds, every snapshot evenly spaced (no decay, no clipping), no rule to stop by."""
    args = arguments(tmp_path)
    expected = {
        "num_rewinds": 10,
        "num_snapshots": 15,
        "snapshot_strategy": "epoch",
        "warmup_intervals": 0,
        "residual_scale": 0.5,
        "tracked_parameters": None,
        "freeze_normalization": None,
        "reset_optimizer": False,
        "trajectory_dtype": "float32",
        "trajectory_storage": "cpu",
        "learning_rate": 1e-3,
        "max_grad_norm": 0.0,
        "lr_scheduler_type": "constant",
        "target_ua": None,
        "num_train_epochs": 140,
    }
    assert {name: getattr(args, name) for name in expected} == expected


def test_every_field_of_ours_has_a_help_text() -> None:
    own = UnlearningArguments.__annotations__
    fields = {field.name: field for field in dataclasses.fields(UnlearningArguments)}
    assert len(own) > 15
    assert [name for name in own if not fields[name].metadata.get("help")] == []


def test_arguments_are_parsed_from_a_command_line_and_survive_a_second_time(tmp_path: Path) -> None:
    parser = HfArgumentParser(UnlearningArguments)
    words = ["--output_dir", str(tmp_path), "--num_rewinds", "3", "--target_ua", "8.5", "--use_cpu"]
    words += ["--residual_scale", "0.5", "--freeze_normalization", "false", "--report_to", "none"]
    (args,) = parser.parse_args_into_dataclasses(words)
    assert (args.num_rewinds, args.target_ua, args.residual_scale) == (3, 8.5, 0.5)
    assert args.freeze_normalization is False
    again = arguments(tmp_path, num_rewinds=3, num_train_epochs=args.num_train_epochs)
    assert again.num_train_epochs == 42, "a length that was derived is no contradiction when it is passed again"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"num_rewinds": 0}, "`num_rewinds` must be a whole number of at least 1, got 0"),
        ({"num_rewinds": -3}, "`num_rewinds` must be a whole number of at least 1, got -3"),
        ({"num_snapshots": 1}, "`num_snapshots` must be a whole number of at least 2, got 1"),
        ({"snapshot_steps": 0}, "`snapshot_steps` must be a whole number of at least 1, got 0"),
        ({"warmup_intervals": -1}, "`warmup_intervals` must be a whole number of at least 0, got -1"),
        ({"save_every_rewinds": -1}, "`save_every_rewinds` must be a whole number of at least 0, got -1"),
        ({"num_snapshots": 15.5}, "`num_snapshots` must be a whole number, got 15.5"),
        ({"min_utility": float("nan")}, "`min_utility` must be a finite number, got nan"),
        ({"utility_metric": "accuracy"}, "`utility_metric` must be named like 'eval_unseen_accuracy'"),
        ({"push_to_hub": True, "hub_strategy": "every_save"}, "`hub_strategy` must be 'end', got 'every_save'"),
        ({"residual_scale": 0.0}, "`residual_scale` must lie in (0, 10], got 0.0"),
        ({"residual_scale": -0.5}, "`residual_scale` must lie in (0, 10], got -0.5"),
        ({"residual_scale": 10.01}, "`residual_scale` must lie in (0, 10], got 10.01"),
        ({"residual_scale": float("nan")}, "`residual_scale` must be a finite number, got nan"),
        ({"snapshot_strategy": "batch"}, "`snapshot_strategy` must be one of ('epoch', 'steps'), got 'batch'"),
        ({"trajectory_dtype": "int8"}, "`trajectory_dtype` must be one of ('float32', 'bfloat16'), got 'int8'"),
        ({"trajectory_storage": "tape"}, "`trajectory_storage` must be one of ('cpu', 'model', 'disk'), got 'tape'"),
        ({"target_ua": -0.1}, "`target_ua` is in percent and must lie in 0..100, got -0.1"),
        ({"target_ua": 100.5}, "`target_ua` is in percent and must lie in 0..100, got 100.5"),
        ({"target_ua": float("nan")}, "`target_ua` must be a finite number, got nan"),
        ({"ua_tolerance": 0.0}, "`ua_tolerance` must be positive (points of UA), got 0.0"),
        ({"max_forget_steps": 0}, "`max_forget_steps` must be positive, or None for no limit, got 0"),
        ({"max_seconds": -1.0}, "`max_seconds` must be positive, or None for no limit, got -1.0"),
        ({"num_train_epochs": 5}, "`num_train_epochs` follows from `num_rewinds`"),
        ({"max_steps": 100}, "`max_steps` follows from `num_rewinds`"),
        (
            {"load_best_model_at_end": True, "eval_strategy": "steps", "save_strategy": "steps"},
            "`load_best_model_at_end` must stay False, got True",
        ),
    ],
)
def test_a_value_that_cannot_work_is_refused_by_name(tmp_path: Path, values: dict, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        arguments(tmp_path, **values)


def test_pushing_to_the_hub_uploads_only_the_end(tmp_path: Path) -> None:
    """A checkpoint, and a model in the midst of a recording, know the forget set."""
    assert arguments(tmp_path, push_to_hub=True).hub_strategy == "end"


@pytest.mark.parametrize("values", [{"residual_scale": 10.0}, {"target_ua": 0.0}, {"target_ua": 100.0}])
def test_the_ends_of_a_range_belong_to_it(tmp_path: Path, values: dict) -> None:
    args = arguments(tmp_path, **values)
    assert {name: getattr(args, name) for name in values} == values

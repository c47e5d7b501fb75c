"""What is held, left behind or put back when a run ends in the middle, and what a damaged state file is taken for."""

from __future__ import annotations

import gc
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import Examples, build_model, build_predictor, build_unlearner, copied, differing
from transformers import TrainerCallback

from hf_invwnn import InvWNNModel, InvWNNUnlearner
from hf_invwnn.errors import CorruptCheckpointError, InsufficientMemoryError
from hf_invwnn.trainer.checkpoint_files import STATE_NAME, check_checkpoint, load_state
from hf_invwnn.trainer.fingerprint import predictor_hash
from hf_invwnn.trajectory import memory as memory_module
from hf_invwnn.trajectory.snapshot import Snapshot


RUN: dict[str, Any] = {"learning_rate": 3e-3, "residual_scale": 0.5, "save_strategy": "steps", "save_steps": 4}
Make = Callable[..., InvWNNUnlearner]


@pytest.fixture
def make(digits: Examples, tmp_path: Path) -> Make:
    def build(model: Any = None, **options: Any) -> InvWNNUnlearner:
        model = build_model("vit") if model is None else model
        unseen = digits.part(900, 932)
        defaults = {**RUN, "eval_dataset": unseen, "output_dir": tmp_path / "out"}
        return build_unlearner(model, digits.part(0, 16), **{**defaults, **options})

    return build


def test_a_predictor_is_the_same_from_another_folder(tmp_path: Path) -> None:
    """A run may be resumed where the predictor lies elsewhere, or is named by another path."""
    build_predictor().save_pretrained(tmp_path / "one")
    build_predictor().save_pretrained(tmp_path / "other")
    one, other = (InvWNNModel.from_pretrained(tmp_path / name) for name in ("one", "other"))
    assert predictor_hash(one) == predictor_hash(other) == predictor_hash(build_predictor())


def test_predictors_of_ones_own_differ_by_their_tensors() -> None:
    class Own:
        num_snapshots = None

        def __init__(self, weight: float) -> None:
            self.weights, self.steps = torch.tensor(weight), [weight]

    assert predictor_hash(Own(1.0)) == predictor_hash(Own(1.0))
    assert predictor_hash(Own(1.0)) != predictor_hash(Own(2.0))


def test_a_disk_that_is_full_in_the_middle_puts_the_last_good_weights_back(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end of a segment is stored while it is searched, and the disk is full."""

    class Overshot:
        splits = ("forget",)
        tolerance = 1e-9
        must_not_exceed = False

        def excess(self, metrics: dict[str, float]) -> float:
            return -1.0 if len(trainer.history) < 2 else 1.0

    model = build_model("vit")
    trainer = make(model, trajectory_storage="disk", num_rewinds=3, stopping_rules=[Overshot()])
    allocate, good, mark = os.posix_fallocate, [], trainer.last_good.mark

    def full(file: int, offset: int, size: int) -> None:
        if "end" in os.readlink(f"/proc/self/fd/{file}"):
            raise OSError(28, "No space left on device")
        allocate(file, offset, size)

    def mark_and_copy() -> None:
        mark()
        good.append(copied(model))

    monkeypatch.setattr(os, "posix_fallocate", full)
    monkeypatch.setattr(trainer.last_good, "mark", mark_and_copy)
    with pytest.raises(InsufficientMemoryError):
        trainer.train()
    assert differing(copied(model), good[-1]) == []


def test_a_resumed_run_holds_no_more_copies_than_another(make: Make, tmp_path: Path) -> None:
    """The weights it was given are kept until it has taken a step, in case the checkpoint cannot be resumed from."""
    held: dict[bool, int] = {}

    class Count(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            held[resumed] = sum(isinstance(thing, Snapshot) for thing in gc.get_objects())

    resumed = False
    first = make(callbacks=[Count()])
    first.train()
    del first
    gc.collect()
    resumed = True
    make(callbacks=[Count()]).train(resume_from_checkpoint=str(tmp_path / "out" / "checkpoint-4"))
    assert held[True] <= held[False]


def test_what_a_killed_run_left_on_the_disk_does_not_count_against_the_next(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed = make(trajectory_storage="disk")
    monkeypatch.setattr(killed.last_good, "remove_files", lambda: None)
    killed.train()
    folder = killed.args.trajectory_path
    left = sum(path.stat().st_size for path in Path(folder).iterdir())
    assert left > 0

    def usage(path: Any) -> Any:
        taken = sum(path.stat().st_size for path in Path(folder).glob("*"))
        return type("Usage", (), {"free": left + left // 2 - taken})

    monkeypatch.setattr(memory_module.shutil, "disk_usage", usage)
    resumed = make(trajectory_storage="disk")
    resumed.train(resume_from_checkpoint=str(tmp_path / "out" / "checkpoint-4"))
    assert resumed.stop_reason == "all 2 rounds are done"


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda text: "null", "is damaged"),
        (lambda text: text.replace('"world": 1', '"world": 3'), "checksum"),
        (lambda text: text.replace("classifier.bias", "classifier.biar"), "checksum"),
    ],
    ids=["null", "world", "tracked"],
)
def test_a_state_file_that_was_changed_is_damage_and_no_other_run(
    make: Make, tmp_path: Path, damage: Callable[[str], str], says: str
) -> None:
    """So that the checkpoint before it is used."""
    make().train()
    path = tmp_path / "out" / "checkpoint-8" / STATE_NAME
    text = path.read_text()
    assert json.loads(text) == load_state(path.parent)
    path.write_text(damage(text))
    assert path.read_text() != text
    tracked = [name for name, _ in build_model("vit").named_parameters()]
    with pytest.raises(CorruptCheckpointError, match=says):
        check_checkpoint(path.parent, tracked=tracked)

"""A run that was interrupted goes on as if it had not been, and what cannot be resumed is refused by name."""

from __future__ import annotations

import copy
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import (
    Examples,
    RaiseAt,
    build_model,
    build_predictor,
    build_unlearner,
    copied,
    differing,
    unchanged,
    without_seconds,
)
from safetensors.torch import load_file, save_file
from torch import nn
from transformers.utils import SAFE_WEIGHTS_INDEX_NAME

from hf_invwnn import InvWNNUnlearner, LinearPredictor
from hf_invwnn.errors import CheckpointMismatchError, CorruptCheckpointError
from hf_invwnn.trainer.checkpoint_files import (
    INCOMPLETE,
    MANIFEST_NAME,
    STATE_NAME,
    check_checkpoint,
    save_state,
    write_manifest,
)


Make = Callable[..., InvWNNUnlearner]

# Two steps make an interval, four intervals (the first unrecorded) a rewind: 16 steps in all. Shuffling, Adam and
# dropout make the run depend on the whole of the state.
RUN: dict[str, Any] = {"warmup_intervals": 1, "learning_rate": 3e-3, "residual_scale": 0.5}


Start = Callable[..., InvWNNUnlearner]


@pytest.fixture(scope="module")
def start(texts: Examples) -> Start:
    """An unlearner of a fresh tiny BERT, always the same at its start."""

    def make(output_dir: Path, **options: Any) -> InvWNNUnlearner:
        defaults = {**RUN, "predictor": build_predictor(trajectory_scale="weight"), "output_dir": output_dir}
        return build_unlearner(
            build_model("bert"), texts.part(0, 16), eval_dataset=texts.part(900, 950), **{**defaults, **options}
        )

    return make


@pytest.fixture
def run(start: Start, tmp_path: Path) -> Start:
    return lambda **options: start(tmp_path / "out", **options)


@pytest.fixture(scope="module")
def whole(start: Start, tmp_path_factory: pytest.TempPathFactory) -> InvWNNUnlearner:
    """The run that nothing interrupted."""
    trainer = start(tmp_path_factory.mktemp("whole"))
    trainer.train()
    assert len(trainer.history) == 3
    return trainer


def interrupt(trainer: InvWNNUnlearner, step: int) -> None:
    """Runs until `step` has been taken but not yet handled, as if the machine had stopped there."""
    trainer.add_callback(RaiseAt(step, SystemError("power cut")))
    # In front of the unlearning callback, which must not see this step any more.
    trainer.callback_handler.callbacks.insert(0, trainer.callback_handler.callbacks.pop())
    with pytest.raises(SystemError, match="power cut"):
        trainer.train()


# The last step that was handled, and saved, before the interruption.
WHERE = {
    1: "in the warm-up",
    2: "when recording begins",
    4: "at a snapshot",
    5: "between two snapshots",
    8: "right after a rewind",
    9: "in the warm-up of the second rewind",
    13: "in the second recording",
    15: "one step before the end",
}


@pytest.mark.parametrize("step", WHERE, ids=WHERE.values())
def test_a_resumed_run_equals_an_uninterrupted_one_bitwise(run: Start, whole: InvWNNUnlearner, step: int) -> None:
    interrupt(run(save_strategy="steps", save_steps=step), step + 1)
    resumed = run()
    resumed.train(resume_from_checkpoint=True)
    assert whole.state.global_step == resumed.state.global_step == 16
    assert differing(copied(resumed.model), copied(whole.model)) == []
    assert without_seconds(resumed.history) == without_seconds(whole.history)
    assert resumed.stop_reason == whole.stop_reason


@pytest.mark.parametrize(
    "options", [{"reset_optimizer": True}, {"warmup_intervals": 0}, {"trajectory_dtype": "bfloat16"}]
)
def test_options_survive_an_interruption(run: Start, options: dict[str, Any]) -> None:
    """Right after the first rewind, where a fresh optimizer or a first snapshot has just come into being."""
    whole = run(**options)
    whole.train()
    first = whole.history[1]["step"]
    interrupt(run(save_strategy="steps", save_steps=first, **options), int(first) + 1)
    resumed = run(**options)
    resumed.train(resume_from_checkpoint=True)
    assert differing(copied(resumed.model), copied(whole.model)) == []
    assert without_seconds(resumed.history) == without_seconds(whole.history)


def test_save_every_rewinds_saves_after_the_rewind_and_resumes_bitwise(
    run: Start, whole: InvWNNUnlearner, tmp_path: Path
) -> None:
    interrupt(run(save_every_rewinds=1), 12)
    assert [path.name for path in sorted((tmp_path / "out").glob("checkpoint-*"))] == ["checkpoint-8"]
    resumed = run(save_every_rewinds=1)
    resumed.train(resume_from_checkpoint=str(tmp_path / "out" / "checkpoint-8"))
    assert differing(copied(resumed.model), copied(whole.model)) == []
    assert without_seconds(resumed.history) == without_seconds(whole.history)


def test_stopping_rules_go_on_where_they_were(
    run: Start, memorised_vit: nn.Module, make_unlearner: Make, noisy: Examples
) -> None:
    """A search after the interruption goes back on the segment from the rewind before it."""
    options: dict[str, Any] = {"num_rewinds": 8, "learning_rate": 1e-3, "residual_scale": 1.0, "target_ua": 50.0}
    start = copied(memorised_vit)
    whole = make_unlearner(memorised_vit, noisy, **options)
    whole.train()
    rewinds = whole.run_state.rounds
    assert rewinds > 1
    model = build_model("vit")
    model.load_state_dict(start)
    interrupt(make_unlearner(model, noisy, save_every_rewinds=1, **options), 12 * rewinds - 2)
    model = build_model("vit")
    model.load_state_dict(start)
    resumed = make_unlearner(model, noisy, **options)
    resumed.train(resume_from_checkpoint=True)
    assert differing(copied(model), copied(memorised_vit)) == []
    assert without_seconds(resumed.history) == without_seconds(whole.history)
    assert resumed.stop_reason == whole.stop_reason


def test_the_seconds_of_both_parts_add_up(run: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupt(run(save_every_rewinds=1), 12)
    path = tmp_path / "out" / "checkpoint-8" / "unlearning_state.json"
    state = json.loads(path.read_text())
    path.write_text(json.dumps({**state, "run": {**state["run"], "seconds_before": 1000.0}}))
    write_manifest(path.parent)
    resumed = run()
    resumed.train(resume_from_checkpoint=True)
    assert 1000 < resumed.history[-1]["seconds"] < 1100


def test_a_run_that_had_stopped_does_not_go_on(
    make_unlearner: Make, memorised_vit: nn.Module, noisy: Examples
) -> None:
    """Resumed from a checkpoint of its last step, the model comes out as it was, and so does the reason."""
    options: dict[str, Any] = {
        "target_ua": 35.0,
        "residual_scale": 4.0,
        "learning_rate": 3e-3,
        "save_strategy": "steps",
        "save_steps": 12,
    }
    model = copy.deepcopy(memorised_vit)
    first = make_unlearner(memorised_vit, noisy, **options)
    first.train()
    again = make_unlearner(model, noisy, **options)
    again.train(resume_from_checkpoint=True)
    assert again.outcome == first.outcome
    assert differing(copied(again.model), copied(memorised_vit)) == []
    assert again.stop_reason == first.stop_reason
    assert without_seconds(again.history) == without_seconds(first.history)


def test_ctrl_c_after_resuming_leaves_the_last_good_weights_of_the_run(run: Start) -> None:
    """Not those of the checkpoint, which lie in the midst of a recording."""
    seen = []
    whole = run()
    whole.log_point = lambda point: seen.append(copied(whole.model))
    whole.train()
    interrupt(run(save_strategy="steps", save_steps=11), 12)
    resumed = run(callbacks=[RaiseAt(13, KeyboardInterrupt())])
    with pytest.raises(KeyboardInterrupt):
        resumed.train(resume_from_checkpoint=True)
    assert differing(copied(resumed.model), seen[1]) == []


# ---- What cannot be resumed ----


@pytest.fixture(scope="module")
def whole_checkpoint(start: Start, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One with two snapshots in the second recording."""
    folder = tmp_path_factory.mktemp("interrupted")
    interrupt(start(folder, save_strategy="steps", save_steps=12), 13)
    return folder / "checkpoint-12"


@pytest.fixture
def checkpoint(whole_checkpoint: Path, tmp_path: Path) -> Path:
    """A copy of it to damage, where no run looks for it by itself."""
    return shutil.copytree(whole_checkpoint, tmp_path / "checkpoint-12")


def raise_full_disk_at(step: int) -> Callable[..., None]:
    """Stands for `save_state` on a disk that is full when the checkpoint of a step is written."""

    def save(folder: Path, state: Any) -> None:
        if Path(folder).name.endswith(f"-{step}"):
            raise OSError(28, "No space left on device")
        save_state(folder, state)

    return save


def truncate(path: Path, keep: float = 0.6) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[: int(keep * len(whole))])


def pickled_weights_only(folder: Path) -> None:
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def misshapen_weights(folder: Path) -> None:
    state = load_file(folder / "model.safetensors")
    state["classifier.weight"] = torch.zeros(3, 16)
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    write_manifest(folder)


def without_a_last_good_weight(folder: Path) -> None:
    state = load_file(folder / "unlearning_state.safetensors")
    del state["last_good.classifier.bias"]
    save_file(state, folder / "unlearning_state.safetensors")
    write_manifest(folder)


def with_a_last_good_weight(value: torch.Tensor) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        state = load_file(folder / "unlearning_state.safetensors")
        save_file({**state, "last_good.classifier.bias": value}, folder / "unlearning_state.safetensors")
        write_manifest(folder)

    return damage


def with_index(text: str) -> Callable[[Path], None]:
    """Writes an index of weights in several files."""

    def damage(folder: Path) -> None:
        (folder / SAFE_WEIGHTS_INDEX_NAME).write_text(text)

    return damage


def without_the_history(folder: Path) -> None:
    path = folder / "unlearning_state.json"
    state = json.loads(path.read_text())
    del state["run"]["history"]
    path.write_text(json.dumps(state))


def without_a_snapshot(folder: Path) -> None:
    state = load_file(folder / "unlearning_state.safetensors")
    del state["method.classifier.bias"]
    save_file(state, folder / "unlearning_state.safetensors")
    write_manifest(folder)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda folder: truncate(folder / "unlearning_state.safetensors"),
            r"unlearning_state\.safetensors` is damaged",
        ),
        (lambda folder: truncate(folder / "model.safetensors"), r"model\.safetensors` is damaged"),
        (lambda folder: truncate(folder / "model.safetensors", 0.0), r"model\.safetensors` is damaged"),
        (lambda folder: truncate(folder / "unlearning_state.json"), r"unlearning_state\.json` is damaged"),
        (lambda folder: truncate(folder / "trainer_state.json"), r"trainer_state\.json` is damaged"),
        (lambda folder: (folder / "trainer_state.json").write_text("[]"), r"trainer_state\.json` is damaged"),
        (lambda folder: truncate(folder / "optimizer.pt"), r"optimizer\.pt` is damaged"),
        (lambda folder: truncate(folder / "rng_state.pth"), r"rng_state\.pth` is damaged"),
        (
            lambda folder: (folder / "unlearning_state.json").write_bytes(b"\xff\xfe"),
            r"unlearning_state\.json` is damaged",
        ),
        (lambda folder: (folder / STATE_NAME).write_text("[]"), r"unlearning_state\.json` is damaged"),
        (lambda folder: (folder / MANIFEST_NAME).write_text("[]"), r"unlearning_files\.json` is damaged"),
        (lambda folder: (folder / MANIFEST_NAME).unlink(), r"unlearning_files\.json` is missing"),
        (with_index("[]"), r"model\.safetensors\.index\.json` is damaged"),
        (with_index("{}"), r"index\.json` is damaged \(its `weight_map` names no files\)"),
        (with_index('{"weight_map": ["model.safetensors"]}'), r"index\.json` is damaged \(its `weight_map`"),
        (with_index('{"weight_map": {"classifier.bias": 1}}'), r"index\.json` is damaged \(its `weight_map`"),
        (lambda folder: (folder / "optimizer.pt").unlink(), "has no optimizer state"),
        (lambda folder: (folder / "rng_state.pth").unlink(), "has no random state"),
        (without_the_history, r"unlearning_state\.json` lacks run\.history"),
        (with_a_last_good_weight(torch.full((10,), torch.nan)), r"`classifier\.bias` that are not finite"),
        (with_a_last_good_weight(torch.zeros(3)), r"the shape \(3,\) for `classifier\.bias`, the model \(10,\)"),
        (
            lambda folder: (folder / "unlearning_state.safetensors").unlink(),
            r"unlearning_state\.safetensors is missing",
        ),
        (lambda folder: (folder / "unlearning_state.json").unlink(), r"unlearning_state\.json is missing"),
        (lambda folder: (folder / "trainer_state.json").unlink(), r"trainer_state\.json` is missing"),
        (lambda folder: (folder / "model.safetensors").unlink(), r"has no `model\.safetensors`"),
        (lambda folder: shutil.rmtree(folder), "`resume_from_checkpoint`: there is no folder"),
        (pickled_weights_only, r"has no `model\.safetensors`; pickled files such as .* are not read"),
        (misshapen_weights, r"classifier\.weight"),
        (without_a_last_good_weight, "`tracked_parameters`"),
        (without_a_snapshot, "does not fit this run"),
    ],
)
def test_a_damaged_checkpoint_is_refused_by_name(
    run: Start, checkpoint: Path, damage: Callable[[Path], None], message: str
) -> None:
    """Before or after the Trainer has begun to load it: the model is what it was."""
    damage(checkpoint)
    trainer = run()
    with unchanged(trainer.model), pytest.raises(CorruptCheckpointError, match=message) as refused:
        trainer.train(resume_from_checkpoint=str(checkpoint))
    assert "checkpoint-12" in str(refused.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"num_snapshots": 9, "warmup_intervals": 0, "predictor": LinearPredictor()},
            "`num_snapshots` = 4, but this run has 9",
        ),
        ({"warmup_intervals": 0}, "`warmup_intervals` = 1, but this run has 0"),
        ({"snapshot_strategy": "steps", "snapshot_steps": 3}, "`snapshot_strategy` = epoch, but this run has steps"),
        ({"tracked_parameters": "classifier"}, "`tracked_parameters`"),
        ({"trajectory_dtype": "bfloat16"}, "`trajectory_dtype`"),
    ],
)
def test_a_checkpoint_of_another_run_is_refused_by_name(
    run: Start, checkpoint: Path, options: dict[str, Any], message: str
) -> None:
    """Another K or another schedule would put snapshots where they do not belong."""
    trainer = run(**options)
    with unchanged(trainer.model), pytest.raises(CorruptCheckpointError, match=re.escape(message)):
        trainer.train(resume_from_checkpoint=str(checkpoint))


def test_another_predictor_forget_set_or_base_model_is_refused(run: Start, checkpoint: Path, texts: Examples) -> None:
    """Each would silently end somewhere else than the run that was begun."""
    shifted = texts.part(0, 16).relabelled(texts.part(1, 17).columns["labels"])
    other = build_unlearner(
        build_model("bert"), shifted, **{**RUN, "predictor": build_predictor(trajectory_scale="weight")},
        eval_dataset=texts.part(900, 950), output_dir=checkpoint.parent / "out",
    )  # fmt: skip
    for trainer, what in ((run(predictor=build_predictor(seed=1)), "predictor"), (other, "forget set")):
        with unchanged(trainer.model), pytest.raises(CheckpointMismatchError, match=f"it was saved with `{what}` = "):
            trainer.train(resume_from_checkpoint=str(checkpoint))


def test_frozen_weights_must_be_those_of_the_run(run: Start, tmp_path: Path) -> None:
    """They are compared after the Trainer has loaded what it finds; a base model under an adapter is not in there."""
    options = {"tracked_parameters": "classifier", "save_strategy": "steps", "save_steps": 4}
    interrupt(run(**options), 5)
    folder = tmp_path / "out" / "checkpoint-4"
    state = load_file(folder / "model.safetensors")
    state["bert.embeddings.word_embeddings.weight"] += 1
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    write_manifest(folder)
    with pytest.raises(CheckpointMismatchError, match="weights that the run does not change"):
        run(**options).train(resume_from_checkpoint=True)


def test_the_checkpoint_before_a_damaged_one_is_used(
    run: Start, whole: InvWNNUnlearner, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The last is named in a warning; with all of them damaged, the run is refused."""
    interrupt(run(save_strategy="steps", save_steps=4), 15)
    damaged = tmp_path / "out" / "checkpoint-12" / "unlearning_state.safetensors"
    values = bytearray(damaged.read_bytes())
    values[-5] ^= 1  # one bit of one weight: the file can be read, and is not what was written
    damaged.write_bytes(values)
    resumed = run()
    resumed.train(resume_from_checkpoint=True)
    assert "checkpoint-12" in caplog.text
    assert "The checkpoint before it is used" in caplog.text
    assert differing(copied(resumed.model), copied(whole.model)) == []
    assert without_seconds(resumed.history) == without_seconds(whole.history)
    for folder in (tmp_path / "out").glob("checkpoint-*"):
        truncate(folder / "optimizer.pt")
    trainer = run()
    message = r"checkpoint-4/optimizer\.pt` is damaged"
    with unchanged(trainer.model), pytest.raises(CorruptCheckpointError, match=message):
        trainer.train(resume_from_checkpoint=True)


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / MANIFEST_NAME).write_text("[]"),
        lambda folder: (folder / STATE_NAME).write_text("[]"),
        with_index('{"weight_map": ["model.safetensors"]}'),
    ],
    ids=["manifest", "state", "index"],
)
def test_the_checkpoint_before_one_with_json_of_another_kind_is_used(
    run: Start, whole: InvWNNUnlearner, tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: Callable[[Path], Any]
) -> None:
    interrupt(run(save_strategy="steps", save_steps=4), 9)
    damage(tmp_path / "out" / "checkpoint-8")
    resumed = run()
    resumed.train(resume_from_checkpoint=True)
    assert "checkpoint-8" in caplog.text and "The checkpoint before it is used" in caplog.text
    assert differing(copied(resumed.model), copied(whole.model)) == []


def test_a_checkpoint_is_there_as_a_whole_or_not_at_all(
    run: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Written aside first, so that a full disk half-way leaves the one before, and no folder that looks like one."""
    monkeypatch.setattr("hf_invwnn.trainer.checkpoint.save_state", raise_full_disk_at(8))
    trainer = run(save_strategy="steps", save_steps=4)
    with pytest.raises(OSError, match="No space left"):
        trainer.train()
    assert [path.name for path in (tmp_path / "out").glob("checkpoint-*")] == ["checkpoint-4"]
    check_checkpoint(tmp_path / "out" / "checkpoint-4")
    monkeypatch.undo()
    run(save_strategy="steps", save_steps=4).train(resume_from_checkpoint=True)
    assert not (tmp_path / "out" / INCOMPLETE).exists(), "what was left of it is cleared away"


def test_save_total_limit_counts_whole_checkpoints(run: Start, tmp_path: Path) -> None:
    run(save_strategy="steps", save_steps=4, save_total_limit=2).train()
    assert sorted(path.name for path in (tmp_path / "out").glob("checkpoint-*")) == ["checkpoint-12", "checkpoint-16"]


def test_a_trajectory_on_disk_resumes_and_leaves_nothing(run: Start, whole: InvWNNUnlearner, tmp_path: Path) -> None:
    interrupt(run(save_strategy="steps", save_steps=5, trajectory_storage="disk"), 6)
    resumed = run(trajectory_storage="disk")
    resumed.train(resume_from_checkpoint=True)
    assert differing(copied(resumed.model), copied(whole.model)) == []
    assert list((tmp_path / "out" / "_trajectory").iterdir()) == []


def test_nothing_to_resume_from_is_said(run: Start) -> None:
    trainer = run()
    with (
        unchanged(trainer.model),
        pytest.raises(ValueError, match="`resume_from_checkpoint`: there is no checkpoint in"),
    ):
        trainer.train(resume_from_checkpoint=True)


def test_a_whole_checkpoint_passes_the_check(checkpoint: Path) -> None:
    """Also when its weights lie in several files, each of which is looked at."""
    check_checkpoint(checkpoint)
    state = load_file(checkpoint / "model.safetensors")
    keys = sorted(state)
    parts = {"model-1.safetensors": keys[: len(keys) // 2], "model-2.safetensors": keys[len(keys) // 2 :]}
    for file, keys in parts.items():
        save_file({key: state[key] for key in keys}, checkpoint / file)
    (checkpoint / "model.safetensors").unlink()
    index = {"metadata": {}, "weight_map": {key: file for file, keys in parts.items() for key in keys}}
    (checkpoint / "model.safetensors.index.json").write_text(json.dumps(index))
    write_manifest(checkpoint)
    check_checkpoint(checkpoint)
    truncate(checkpoint / "model-2.safetensors")
    with pytest.raises(CorruptCheckpointError, match=r"model-2\.safetensors` is damaged"):
        check_checkpoint(checkpoint)
    (checkpoint / "model-2.safetensors").unlink()
    with pytest.raises(CorruptCheckpointError, match=r"model-2\.safetensors"):
        check_checkpoint(checkpoint)
    truncate(checkpoint / "model.safetensors.index.json")
    with pytest.raises(CorruptCheckpointError, match=r"index\.json"):
        check_checkpoint(checkpoint)

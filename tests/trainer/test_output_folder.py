"""One folder, several runs: at the same time they are refused, one after another they are told apart."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers import Examples, RaiseAt, build_model, copied, differing, unchanged
from safetensors.torch import load_file, save_file

from hf_invwnn import InvWNNUnlearner
from hf_invwnn.errors import CheckpointMismatchError, CorruptCheckpointError, OutputFolderInUseError
from hf_invwnn.trainer.checkpoint_files import MANIFEST_NAME, STATE_NAME, write_manifest


Make = Callable[..., InvWNNUnlearner]
SAVING: dict[str, Any] = {"save_strategy": "steps", "save_steps": 2, "learning_rate": 1e-3}


def killed(unlearner: InvWNNUnlearner, step: int) -> None:
    unlearner.add_callback(RaiseAt(step, SystemError("killed")))
    with pytest.raises(SystemError, match="killed"):
        unlearner.train()


def checkpoints(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("checkpoint-*"))


# ---- One after another ----


def test_a_longer_earlier_run_in_the_folder_is_not_taken_up(
    make_unlearner: Make, digits: Examples, tmp_path: Path
) -> None:
    """Its newest checkpoint has the higher step, and even the same identity."""
    forget = digits.part(0, 16)
    make_unlearner(build_model("vit"), forget, **SAVING).train()
    assert "checkpoint-12" in checkpoints(tmp_path / "out")
    killed(make_unlearner(build_model("vit"), forget, **SAVING), 5)
    resumed = make_unlearner(build_model("vit"), forget, **SAVING)
    steps: list[int] = []
    resumed.add_callback(Steps(steps))
    resumed.train(resume_from_checkpoint=True)
    assert steps[0] == 5


class Steps(RaiseAt):
    """Keeps the steps that were taken."""

    def __init__(self, steps: list[int]) -> None:
        super().__init__(-1, SystemError())
        self.steps = steps

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.steps.append(state.global_step)


def test_a_run_without_a_checkpoint_does_not_resume_that_of_an_earlier_one(
    make_unlearner: Make, digits: Examples, tmp_path: Path
) -> None:
    forget = digits.part(0, 16)
    make_unlearner(build_model("vit"), forget, **SAVING).train()
    killed(make_unlearner(build_model("vit"), forget, **SAVING), 1)
    again = make_unlearner(build_model("vit"), forget, **SAVING)
    message = r"the last run in `.*` had saved no checkpoint; `.*checkpoint-12` belongs to an earlier run"
    with unchanged(again.model), pytest.raises(CheckpointMismatchError, match=message):
        again.train(resume_from_checkpoint=True)


def test_a_limit_on_checkpoints_counts_those_of_the_run_by_their_step(
    make_unlearner: Make, digits: Examples, tmp_path: Path
) -> None:
    """By the clock a checkpoint of a machine whose clock was set back is the oldest, although it is the newest."""
    forget, folder = digits.part(0, 16), tmp_path / "out"
    make_unlearner(build_model("vit"), forget, **{**SAVING, "save_steps": 12}).train()

    class ClockSetBack(RaiseAt):
        def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            path = folder / f"checkpoint-{state.global_step}"
            os.utime(path, (1e9 - state.global_step, 1e9 - state.global_step))

    run = make_unlearner(build_model("vit"), forget, **SAVING, save_total_limit=2, num_rewinds=1)
    run.add_callback(ClockSetBack(-1, SystemError()))
    run.train()
    assert checkpoints(folder) == ["checkpoint-12", "checkpoint-4", "checkpoint-6"]  # the first is of the other run


def test_an_output_folder_that_is_a_link_works(make_unlearner: Make, digits: Examples, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    whole = make_unlearner(build_model("vit"), digits.part(0, 16), **SAVING)
    whole.train()
    killed(make_unlearner(build_model("vit"), digits.part(0, 16), **SAVING, output_dir=tmp_path / "link"), 5)
    resumed = make_unlearner(build_model("vit"), digits.part(0, 16), **SAVING, output_dir=tmp_path / "link")
    resumed.train(resume_from_checkpoint=True)
    assert differing(copied(resumed.model), copied(whole.model)) == []


# ---- At the same time ----


class Second(RaiseAt):
    """In the midst of a run, tries another in the same folder."""

    def __init__(self, other: InvWNNUnlearner) -> None:
        super().__init__(-1, SystemError())
        self.other, self.message = other, ""

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == 2:
            with unchanged(self.other.model), pytest.raises(OutputFolderInUseError) as caught:
                self.other.train()
            self.message = str(caught.value)


def test_a_second_run_in_the_folder_is_refused(make_unlearner: Make, digits: Examples, tmp_path: Path) -> None:
    first = make_unlearner(build_model("vit"), digits.part(0, 16))
    second = Second(make_unlearner(build_model("vit"), digits.part(0, 16)))
    first.add_callback(second)
    first.train()
    assert f"another run (process {os.getpid()}) is using `{tmp_path / 'out'}`" in second.message
    second.other.train()  # after the end of the first one


def test_an_error_frees_the_folder(make_unlearner: Make, digits: Examples) -> None:
    killed(make_unlearner(build_model("vit"), digits.part(0, 16)), 2)
    make_unlearner(build_model("vit"), digits.part(0, 16)).train()


HOLDER = """
import sys, time
from accelerate import Accelerator
from hf_invwnn.trainer.folder_lock import locked_folder
with locked_folder(sys.argv[1], Accelerator(cpu=True)):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.mark.slow
def test_a_run_that_was_killed_does_not_hold_its_folder(
    make_unlearner: Make, digits: Examples, tmp_path: Path
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path / "out")], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        unlearner = make_unlearner(build_model("vit"), digits.part(0, 16))
        with pytest.raises(OutputFolderInUseError, match=rf"another run \(process {holder.pid}\)"):
            unlearner.train()
        holder.kill()
    began = time.monotonic()
    unlearner.train()
    assert time.monotonic() - began < 10


# ---- Files that were edited ----


def edit_manifest(folder: Path, content: str) -> None:
    (folder / MANIFEST_NAME).write_text(content)


def edit_step(folder: Path, name: str, key: str) -> None:
    content = json.loads((folder / name).read_text())
    (folder / name).write_text(json.dumps({**content, key: content[key] + 2}))
    write_manifest(folder)


def index_outside(folder: Path) -> None:
    save_file(load_file(folder / "model.safetensors"), folder.parent / "outside.safetensors")
    (folder / "model.safetensors").unlink()
    index = {"metadata": {}, "weight_map": {"classifier.weight": "../outside.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    write_manifest(folder)


def manifest_outside(folder: Path) -> None:
    content = json.loads((folder / MANIFEST_NAME).read_text())
    edit_manifest(folder, json.dumps({**content, "../outside.txt": [1, "0" * 64]}))


EDITS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "an empty manifest": (lambda folder: edit_manifest(folder, "{}"), "is no manifest of this checkpoint"),
    "a list": (lambda folder: edit_manifest(folder, "[]"), "must hold a JSON object"),
    "a manifest of something else": (
        lambda folder: edit_manifest(folder, '{"config.json": [1, "0"]}'),
        "is no manifest of this checkpoint",
    ),
    "no checksums": (
        lambda folder: edit_manifest(
            folder, json.dumps(dict.fromkeys(json.loads((folder / MANIFEST_NAME).read_text()), 1))
        ),
        "its size or checksum differs",
    ),
    "a manifest of files outside": (manifest_outside, "which is not a file of the checkpoint"),
    "an index of files outside": (index_outside, "which is not a file of the checkpoint"),
    "a step of the Trainer": (lambda folder: edit_step(folder, "trainer_state.json", "global_step"), "was edited"),
    "a step of the run": (lambda folder: edit_step(folder, STATE_NAME, "step"), "was edited: its step is 4 in"),
}


@pytest.mark.parametrize("edit", EDITS)
def test_a_checkpoint_that_was_edited_is_refused_by_name(
    edit: str, make_unlearner: Make, digits: Examples, tmp_path: Path
) -> None:
    killed(make_unlearner(build_model("vit"), digits.part(0, 16), **SAVING), 5)
    change, message = EDITS[edit]
    change(tmp_path / "out" / "checkpoint-4")
    unlearner = make_unlearner(build_model("vit"), digits.part(0, 16), **SAVING)
    with unchanged(unlearner.model), pytest.raises(CorruptCheckpointError, match=message):
        unlearner.train(resume_from_checkpoint=str(tmp_path / "out" / "checkpoint-4"))


def test_a_renamed_checkpoint_is_refused(make_unlearner: Make, digits: Examples, tmp_path: Path) -> None:
    killed(make_unlearner(build_model("vit"), digits.part(0, 16), **SAVING), 5)
    (tmp_path / "out" / "checkpoint-4").rename(tmp_path / "out" / "checkpoint-40")
    unlearner = make_unlearner(build_model("vit"), digits.part(0, 16), **SAVING)
    with pytest.raises(CorruptCheckpointError, match="its step is 40 in the name of the folder, 4 in"):
        unlearner.train(resume_from_checkpoint=str(tmp_path / "out" / "checkpoint-40"))

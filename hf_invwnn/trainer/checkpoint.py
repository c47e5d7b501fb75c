"""Checkpoints of an unlearning run: where they are written, what they hold, and how a run is resumed from one."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file
from torch import nn
from transformers import PreTrainedModel
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR
from transformers.utils import SAFE_WEIGHTS_NAME, is_peft_available, logging

from ..errors import CheckpointMismatchError, CorruptCheckpointError
from ..files import read_json_object, write_json
from ..trajectory.sharding import any_process
from .checkpoint_files import (
    COPIES,
    CURRENT,
    INCOMPLETE,
    LAST_GOOD,
    METHOD,
    STATE_VERSION,
    check_checkpoint,
    load_state,
    load_tensors,
    publish,
    save_state,
    save_tensors,
    step_of,
    write_manifest,
)
from .identity import difference, free_arguments, hash_of_frozen
from .state import RunState


if TYPE_CHECKING:
    from .unlearner import Unlearner


logger = logging.get_logger(__name__)

# In the output directory: which run the next checkpoints belong to.
RUN_NAME = "_run"


@contextmanager
def atomic_checkpoint(unlearner: Unlearner, run_dir: Path) -> Iterator[Path]:
    """
    Yields the folder to write a checkpoint to, and renames it to its final name when all processes have written.

    Args:
        unlearner ([`Unlearner`]): The run.
        run_dir (`Path`): The folder of all checkpoints.
    """
    name = f"{PREFIX_CHECKPOINT_DIR}-{unlearner.state.global_step}"
    incomplete, writes = run_dir / INCOMPLETE, unlearner.args.should_save
    if writes:
        shutil.rmtree(incomplete, ignore_errors=True)
    unlearner.accelerator.wait_for_everyone()
    yield incomplete
    unlearner.accelerator.wait_for_everyone()
    if writes:
        write_manifest(incomplete / name)
        publish(incomplete / name, run_dir / name)
        shutil.rmtree(incomplete, ignore_errors=True)
        _delete_oldest(run_dir, unlearner.run_id, unlearner.args.save_total_limit)
    unlearner.accelerator.wait_for_everyone()


def find_checkpoint(unlearner: Unlearner, resume_from_checkpoint: str | bool | None) -> str | None:
    """
    The checked checkpoint to resume from; with `True` the newest intact one in the output directory.

    Raises:
        ValueError: The output directory has no checkpoint.
        CorruptCheckpointError: No checkpoint is intact, or the named one is not.
        CheckpointMismatchError: The newest intact checkpoint, or the named one, belongs to another run.
    """
    if not resume_from_checkpoint:
        return None
    if resume_from_checkpoint is not True:
        _check_on_all_processes(unlearner, str(resume_from_checkpoint))
        return str(resume_from_checkpoint)
    output_dir = Path(str(unlearner.args.output_dir))
    folders = _checkpoints(output_dir)
    if not folders:
        raise ValueError(f"`resume_from_checkpoint`: there is no checkpoint in `{output_dir}`.")
    # An earlier run in the same folder may have come further than the last one.
    last = current_run(output_dir)
    if last is not None:
        others, folders = folders, [folder for folder in folders if _run_of(folder) in (last, None)]
        if not folders:
            raise CheckpointMismatchError(
                f"`resume_from_checkpoint`: the last run in `{output_dir}` had saved no checkpoint; `{others[-1]}` "
                "belongs to an earlier run. Pass its path to go on from there, or start again."
            )
    for folder in reversed(folders):
        try:
            _check_on_all_processes(unlearner, folder)
            return folder
        except CheckpointMismatchError:
            raise
        except CorruptCheckpointError as error:
            if folder == folders[0]:
                raise
            logger.warning(f"{error} The checkpoint before it is used.")
    return None


def current_run(output_dir: Path) -> str | None:
    """The identifier of the last run that was begun in a folder; `None` if none was."""
    try:
        run = read_json_object(output_dir / RUN_NAME).get("run_id")
    except (OSError, ValueError):
        return None
    return run if isinstance(run, str) else None


def begin_run(unlearner: Unlearner) -> None:
    """Notes, in the output directory, which run its next checkpoints belong to."""
    if unlearner.args.should_save:
        write_json({"run_id": unlearner.run_id}, Path(str(unlearner.args.output_dir)) / RUN_NAME)


def _checkpoints(output_dir: Path) -> list[str]:
    """The checkpoints in a folder by their step; the clock may have been set back."""
    steps = {str(path): step for path in output_dir.glob("*") if (step := step_of(path)) is not None and path.is_dir()}
    return sorted(steps, key=lambda path: steps[path])


def _run_of(folder: str) -> str | None:
    """The run that wrote a checkpoint; `None` if its state cannot be read."""
    try:
        return str(load_state(folder)["run_id"])
    except CorruptCheckpointError:
        return None


def _delete_oldest(output_dir: Path, run: str, limit: int | None) -> None:
    """Deletes the oldest checkpoints of a run beyond a limit; those of other runs stay."""
    if limit is None or limit <= 0:
        return
    own = [folder for folder in _checkpoints(output_dir) if _run_of(folder) == run]
    for folder in own[:-limit]:
        shutil.rmtree(folder)


def save_run(unlearner: Unlearner, folder: str | os.PathLike) -> None:
    """
    Writes the tensors of this process and, on the first process, the state that all processes share.

    Args:
        unlearner ([`Unlearner`]): The run.
        folder (`str` or `os.PathLike`): The checkpoint.
    """
    last_good, tracked = unlearner.last_good, unlearner.tracked
    assert last_good.snapshot is not None
    shards = tracked.shards
    method_tensors, method_count = unlearner.method_state()
    tensors = {f"{METHOD}{name}": value for name, value in method_tensors.items()}
    tensors |= {f"{CURRENT}{name}": value for name, value in tracked.local_tensors().items()}
    good = {**last_good.snapshot.values, **last_good.buffers}
    tensors |= {f"{LAST_GOOD}{name}": value for name, value in good.items()}
    for kind, copy in unlearner.recovery.copies.items():
        with copy.in_place(unlearner.accelerator.unwrap_model(unlearner.model)):
            tensors |= {f"{kind}.{name}": value.clone() for name, value in tracked.local_tensors().items()}
    save_tensors(folder, tensors, shards.rank, shards.world)
    if shards.rank == 0:
        save_state(
            folder,
            {
                "format_version": STATE_VERSION,
                "run_id": unlearner.run_id,
                "step": unlearner.state.global_step,
                "arguments": free_arguments(unlearner),
                "schedule": schedule(unlearner),
                "identity": unlearner.cached_fingerprint(),
                "frozen": unlearner.frozen_hash,
                "world": shards.world,
                "layout": shards.layout,
                "tracked": list(tracked.parameters),
                "method_count": method_count,
                "run": unlearner.run_state.to_dict(),
            },
        )


@torch.no_grad()
def load_run(unlearner: Unlearner, folder: str | os.PathLike) -> None:
    """
    Continues a run where [`save_run`] wrote it.

    Args:
        unlearner ([`Unlearner`]): A run with the same arguments, model and data.
        folder (`str` or `os.PathLike`): The checkpoint.

    Raises:
        CheckpointMismatchError: The checkpoint belongs to another run; the message names the difference.
    """
    state, shards = load_state(folder), unlearner.tracked.shards
    layout = "layout of the weights"
    saved = {**state["schedule"], layout: state["layout"]}
    if different := difference(saved, {**schedule(unlearner), layout: shards.layout}):
        raise CheckpointMismatchError(different)
    if hash_of_frozen(unlearner) != state["frozen"]:
        raise CheckpointMismatchError("its weights that the run does not change are not those of the model")
    tensors = load_tensors(folder, shards.rank, shards.world)
    method_tensors, current_weights, good_weights, *copies = (
        {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
        for prefix in (METHOD, CURRENT, LAST_GOOD, *(f"{kind}." for kind in COPIES))
    )
    targets = unlearner.tracked.local_tensors()
    for values in filter(None, (*copies, good_weights, current_weights)):
        _check_same_tensors(folder, targets, values)
    unlearner.load_method_state(method_tensors, state["method_count"])
    # The Trainer has loaded model.safetensors, but skips without an error what `save_pretrained` stores under another
    # name (the layers of a ViT, transformers issue 43701). So tracked weights are loaded from a file of our own.
    run = RunState.from_dict(state["run"])
    for kind, values in (*zip(COPIES, copies, strict=True), (LAST_GOOD, good_weights), (CURRENT, current_weights)):
        if not values:
            continue
        for name, target in targets.items():
            target.copy_(values[name])
        shards.all_gather()
        if kind == LAST_GOOD:
            unlearner.last_good.mark()
        elif kind in COPIES:
            unlearner.recovery.keep(kind)
    if run.recovering:
        unlearner.recovery.prepare_answers()
    unlearner.last_good.sync_copies()
    unlearner.run_id = state["run_id"]
    unlearner.run_state = run
    unlearner.run_state.note_changes(unlearner.state.global_step, state["arguments"], free_arguments(unlearner))


def saves_itself(model: nn.Module) -> bool:
    """Whether a module that the Trainer would save as a bare state dict has a `save_pretrained`."""
    known: tuple[type, ...] = (PreTrainedModel,)
    if is_peft_available():
        from peft import PeftModel

        known = (*known, PeftModel)
    return hasattr(model, "save_pretrained") and not isinstance(model, known)


def trained_tensors(unlearner: Unlearner, state_dict: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """
    A state dict without frozen parameters, such as a base model under LoRA layers: a resumed run has them already, and
    compares their hash.
    """
    model = unlearner.accelerator.unwrap_model(unlearner.model)
    frozen = dict(model.named_parameters()).keys() - unlearner.tracked.parameters.keys()
    return {name: value for name, value in state_dict.items() if name not in frozen}


def load_trained_tensors(model: Any, folder: str | os.PathLike) -> None:
    """Loads what [`trained_tensors`] left; the Trainer would fail on the missing parameters of a bare module."""
    model.load_state_dict(load_file(Path(folder) / SAFE_WEIGHTS_NAME), strict=False)


def schedule(unlearner: Unlearner) -> dict[str, int]:
    """The settings that determine which step belongs to which round; they must not change within a run."""
    return {
        "num_snapshots": unlearner.args.num_snapshots,
        "warmup_intervals": unlearner.args.warmup_intervals,
        "steps_per_interval": unlearner.unlearning.steps_per_interval,
    }


def _check_on_all_processes(unlearner: Unlearner, folder: str) -> None:
    """
    Every process checks its own files; all processes use or refuse the checkpoint together.

    Raises:
        CheckpointMismatchError: On all processes, if the checkpoint belongs to another run on one of them.
        CorruptCheckpointError: On all processes, if it is otherwise damaged on one of them.
    """
    problem: CorruptCheckpointError | None = None
    args = unlearner.args
    try:
        check_checkpoint(folder, args.process_index, args.world_size, unlearner.tracked.parameters)
        if different := difference(load_state(folder)["identity"], unlearner.cached_fingerprint()):
            raise CheckpointMismatchError(f"`{folder}` belongs to another run: {different}.")
    except CorruptCheckpointError as error:
        problem = error
    # The kind decides whether an earlier checkpoint is tried, which all processes must do or leave together.
    mismatched = any_process(isinstance(problem, CheckpointMismatchError), args.device)
    damaged = any_process(problem is not None, args.device)
    if mismatched and not isinstance(problem, CheckpointMismatchError):
        raise CheckpointMismatchError(
            f"`{folder}` belongs to another run on another process; see its message."
        ) from problem
    if damaged:
        raise problem or CorruptCheckpointError(f"`{folder}` is damaged on another process; see its message.")


def _check_same_tensors(
    folder: str | os.PathLike, targets: Mapping[str, torch.Tensor], saved: Mapping[str, torch.Tensor]
) -> None:
    if saved.keys() != targets.keys():
        differing = ", ".join(sorted(saved.keys() ^ targets.keys())[:3])
        raise CheckpointMismatchError(
            f"`{Path(folder)}` holds other parameters than this run tracks ({differing}); the model and "
            "`tracked_parameters` must be those it was saved with."
        )
    for name, value in saved.items():
        if value.shape != targets[name].shape:
            raise CheckpointMismatchError(
                f"`{Path(folder)}` has the shape {tuple(value.shape)} for `{name}`, the model "
                f"{tuple(targets[name].shape)}."
            )


__all__ = [
    "atomic_checkpoint",
    "begin_run",
    "find_checkpoint",
    "load_run",
    "load_trained_tensors",
    "save_run",
    "saves_itself",
    "schedule",
    "trained_tensors",
]

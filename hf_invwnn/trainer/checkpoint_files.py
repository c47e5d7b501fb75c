"""The files of a checkpoint: atomic, with a manifest of checksums, and checked before they are used."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR
from transformers.utils import SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME

from ..errors import CheckpointMismatchError, CorruptCheckpointError
from ..files import read_json_object, sha256, write_json
from .state import RunState


STATE_NAME = "unlearning_state.json"
STATE_VERSION = 4
MANIFEST_NAME = "unlearning_files.json"
# Checkpoints are written here and renamed when they are complete; a push leaves out names that begin with `_`.
INCOMPLETE = "_incomplete"
METHOD = "method."
CURRENT = "current."
LAST_GOOD = "last_good."
# Copies of all weights that a recovery holds, by their names.
COPIES = ("original", "rewound", "beyond")


def tensors_name(rank: int, world: int) -> str:
    """Name of the file with the tensors of one process."""
    return "unlearning_state.safetensors" if world == 1 else f"unlearning_state_{rank}.safetensors"


# ---- Writing ----


def save_tensors(
    folder: str | os.PathLike, tensors: Mapping[str, torch.Tensor], rank: int = 0, world: int = 1
) -> None:
    """Writes the tensors of one process into a checkpoint folder."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    save_file({name: value.contiguous() for name, value in tensors.items()}, Path(folder) / tensors_name(rank, world))


def save_state(folder: str | os.PathLike, state: Any) -> None:
    """Writes the state that all processes share."""
    write_json(state, Path(folder) / STATE_NAME)


def write_manifest(folder: str | os.PathLike) -> None:
    """Writes the size and the SHA-256 of every file of a checkpoint, and flushes all files to disk."""
    source = Path(folder)
    files = [path for path in sorted(source.rglob("*")) if path.is_file() and path.name != MANIFEST_NAME]
    manifest = {path.relative_to(source).as_posix(): [path.stat().st_size, sha256(path)] for path in files}
    write_json(manifest, source / MANIFEST_NAME)
    for path in [*files, source / MANIFEST_NAME]:
        _flush(path)
    _flush(source)


def publish(written: str | os.PathLike, final: str | os.PathLike) -> None:
    """Renames a complete checkpoint to its final name, so that it exists completely or not at all."""
    target = Path(final)
    if target.exists():
        # Written before an interruption, and now reached again.
        replaced = Path(written).with_name(f"replaced-{target.name}")
        os.replace(target, replaced)
        os.replace(written, target)
        shutil.rmtree(replaced)
    else:
        os.replace(written, target)
    _flush(target.parent)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# ---- Reading ----


def _read(path: Path) -> dict[str, Any]:
    """
    Reads a JSON file of a checkpoint.

    Raises:
        CorruptCheckpointError: The file is missing, or does not hold a JSON object.
    """
    try:
        return read_json_object(path, foreign=path.name == TRAINER_STATE_NAME)
    except FileNotFoundError as error:
        raise CorruptCheckpointError(f"`{path}` is missing; resume from an earlier checkpoint.") from error
    except ValueError as error:
        raise CorruptCheckpointError(f"`{path}` is damaged ({error}); resume from an earlier checkpoint.") from error


def load_tensors(folder: str | os.PathLike, rank: int = 0, world: int = 1) -> dict[str, torch.Tensor]:
    """
    Reads the tensors of one process.

    Raises:
        CorruptCheckpointError: The file is missing or truncated.
    """
    path = Path(folder) / tensors_name(rank, world)
    try:
        return load_file(path)
    except FileNotFoundError as error:
        raise CorruptCheckpointError(
            f"`{folder}` is not a checkpoint of an unlearning run: {path.name} is missing."
        ) from error
    except SafetensorError as error:
        raise CorruptCheckpointError(f"`{path}` is damaged ({error}); take an earlier one.") from error


def load_state(folder: str | os.PathLike) -> dict[str, Any]:
    """
    Reads the state that all processes share.

    Raises:
        CorruptCheckpointError: The file is missing, damaged or incomplete.
        CheckpointMismatchError: The file was written by another version.
    """
    path = Path(folder) / STATE_NAME
    if not path.is_file():
        raise CorruptCheckpointError(f"`{folder}` is not a checkpoint of an unlearning run: {STATE_NAME} is missing.")
    state = _read(path)
    if (version := state.get("format_version", 1)) != STATE_VERSION:
        raise CheckpointMismatchError(
            f"`{path}` has format_version {version}, this version of hf-invwnn reads {STATE_VERSION}; resume with the "
            "version that wrote it (0.1 for 1, 0.2 for 2, 0.3 for 3), or start the run again."
        )
    run = state.get("run")
    missing = sorted(_STATE_KEYS - set(state))
    missing += [f"run.{item.name}" for item in fields(RunState) if isinstance(run, dict) and item.name not in run]
    if missing:
        raise CorruptCheckpointError(f"`{path}` lacks {', '.join(missing)}.")
    return state


def check_checkpoint(
    folder: str | os.PathLike, rank: int = 0, world: int = 1, tracked: Iterable[str] | None = None
) -> None:
    """
    Checks that a checkpoint is complete, before the model is changed.

    Args:
        folder (`str` or `os.PathLike`): A checkpoint of an unlearning run.
        rank (`int`, defaults to 0), world (`int`, defaults to 1): Rank of this process, and number of processes.
        tracked (`Iterable[str]`, *optional*): Names of the parameters that the run to resume tracks.

    Raises:
        CorruptCheckpointError: The folder does not exist, its weights are pickled or truncated, or a file is missing
            or damaged.
        CheckpointMismatchError: It was written by another version or number of processes, or tracks other parameters.
    """
    source = Path(folder)
    if not source.is_dir():
        raise CorruptCheckpointError(f"`resume_from_checkpoint`: there is no folder `{source}`.")
    state = load_state(source)
    # A damaged state must not be reported as the state of another run.
    _check_files(source, [STATE_NAME])
    if state["world"] != world:
        raise CheckpointMismatchError(
            f"`{source}` was written by {state['world']} process(es), and this run has {world}; the trajectory "
            f"is divided among processes, so start {state['world']}."
        )
    if tracked is not None and (differing := sorted({*tracked} ^ {*state["tracked"]})):
        raise CheckpointMismatchError(
            f"`{source}` holds other parameters than this run tracks ({', '.join(differing[:3])}); the model and "
            "`tracked_parameters` must be those it was saved with."
        )
    _check_step(source, state)
    _check_weights(source)
    for what, patterns in _ALSO_NEEDED.items():
        if not any(any(source.glob(pattern)) for pattern in patterns):
            raise CorruptCheckpointError(f"`{source}` has no {what}; without it the run cannot be resumed exactly.")
    for name, value in load_tensors(source, rank, world).items():
        if name.startswith(LAST_GOOD) and not torch.isfinite(value).all():
            what = name.removeprefix(LAST_GOOD)
            raise CorruptCheckpointError(
                f"`{source / tensors_name(rank, world)}` holds weights of `{what}` that are not finite."
            )
    _check_files(source)


# Files of the Trainer; their names depend on how it runs.
_ALSO_NEEDED = {
    "optimizer state (`optimizer.pt`)": ("optimizer*", "global_step*"),
    "random state (`rng_state.pth`)": ("rng_state*.pth",),
}
_STATE_KEYS = {
    *("format_version", "run_id", "step", "arguments", "schedule", "identity", "frozen"),
    *("world", "layout", "tracked", "method_count", "run"),
}


def _check_step(source: Path, state: Mapping[str, Any]) -> None:
    """The step is in the name of the folder and in two files; all must agree."""
    steps = {
        "the name of the folder": step_of(source),
        STATE_NAME: state["step"],
        TRAINER_STATE_NAME: _read(source / TRAINER_STATE_NAME).get("global_step"),
    }
    if steps["the name of the folder"] is None:  # a checkpoint may be copied to any name
        del steps["the name of the folder"]
    if len(set(map(str, steps.values()))) > 1:
        values = ", ".join(f"{value} in {where}" for where, value in steps.items())
        raise CorruptCheckpointError(f"`{source}` was edited: its step is {values}; resume from another checkpoint.")


def step_of(folder: str | os.PathLike) -> int | None:
    """The step in the name of a checkpoint folder; `None` if it has another name."""
    number = Path(folder).name.removeprefix(f"{PREFIX_CHECKPOINT_DIR}-")
    return int(number) if number.isdecimal() and Path(folder).name != number else None


def _check_files(source: Path, names: Sequence[str] | None = None) -> None:
    """Checks all files, or the named ones, against the manifest."""
    manifest = _read(source / MANIFEST_NAME)
    needed = names or [STATE_NAME, TRAINER_STATE_NAME, *(path.name for path in source.glob("*.safetensors"))]
    if missing := sorted(set(needed) - manifest.keys()):
        raise CorruptCheckpointError(
            f"`{source / MANIFEST_NAME}` is no manifest of this checkpoint: it does not list {missing[0]}. Resume "
            "from an earlier checkpoint."
        )
    for name, checksum in manifest.items():
        if names is not None and name not in names:
            continue
        path = _inside(source, name, MANIFEST_NAME)
        if not path.is_file():
            raise CorruptCheckpointError(f"`{path}` is missing; resume from an earlier checkpoint.")
        if [path.stat().st_size, sha256(path)] != checksum:
            raise CorruptCheckpointError(
                f"`{path}` is damaged: its size or checksum differs from the manifest. Resume from an earlier "
                "checkpoint."
            )


def _inside(source: Path, name: str, named_in: str) -> Path:
    """
    The file of a checkpoint.

    Raises:
        CorruptCheckpointError: The name leads out of the checkpoint.
    """
    path = source / name
    if Path(name).is_absolute() or ".." in Path(name).parts or path.is_symlink():
        raise CorruptCheckpointError(
            f"`{source / named_in}` names `{name}`, which is not a file of the checkpoint; resume from an earlier one."
        )
    return path


def _check_weights(source: Path) -> None:
    for path in _weight_files(source):
        try:
            with safe_open(path, framework="pt") as weights:
                weights.keys()
        except (SafetensorError, FileNotFoundError) as error:
            raise CorruptCheckpointError(
                f"`{path}` is damaged ({error}); resume from an earlier checkpoint."
            ) from error


def _weight_files(source: Path) -> list[Path]:
    index = source / SAFE_WEIGHTS_INDEX_NAME
    if index.is_file():
        weight_map = _read(index).get("weight_map")
        if not isinstance(weight_map, dict) or not all(isinstance(name, str) for name in weight_map.values()):
            raise CorruptCheckpointError(
                f"`{index}` is damaged (its `weight_map` names no files); resume from an earlier checkpoint."
            )
        return [_inside(source, name, index.name) for name in sorted(set(weight_map.values()))]
    present = [path for path in (source / SAFE_WEIGHTS_NAME, source / "adapter_model.safetensors") if path.is_file()]
    if present or any(source.glob("pytorch_model_fsdp*")) or any(source.glob("global_step*")):
        return present  # FSDP and DeepSpeed save into folders of their own, which the manifest covers
    pickled = sorted(path.name for pattern in ("*.bin", "*.pt", "*.pth", "*.pkl") for path in source.glob(pattern))
    hint = f"; pickled files such as {pickled[0]} are not read" if pickled else ""
    raise CorruptCheckpointError(f"`{source}` has no `{SAFE_WEIGHTS_NAME}`{hint}.")


__all__ = [
    "INCOMPLETE",
    "CURRENT",
    "METHOD",
    "COPIES",
    "LAST_GOOD",
    "CorruptCheckpointError",
    "CheckpointMismatchError",
    "check_checkpoint",
    "step_of",
    "load_state",
    "load_tensors",
    "publish",
    "save_state",
    "save_tensors",
    "write_manifest",
]

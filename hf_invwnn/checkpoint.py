"""What a checkpoint of an unlearning run holds beside the Trainer's own files, and what is refused of it."""

from __future__ import annotations

import json
import os
import shutil
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from transformers.trainer import TRAINER_STATE_NAME
from transformers.utils import SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME


STATE_NAME = "unlearning_state.json"
MANIFEST_NAME = "unlearning_files.json"
# Checkpoints are written here and moved into place when they are whole; a push leaves out what begins with `_`.
ASIDE = "_incomplete"
EXTRA = "extra."
CURRENT = "current."
LAST_GOOD = "last_good."


class DamagedCheckpoint(ValueError):
    """A checkpoint that cannot be resumed from; the message names the file."""


class OtherRun(DamagedCheckpoint):
    """A checkpoint that is whole, but of a run that this one cannot go on with."""


def tensors_name(rank: int, world: int) -> str:
    """The file with the part of one process."""
    return "unlearning_state.safetensors" if world == 1 else f"unlearning_state_{rank}.safetensors"


# ---- Writing ----


def save_tensors(
    folder: str | os.PathLike, tensors: Mapping[str, torch.Tensor], rank: int = 0, world: int = 1
) -> None:
    """Writes the part of one process into a checkpoint folder."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    save_file({name: value.contiguous() for name, value in tensors.items()}, Path(folder) / tensors_name(rank, world))


def save_state(folder: str | os.PathLike, state: Any) -> None:
    """Writes what all processes have in common."""
    (Path(folder) / STATE_NAME).write_text(json.dumps(state, indent=2))


def seal(folder: str | os.PathLike) -> None:
    """Writes down the size and the CRC-32 of every file of a checkpoint, and has all of it reach the disk."""
    source = Path(folder)
    files = [path for path in sorted(source.rglob("*")) if path.is_file() and path.name != MANIFEST_NAME]
    manifest = {path.relative_to(source).as_posix(): _fingerprint(path) for path in files}
    (source / MANIFEST_NAME).write_text(json.dumps(manifest, indent=2))
    for path in [*files, source / MANIFEST_NAME]:
        _flush(path)
    _flush(source)


def publish(written: str | os.PathLike, final: str | os.PathLike) -> None:
    """Moves a sealed checkpoint to its name, so that it is there as a whole or not at all."""
    target = Path(final)
    if target.exists():
        # Written before the run was interrupted, and reached once more.
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


def _fingerprint(path: Path) -> list[int]:
    checksum, size = 0, 0
    with path.open("rb") as file:
        while chunk := file.read(2**22):
            checksum, size = zlib.crc32(chunk, checksum), size + len(chunk)
    return [size, checksum]


# ---- Reading ----


def load_tensors(folder: str | os.PathLike, rank: int = 0, world: int = 1) -> dict[str, torch.Tensor]:
    """
    The part of one process.

    Raises:
        DamagedCheckpoint: It is missing or truncated.
    """
    path = Path(folder) / tensors_name(rank, world)
    try:
        return load_file(path)
    except FileNotFoundError as error:
        raise DamagedCheckpoint(
            f"`{folder}` is no checkpoint of an unlearning run: {path.name} is missing."
        ) from error
    except SafetensorError as error:
        raise DamagedCheckpoint(f"`{path}` is damaged ({error}); take an earlier one.") from error


def load_state(folder: str | os.PathLike) -> dict[str, Any]:
    """
    What all processes have in common.

    Raises:
        DamagedCheckpoint: It is missing, damaged or incomplete.
    """
    path = Path(folder) / STATE_NAME
    try:
        state: Any = json.loads(path.read_text())
    except FileNotFoundError as error:
        raise DamagedCheckpoint(
            f"`{folder}` is no checkpoint of an unlearning run: {STATE_NAME} is missing."
        ) from error
    except ValueError as error:
        raise DamagedCheckpoint(f"`{path}` is damaged ({error}); take an earlier one.") from error
    if not isinstance(state, dict):
        raise DamagedCheckpoint(f"`{path}` is damaged (it holds no settings); take an earlier one.")
    if missing := sorted(_STATE_KEYS - set(state)):
        raise DamagedCheckpoint(f"`{path}` lacks {', '.join(missing)}.")
    return state


def check_checkpoint(
    folder: str | os.PathLike, rank: int = 0, world: int = 1, tracked: Iterable[str] | None = None
) -> None:
    """
    Looks whether a checkpoint is whole, before the model is touched.

    Args:
        folder (`str` or `os.PathLike`): A checkpoint of an unlearning run.
        rank (`int`, defaults to 0), world (`int`, defaults to 1): The process that asks, of how many.
        tracked (`Iterable[str]`, *optional*): Names of the parameters that the run to resume tracks.

    Raises:
        DamagedCheckpoint: It does not exist, its weights are pickled or truncated, or a file or a part of one is
            missing or not as it was written.
        OtherRun: It was written by another number of processes, or tracks other parameters.
    """
    source = Path(folder)
    if not source.is_dir():
        raise DamagedCheckpoint(f"`resume_from_checkpoint`: there is no folder `{source}`.")
    state = load_state(source)
    # What was changed by accident is damage, and not the word of another run.
    _check_files(source, [STATE_NAME])
    if state["world"] != world:
        raise OtherRun(
            f"`{source}` was written by {state['world']} process(es), and this run has {world}; each has a part of "
            f"the trajectory, so start {state['world']} again."
        )
    if tracked is not None and (differing := sorted({*tracked} ^ {*state["tracked"]})):
        raise OtherRun(
            f"`{source}` holds other parameters than this run tracks ({', '.join(differing[:3])}); the model and "
            "`tracked_parameters` must be those it was saved with."
        )
    _check_weights(source)
    try:
        json.loads((source / TRAINER_STATE_NAME).read_text())
    except (FileNotFoundError, ValueError) as error:
        raise DamagedCheckpoint(f"`{source / TRAINER_STATE_NAME}` is missing or damaged ({error}).") from error
    for what, patterns in _ALSO_NEEDED.items():
        if not any(any(source.glob(pattern)) for pattern in patterns):
            raise DamagedCheckpoint(f"`{source}` has no {what}; without it the run would not go on as it was.")
    for name, value in load_tensors(source, rank, world).items():
        if name.startswith(LAST_GOOD) and not torch.isfinite(value).all():
            what = name.removeprefix(LAST_GOOD)
            raise DamagedCheckpoint(
                f"`{source / tensors_name(rank, world)}` holds weights of `{what}` that are not finite."
            )
    _check_files(source)


# The Trainer's own files, under the names that its ways of running give them.
_ALSO_NEEDED = {
    "optimizer state (`optimizer.pt`)": ("optimizer*", "global_step*"),
    "random state (`rng_state.pth`)": ("rng_state*.pth",),
}
_STATE_KEYS = {
    *("schedule", "identity", "world", "layout", "tracked"),
    *("snapshots", "rewinds", "stop_reason", "history", "seconds"),
}


def _check_files(source: Path, names: Sequence[str] | None = None) -> None:
    """Every file, or every one of those named, is there as it was written."""
    try:
        manifest = json.loads((source / MANIFEST_NAME).read_text())
    except (FileNotFoundError, ValueError) as error:
        raise DamagedCheckpoint(f"`{source / MANIFEST_NAME}` is missing or damaged ({error}).") from error
    for name, fingerprint in manifest.items():
        if names is not None and name not in names:
            continue
        path = source / name
        if not path.is_file():
            raise DamagedCheckpoint(f"`{path}` is missing; resume from an earlier checkpoint.")
        if _fingerprint(path) != fingerprint:
            raise DamagedCheckpoint(
                f"`{path}` is damaged: it has not the size and the checksum it was written with. Resume from an "
                "earlier checkpoint."
            )


def _check_weights(source: Path) -> None:
    for path in _weight_files(source):
        try:
            with safe_open(path, framework="pt") as weights:
                weights.keys()
        except (SafetensorError, FileNotFoundError) as error:
            raise DamagedCheckpoint(f"`{path}` is damaged ({error}); resume from an earlier checkpoint.") from error


def _weight_files(source: Path) -> list[Path]:
    index = source / SAFE_WEIGHTS_INDEX_NAME
    if index.is_file():
        try:
            return [source / name for name in sorted(set(json.loads(index.read_text())["weight_map"].values()))]
        except (ValueError, KeyError) as error:
            raise DamagedCheckpoint(f"`{index}` is damaged ({error}); resume from an earlier checkpoint.") from error
    found = [path for path in (source / SAFE_WEIGHTS_NAME, source / "adapter_model.safetensors") if path.is_file()]
    if found or any(source.glob("pytorch_model_fsdp*")) or any(source.glob("global_step*")):
        return found  # those of FSDP and DeepSpeed are in their own folders, which the manifest covers
    pickled = sorted(path.name for pattern in ("*.bin", "*.pt", "*.pth", "*.pkl") for path in source.glob(pattern))
    hint = f"; pickled files such as {pickled[0]} are not read" if pickled else ""
    raise DamagedCheckpoint(f"`{source}` has no `{SAFE_WEIGHTS_NAME}`{hint}.")


__all__ = [
    "ASIDE",
    "CURRENT",
    "EXTRA",
    "LAST_GOOD",
    "DamagedCheckpoint",
    "OtherRun",
    "check_checkpoint",
    "load_state",
    "load_tensors",
    "publish",
    "save_state",
    "save_tensors",
    "seal",
]

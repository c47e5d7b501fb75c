"""What a checkpoint of an unlearning run holds beside the Trainer's own files, and what is refused of it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from transformers.trainer import TRAINER_STATE_NAME
from transformers.utils import SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME


TENSORS_NAME = "unlearning_state.safetensors"
STATE_NAME = "unlearning_state.json"
EXTRA = "extra."
CURRENT = "current."
LAST_GOOD = "last_good."


class DamagedCheckpoint(ValueError):
    """A checkpoint that cannot be resumed from; the message names the file."""


def save_unlearning_state(folder: str | os.PathLike, tensors: Mapping[str, torch.Tensor], state: Any) -> None:
    """Writes tensors and JSON state into a checkpoint folder, each under a temporary name first."""
    target = Path(folder)
    temporary = target / f"{TENSORS_NAME}.tmp"
    save_file({name: value.contiguous() for name, value in tensors.items()}, temporary)
    os.replace(temporary, target / TENSORS_NAME)
    temporary = target / f"{STATE_NAME}.tmp"
    temporary.write_text(json.dumps(state, indent=2))
    os.replace(temporary, target / STATE_NAME)


def load_unlearning_state(folder: str | os.PathLike) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """
    Reads back what [`save_unlearning_state`] wrote.

    Raises:
        DamagedCheckpoint: A file is missing or truncated.
    """
    source = Path(folder)
    try:
        return load_file(source / TENSORS_NAME), json.loads((source / STATE_NAME).read_text())
    except FileNotFoundError as error:
        raise DamagedCheckpoint(
            f"`{source}` is no checkpoint of an unlearning run: {TENSORS_NAME} or {STATE_NAME} is missing."
        ) from error
    except SafetensorError as error:
        raise DamagedCheckpoint(f"`{source / TENSORS_NAME}` is damaged ({error}); take an earlier one.") from error
    except ValueError as error:
        raise DamagedCheckpoint(f"`{source / STATE_NAME}` is damaged ({error}); take an earlier one.") from error


def check_checkpoint(folder: str | os.PathLike, kept: Mapping[str, torch.Tensor]) -> None:
    """
    Looks whether a run that keeps these tensors can be resumed from `folder`, before the model is touched.

    Args:
        folder (`str` or `os.PathLike`): A checkpoint of an unlearning run.
        kept (`dict[str, torch.Tensor]`): What the last good weights of this run are made of.

    Raises:
        DamagedCheckpoint: It does not exist, its weights are pickled or truncated, a file or a part of one is missing,
            or the run kept other tensors.
    """
    source = Path(folder)
    if not source.is_dir():
        raise DamagedCheckpoint(f"`resume_from_checkpoint`: there is no folder `{source}`.")
    for path in _weight_files(source):
        try:
            with safe_open(path, framework="pt") as weights:
                weights.keys()
        except (SafetensorError, FileNotFoundError) as error:
            raise DamagedCheckpoint(f"`{path}` is damaged ({error}); resume from an earlier checkpoint.") from error
    try:
        json.loads((source / TRAINER_STATE_NAME).read_text())
    except (FileNotFoundError, ValueError) as error:
        raise DamagedCheckpoint(f"`{source / TRAINER_STATE_NAME}` is missing or damaged ({error}).") from error
    for what, patterns in _ALSO_NEEDED.items():
        if not any(any(source.glob(pattern)) for pattern in patterns):
            raise DamagedCheckpoint(f"`{source}` has no {what}; without it the run would not go on as it was.")
    tensors, state = load_unlearning_state(source)
    if missing := sorted(_STATE_KEYS - set(state)):
        raise DamagedCheckpoint(f"`{source / STATE_NAME}` lacks {', '.join(missing)}.")
    good = {name.removeprefix(LAST_GOOD): value for name, value in tensors.items() if name.startswith(LAST_GOOD)}
    _check_last_good(source, good, kept)


# The Trainer's own files, under the names that its ways of running give them.
_ALSO_NEEDED = {
    "optimizer state (`optimizer.pt`)": ("optimizer*", "global_step*"),
    "random state (`rng_state.pth`)": ("rng_state*.pth",),
}
_STATE_KEYS = {"schedule", "snapshots", "rewinds", "stop_reason", "history", "seconds"}


def _check_last_good(source: Path, good: Mapping[str, torch.Tensor], kept: Mapping[str, torch.Tensor]) -> None:
    if good.keys() != kept.keys():
        differing = ", ".join(sorted(good.keys() ^ kept.keys())[:3])
        raise DamagedCheckpoint(
            f"`{source}` holds other parameters than this run tracks ({differing}); the model and "
            "`tracked_parameters` must be those it was saved with."
        )
    for name, value in good.items():
        if value.shape != kept[name].shape:
            raise DamagedCheckpoint(
                f"`{source / TENSORS_NAME}` has the shape {tuple(value.shape)} for `{name}`, the model "
                f"{tuple(kept[name].shape)}."
            )
        if not torch.isfinite(value).all():
            raise DamagedCheckpoint(f"`{source / TENSORS_NAME}` holds weights of `{name}` that are not finite.")


def _weight_files(source: Path) -> list[Path]:
    index = source / SAFE_WEIGHTS_INDEX_NAME
    if index.is_file():
        try:
            return [source / name for name in sorted(set(json.loads(index.read_text())["weight_map"].values()))]
        except (ValueError, KeyError) as error:
            raise DamagedCheckpoint(f"`{index}` is damaged ({error}); resume from an earlier checkpoint.") from error
    found = [path for path in (source / SAFE_WEIGHTS_NAME, source / "adapter_model.safetensors") if path.is_file()]
    if found:
        return found
    pickled = sorted(path.name for pattern in ("*.bin", "*.pt", "*.pth", "*.pkl") for path in source.glob(pattern))
    hint = f"; pickled files such as {pickled[0]} are not read" if pickled else ""
    raise DamagedCheckpoint(f"`{source}` has no `{SAFE_WEIGHTS_NAME}`{hint}.")


__all__ = [
    "CURRENT",
    "EXTRA",
    "LAST_GOOD",
    "DamagedCheckpoint",
    "check_checkpoint",
    "load_unlearning_state",
    "save_unlearning_state",
]

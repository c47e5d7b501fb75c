"""A run as it stands, into a checkpoint and out of it again."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from .callbacks import UnlearningCallback
from .checkpoint import CURRENT, EXTRA, LAST_GOOD, OtherRun, load_state, load_tensors, save_state, save_tensors
from .training_args import UnlearningArguments


def save_run(
    unlearning: UnlearningCallback,
    arguments: UnlearningArguments,
    identity: Mapping[str, str | None],
    folder: str | os.PathLike,
) -> None:
    """
    Writes this process's part of a run, and on the first process what all have in common.

    Args:
        unlearning ([`UnlearningCallback`]): The run.
        arguments ([`UnlearningArguments`]): Its arguments.
        identity (`dict[str, str]`): Hashes of what may not change; `None` for what cannot be hashed.
        folder (`str` or `os.PathLike`): The checkpoint.
    """
    assert unlearning.last_good is not None
    parts = unlearning.parts
    extra, snapshots = unlearning.extra_state()
    tensors = {f"{EXTRA}{name}": value for name, value in extra.items()}
    tensors |= {f"{CURRENT}{name}": value for name, value in (*parts.items(), *unlearning.buffers.items())}
    good = {**unlearning.last_good.values, **unlearning.good_buffers}
    tensors |= {f"{LAST_GOOD}{name}": value for name, value in good.items()}
    save_tensors(folder, tensors, parts.rank, parts.world)
    if parts.rank == 0:
        save_state(
            folder,
            {
                "schedule": schedule(unlearning, arguments),
                "identity": dict(identity),
                "world": parts.world,
                "layout": parts.layout,
                "tracked": list(unlearning.parameters),
                "snapshots": snapshots,
                "rewinds": unlearning.rewinds,
                "stop_reason": unlearning.stop_reason,
                "history": unlearning.history,
                "seconds": unlearning.seconds(),
            },
        )


@torch.no_grad()
def resume_run(
    unlearning: UnlearningCallback,
    arguments: UnlearningArguments,
    identity: Mapping[str, str | None],
    folder: str | os.PathLike,
) -> None:
    """
    Takes up a run where [`save_run`] left it; takes what that does.

    Raises:
        OtherRun: The checkpoint is of another run; the message says what differs.
    """
    state, parts = load_state(folder), unlearning.parts
    found = {
        **state["schedule"],
        **state["identity"],
        "how weights are divided": state["layout"],
    }
    here = {**schedule(unlearning, arguments), **identity, "how weights are divided": parts.layout}
    for name, value in here.items():
        if found.get(name) != value:
            raise OtherRun(f"it was saved with `{name}` = {_short(found.get(name))}, but this run has {_short(value)}")
    tensors = load_tensors(folder, parts.rank, parts.world)
    extra, current, good = (
        {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
        for prefix in (EXTRA, CURRENT, LAST_GOOD)
    )
    places = {**dict(parts.items()), **unlearning.buffers}
    _check_same(folder, places, good)
    _check_same(folder, places, current)
    unlearning.load_extra_state(extra, state["snapshots"])
    # The Trainer has loaded model.safetensors, but leaves out without an error what `save_pretrained` stores under
    # another name (the layers of a ViT, transformers issue 43701). So what is tracked comes from our own file.
    for which in (good, current):
        for name, place in places.items():
            place.copy_(which[name])
        if which is good:
            unlearning.keep()
    parts.exchange()
    unlearning.changed()
    unlearning.rewinds, unlearning.stop_reason = state["rewinds"], state["stop_reason"]
    unlearning.history, unlearning.seconds_before = state["history"], state["seconds"]


def schedule(unlearning: UnlearningCallback, arguments: UnlearningArguments) -> dict[str, int]:
    """What must not change between two parts of a run, for where a step belongs follows from it."""
    return {
        "num_snapshots": arguments.num_snapshots,
        "warmup_intervals": arguments.warmup_intervals,
        "steps_per_interval": unlearning.steps_per_interval,
    }


def _check_same(folder: Any, places: Mapping[str, torch.Tensor], saved: Mapping[str, torch.Tensor]) -> None:
    if saved.keys() != places.keys():
        differing = ", ".join(sorted(saved.keys() ^ places.keys())[:3])
        raise OtherRun(
            f"`{Path(folder)}` holds other parameters than this run tracks ({differing}); the model and "
            "`tracked_parameters` must be those it was saved with."
        )
    for name, value in saved.items():
        if value.shape != places[name].shape:
            raise OtherRun(
                f"`{Path(folder)}` has the shape {tuple(value.shape)} for `{name}`, the model "
                f"{tuple(places[name].shape)}."
            )


def _short(value: Any) -> Any:
    """A hash by its first characters."""
    return f"{value[:12]}..." if isinstance(value, str) and len(value) == 64 else value


__all__ = ["resume_run", "save_run", "schedule"]

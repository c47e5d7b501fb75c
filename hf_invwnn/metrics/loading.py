"""The metrics as `evaluate` modules, loaded from the package's own folder: no network, no Hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any


MODULES = ("unlearning_accuracy", "membership_inference", "loss_auc", "retraining_distance")


def metric_path(name: str) -> str:
    """
    The script of a metric, for `evaluate.load`.

    Args:
        name (`str`): One of `MODULES`.

    Raises:
        ValueError: Another name.
    """
    if name not in MODULES:
        raise ValueError(f"`name` must be one of {list(MODULES)}, got {name!r}.")
    return str(Path(__file__).resolve().parent / "modules" / f"{name}.py")


def load(name: str, **kwargs: Any) -> Any:
    """
    Loads a metric as `evaluate.load` does.

    Args:
        name (`str`): One of `MODULES`.
        kwargs (*optional*): Passed to `evaluate.load`. `keep_in_memory` is true unless given or unless `num_process`
            is above 1, so that processes running side by side share no cache file.

    Returns:
        `evaluate.Metric`: Its `compute` takes the arguments of the function of the same name.

    Raises:
        ValueError: Another name.
    """
    path = metric_path(name)
    import evaluate

    kwargs.setdefault("keep_in_memory", kwargs.get("num_process", 1) == 1)
    return evaluate.load(path, **kwargs)


__all__ = ["MODULES", "load", "metric_path"]

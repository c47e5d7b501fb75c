"""The metrics as `evaluate` modules, loaded from the folder of the package without a network."""

from __future__ import annotations

from pathlib import Path
from typing import Any


MODULES = ("unlearning_accuracy", "membership_inference", "loss_auc", "retraining_distance")


def metric_path(name: str) -> str:
    """
    The path of the script of a metric, for `evaluate.load`.

    Args:
        name (`str`): One of `MODULES`.

    Raises:
        ValueError: `name` is not one of `MODULES`.
    """
    if name not in MODULES:
        raise ValueError(f"`name` must be one of {list(MODULES)}, got {name!r}.")
    return str(Path(__file__).resolve().parent / "modules" / f"{name}.py")


def load(name: str, **kwargs: Any) -> Any:
    """
    Loads a metric as `evaluate.load` does.

    Args:
        name (`str`): One of `MODULES`.
        kwargs (*optional*): Arguments of `evaluate.load`. `keep_in_memory` is `True` by default if `num_process` is 1,
            so that independent processes do not share a cache file.

    Returns:
        `evaluate.Metric`: Its `compute` takes the arguments of the function of the same name.

    Raises:
        ValueError: `name` is not one of `MODULES`.
    """
    path = metric_path(name)
    import evaluate

    kwargs.setdefault("keep_in_memory", kwargs.get("num_process", 1) == 1)
    return evaluate.load(path, **kwargs)


__all__ = ["MODULES", "load", "metric_path"]

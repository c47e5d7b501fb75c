"""The results file: what was measured on each model of a run."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


MODELS = ("pretrained", "unlearned", "retrained")
METRICS = ("RA", "UA", "TA", "MIA")


def write_results(results: Mapping[str, Any], path: str | os.PathLike) -> None:
    """
    Writes results as JSON, whole or not at all.

    Args:
        results (`dict`): Model name -> dictionary with `RA`, `UA`, `TA`, `MIA`; whatever else was measured beside it.
        path (`str` or `os.PathLike`): The file, replaced if it exists.
    """
    target = Path(path)
    temporary = target.with_name(target.name + ".tmp")
    temporary.write_text(json.dumps(results, indent=2) + "\n")
    os.replace(temporary, target)


def read_results(path: str | os.PathLike) -> dict[str, Any]:
    """
    Reads a results file.

    Raises:
        ValueError: It is not JSON, or a model in it lacks a metric.
    """
    try:
        results = json.loads(Path(path).read_text())
    except json.JSONDecodeError as error:
        raise ValueError(f"`{os.fspath(path)}` is no results file ({error}).") from error
    for model in MODELS:
        missing = [metric for metric in METRICS if metric not in results.get(model, METRICS)]
        if missing:
            raise ValueError(f"`{os.fspath(path)}` lacks {', '.join(missing)} of the {model} model.")
    return results


__all__ = ["METRICS", "MODELS", "read_results", "write_results"]

"""`unlearning.json`, the record of a finished run, saved beside the model."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ..files import read_json_object, write_json
from ..hub.allowlist import RECORD_NAME
from ..metrics.catalogue import MODELS


# Version 1 (hf-invwnn 0.1) named the models before, after and oracle.
RECORD_VERSION = 2
# All keys of a record; a push uploads no other keys.
RECORD_KEYS = (
    "format_version",
    "method",
    "arguments",
    "forget",
    "counts",
    "predictor",
    "stopping",
    "metrics",
    "cost",
    "history",
    "model",
    "versions",
    "files",
)
FORGET_KEYS = ("count", "sha256", "scenario", "seed")
STOPPING_KEYS = ("rules", "reason", "retrained_used")
MODEL_KEYS = ("base_model", "datasets", "license")
PACKAGES = ("hf-invwnn", "torch", "transformers", "accelerate", "datasets", "diffusers", "scikit-learn", "numpy")
# Prefixes of arguments that name a folder, an account or a project.
_NOT_RECORDED = (
    *("hub", "trackio", "output_dir", "logging_dir", "trajectory_folder"),
    *("run_name", "project", "resume_from", "push_to_hub"),
)


def make_record(
    *,
    method: str,
    arguments: Mapping[str, Any],
    forget: Mapping[str, Any],
    counts: Mapping[str, int],
    stopping: Mapping[str, Any],
    metrics: Mapping[str, Mapping[str, float] | None],
    cost: Mapping[str, float],
    files: Mapping[str, str],
    history: Iterable[Mapping[str, float]] = (),
    predictor: Mapping[str, Any] | None = None,
    model: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """
    Makes the record of a run: counts, hashes and numbers, without examples, indices and paths.

    Args:
        method (`str`): Title of the method, such as `"InvWNN"`.
        arguments (`dict`): All arguments of the run; those that name folders or accounts are left out.
        forget (`dict`): `count`, and if known `sha256`, `scenario` and `seed`, of the forget set.
        counts (`dict[str, int]`): Number of examples in each evaluation set.
        stopping (`dict`): `rules`, `reason` and `retrained_used` (`True`, `False`, or `None` if unknown).
        metrics (`dict`): For `"original"`, `"unlearned"` and `"retrained"` the metrics, or `None`.
        cost (`dict`): `forget_steps`, `rounds` and `seconds`.
        files (`dict[str, str]`): SHA-256 of every model file.
        history (`list[dict[str, float]]`, *optional*): The measured points of the run.
        predictor (`dict`, *optional*): `name`, `config` and `sha256` of the predictor.
        model (`dict`, *optional*): `base_model`, `datasets` and `license`, if known.

    Raises:
        ValueError: `metrics` or `forget` has a key that a record does not have.
    """
    if unknown := sorted(set(metrics) - set(MODELS)):
        raise ValueError(f"`metrics` may have the keys {', '.join(MODELS)}, got {', '.join(unknown)} as well.")
    if unknown := sorted(set(forget) - set(FORGET_KEYS)):
        raise ValueError(f"`forget` may hold {', '.join(FORGET_KEYS)}, got {', '.join(unknown)} as well.")
    return {
        "format_version": RECORD_VERSION,
        "method": method,
        "arguments": recorded_arguments(arguments),
        "forget": {key: forget.get(key) for key in FORGET_KEYS},
        "counts": dict(counts),
        "predictor": dict(predictor) if predictor else None,
        "stopping": {key: stopping.get(key) for key in STOPPING_KEYS},
        "metrics": {name: dict(values) if (values := metrics.get(name)) else None for name in MODELS},
        "cost": dict(cost),
        "history": [dict(point) for point in history],
        "model": {key: (model or {}).get(key) for key in MODEL_KEYS},
        "versions": package_versions(),
        "files": dict(sorted(files.items())),
    }


def recorded_arguments(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments without those that name a folder or an account."""
    return {
        name: _plain(value)
        for name, value in arguments.items()
        if not any(name.startswith(prefix) for prefix in _NOT_RECORDED)
    }


def _plain(value: Any) -> Any:
    """JSON types as they are, and the type name of anything else."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, str) and os.path.isabs(value):
        return os.path.basename(value)
    return value if value is None or isinstance(value, (bool, int, float, str)) else type(value).__name__


def package_versions() -> dict[str, str]:
    """Versions of Python and of the packages that results depend on."""
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


def write_record(record: Mapping[str, Any], folder: str | os.PathLike) -> Path:
    """Writes `unlearning.json` atomically."""
    path = Path(folder) / RECORD_NAME
    write_json(dict(record), path)
    return path


def read_record(folder: str | os.PathLike) -> dict[str, Any]:
    """
    Reads the record of a finished run.

    Raises:
        FileNotFoundError: The folder has no record.
        ValueError: The record is not a JSON object, has another version, or lacks a key.
    """
    path = Path(folder) / RECORD_NAME
    if not path.is_file():
        raise FileNotFoundError(
            f"`{os.fspath(folder)}` is not a finished run: it has no {RECORD_NAME}, which `save_model` writes after "
            "`train`."
        )
    record = read_json_object(path)
    if record.get("format_version") != RECORD_VERSION:
        versions = record.get("versions")
        writer = versions.get("hf-invwnn", "unknown") if isinstance(versions, dict) else "unknown"
        raise ValueError(
            f"`{path}` has format_version {record.get('format_version')!r}, this version of hf-invwnn reads "
            f"{RECORD_VERSION}; use the version that wrote it ({writer})."
        )
    if missing := [key for key in RECORD_KEYS if key not in record]:
        raise ValueError(f"`{path}` lacks {', '.join(missing)}; it was truncated or edited.")
    return record


def publishable(record: Mapping[str, Any]) -> dict[str, Any]:
    """
    The public part of a record: the keys of [`make_record`], without the seed of the forget set, with which anyone who
    has the data could draw the same examples.
    """
    return {
        **{key: record[key] for key in RECORD_KEYS},
        "arguments": recorded_arguments(record["arguments"]),
        "forget": {**{key: _scalar(record["forget"].get(key)) for key in FORGET_KEYS}, "seed": None},
        "counts": _numbers(record["counts"]) or {},
        "stopping": {key: record["stopping"].get(key) for key in STOPPING_KEYS},
        "metrics": {name: _numbers(record["metrics"].get(name)) for name in MODELS},
        "cost": _numbers(record["cost"]) or {},
        "history": [_numbers(point) for point in record["history"]],
        "model": {key: record["model"].get(key) for key in MODEL_KEYS},
    }


def _numbers(values: Mapping[str, Any] | None) -> dict[str, float] | None:
    """The values that are numbers; a list could hold indices."""
    return {name: value for name, value in values.items() if isinstance(value, (int, float))} if values else None


def _scalar(value: Any) -> Any:
    return value if isinstance(value, (int, str)) else None


__all__ = [
    "RECORD_NAME",
    "RECORD_VERSION",
    "make_record",
    "package_versions",
    "publishable",
    "read_record",
    "recorded_arguments",
    "write_record",
]

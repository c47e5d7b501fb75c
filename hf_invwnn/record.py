"""`unlearning.json`: what a finished run says of itself, beside the model it made."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from .report.results import write_results


RECORD_NAME = "unlearning.json"
RECORD_VERSION = 1
# Everything that a record may hold; a push sends nothing else of one.
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
STOPPING_KEYS = ("rules", "reason", "oracle_used")
MODEL_KEYS = ("base_model", "datasets", "license")
MODELS = ("before", "after", "oracle")
PACKAGES = ("hf-invwnn", "torch", "transformers", "accelerate", "datasets", "diffusers", "scikit-learn", "numpy")
# Arguments that name a place, an account or a person's project, and say nothing of what was done.
_NOT_RECORDED = (
    *("hub", "trackio", "output_dir", "logging_dir", "trajectory_folder"),
    *("run_name", "project", "resume_from", "push_to_hub"),
)
_BLOCK = 2**20


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
    The record of a run: counts, hashes and numbers; no example, no index and no path.

    Args:
        method (`str`): What was run, such as `"InvWNN"`.
        arguments (`dict`): All its arguments; those that name places or accounts are left out.
        forget (`dict`): `count`, and `sha256`, `scenario` and `seed` where they are known, of the forget set.
        counts (`dict[str, int]`): Examples in each set that a metric was measured on.
        stopping (`dict`): `rules`, `reason` and `oracle_used` (`True`, `False`, or `None` where nobody said).
        metrics (`dict`): For `"before"`, `"after"` and `"oracle"` what was measured, or `None`.
        cost (`dict`): `forget_steps`, `rewinds` and `seconds`.
        files (`dict[str, str]`): SHA-256 of every model file, as [`hash_files`] gives it.
        history (`list[dict[str, float]]`, *optional*): The measured points of the run.
        predictor (`dict`, *optional*): `name`, `config` and `sha256` of the predictor.
        model (`dict`, *optional*): `base_model`, `datasets` and `license`, where they are known.

    Raises:
        ValueError: `metrics` or `forget` holds something that a record does not.
    """
    if unknown := sorted(set(metrics) - set(MODELS)):
        raise ValueError(f"`metrics` must be of {', '.join(MODELS)}, got {', '.join(unknown)} as well.")
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
        "metrics": {name: dict(measured) if (measured := metrics.get(name)) else None for name in MODELS},
        "cost": dict(cost),
        "history": [dict(point) for point in history],
        "model": {key: (model or {}).get(key) for key in MODEL_KEYS},
        "versions": package_versions(),
        "files": dict(sorted(files.items())),
    }


def recorded_arguments(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments without those that name a place or an account."""
    return {
        name: _plain(value)
        for name, value in arguments.items()
        if not any(name.startswith(prefix) for prefix in _NOT_RECORDED)
    }


def _plain(value: Any) -> Any:
    """What JSON can hold; anything else by its name."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, str) and os.path.isabs(value):
        return os.path.basename(value)
    return value if value is None or isinstance(value, (bool, int, float, str)) else type(value).__name__


def package_versions() -> dict[str, str]:
    """Versions of Python and of the packages that a result depends on."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def hash_file(path: str | os.PathLike) -> str:
    """SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def hash_files(folder: str | os.PathLike, names: Iterable[str]) -> dict[str, str]:
    """SHA-256 of the named files of a folder."""
    return {name: hash_file(Path(folder) / name) for name in names}


def write_record(record: Mapping[str, Any], folder: str | os.PathLike) -> Path:
    """Writes `unlearning.json`, whole or not at all."""
    path = Path(folder) / RECORD_NAME
    write_results(record, path)
    return path


def read_record(folder: str | os.PathLike) -> dict[str, Any]:
    """
    Reads the record of a finished run.

    Raises:
        FileNotFoundError: There is none.
        ValueError: It is no JSON object, is of another version, or lacks a part.
    """
    path = Path(folder) / RECORD_NAME
    if not path.is_file():
        raise FileNotFoundError(
            f"`{os.fspath(folder)}` is no finished run: it has no {RECORD_NAME}; `save_model` writes it after `train`."
        )
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"`{path}` cannot be read as JSON: {error}") from error
    if not isinstance(record, dict):
        raise ValueError(f"`{path}` must hold a JSON object, got `{type(record).__name__}`.")
    if record.get("format_version") != RECORD_VERSION:
        wrote = (record.get("versions") or {}).get("hf-invwnn", "unknown")
        raise ValueError(
            f"`{path}` has format_version {record.get('format_version')!r}, this version of hf-invwnn reads "
            f"{RECORD_VERSION}; use the version that wrote it ({wrote})."
        )
    if missing := [key for key in RECORD_KEYS if key not in record]:
        raise ValueError(f"`{path}` lacks {', '.join(missing)}; it was cut or edited.")
    return record


def publishable(record: Mapping[str, Any]) -> dict[str, Any]:
    """
    What a push sends of a record: the parts that [`make_record`] writes, nothing put beside them, and not the seed
    that drew the forget set. With it, whoever has the data can draw the same examples.
    """
    kept = {key: record[key] for key in RECORD_KEYS}
    measured = {name: _numbers(record["metrics"].get(name)) for name in MODELS}
    return {
        **kept,
        "arguments": recorded_arguments(record["arguments"]),
        "forget": {**{key: _scalar(record["forget"].get(key)) for key in FORGET_KEYS}, "seed": None},
        "counts": _numbers(record["counts"]) or {},
        "stopping": {key: record["stopping"].get(key) for key in STOPPING_KEYS},
        "metrics": measured,
        "cost": _numbers(record["cost"]) or {},
        "history": [_numbers(point) for point in record["history"]],
        "model": {key: record["model"].get(key) for key in MODEL_KEYS},
    }


def _numbers(values: Mapping[str, Any] | None) -> dict[str, float] | None:
    """What is measured or counted is a number; a list beside it may be of indices."""
    return {name: value for name, value in values.items() if isinstance(value, (int, float))} if values else None


def _scalar(value: Any) -> Any:
    return value if isinstance(value, (int, str)) else None


__all__ = [
    "MODELS",
    "RECORD_NAME",
    "RECORD_VERSION",
    "hash_file",
    "hash_files",
    "make_record",
    "package_versions",
    "publishable",
    "read_record",
    "recorded_arguments",
    "write_record",
]

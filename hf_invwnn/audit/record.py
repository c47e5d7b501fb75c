"""The record of a finished run: `unlearning.json` beside the model may be published, the whole of it is private."""

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
from .private import RECORD as PRIVATE_RECORD
from .private import make_private_folder, private_folder
from .public import (
    SetNames,
    number,
    public_arguments,
    public_changes,
    public_counts,
    public_files,
    public_forget,
    public_history,
    public_metrics,
    public_model,
    public_predictor,
    public_recovery,
    public_stopping,
    public_title,
)


# Version 1 (hf-invwnn 0.1) named the models before, after and oracle; version 2 held the plain SHA-256 of the forget
# indices, and seeds; version 3 knew no recovery.
RECORD_VERSION = 4
# What a run has achieved, see `hf_invwnn.trainer.state`.
OUTCOMES = ("unchanged", "target not reached", "reached", "no target")
# The keys of a record, and the type of each.
RECORD_KEYS: dict[str, type | tuple[type, ...]] = {
    "format_version": int,
    "outcome": str,
    "method": str,
    "arguments": dict,
    "changes": list,
    "forget": dict,
    "counts": dict,
    "predictor": (dict, type(None)),
    "recovery": (dict, type(None)),
    "stopping": dict,
    "metrics": dict,
    "cost": dict,
    "history": list,
    "model": dict,
    "versions": dict,
    "files": dict,
}
FORGET_KEYS = ("count", "commitment", "committed_to", "scenario")
RECOVERY_KEYS = ("surrogates", "forget_only", "steps", "recoveries")
STOPPING_KEYS = ("rules", "reason", "retrained_used")
MODEL_KEYS = ("base_model", "datasets", "license")
COST_KEYS = ("forget_steps", "rounds", "seconds")
PACKAGES = ("hf-invwnn", "torch", "transformers", "accelerate", "datasets", "diffusers", "scikit-learn", "numpy")
# The scenarios of the package; a test compares them with `hf_invwnn.scenarios.SCENARIOS`, which is not imported here
# because it imports `datasets`.
SCENARIO_NAMES = ("badnets", "class_removal", "given_indices", "label_noise", "overfitting", "random_subset")
# Prefixes of arguments that name a folder, an account or a project.
_NOT_RECORDED = (
    *("hub", "trackio", "output_dir", "logging_dir", "trajectory_folder"),
    *("run_name", "project", "resume_from", "push_to_hub"),
)


def make_record(
    *,
    outcome: str,
    method: str,
    arguments: Mapping[str, Any],
    forget: Mapping[str, Any],
    counts: Mapping[str, int],
    stopping: Mapping[str, Any],
    metrics: Mapping[str, Mapping[str, float] | None],
    cost: Mapping[str, float],
    files: Mapping[str, str],
    changes: Iterable[Mapping[str, Any]] = (),
    history: Iterable[Mapping[str, float]] = (),
    predictor: Mapping[str, Any] | None = None,
    recovery: Mapping[str, Any] | None = None,
    model: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """
    Makes the whole record of a run: counts, hashes and numbers, without examples and indices. What of it may be
    published is up to [`publishable`].

    Args:
        outcome (`str`): What the run has achieved, one of [`OUTCOMES`].
        method (`str`): Title of the method, such as `"InvWNN"`.
        arguments (`dict`): All arguments of the run; those that name folders or accounts are left out.
        forget (`dict`): `count`, and if known `commitment`, `committed_to` and `scenario`, of the forget set.
        counts (`dict[str, int]`): Number of examples in each evaluation set.
        stopping (`dict`): `rules`, `reason` and `retrained_used` (`True`, `False`, or `None` if unknown).
        metrics (`dict`): For `"original"`, `"unlearned"` and `"retrained"` the metrics, or `None`.
        cost (`dict`): `forget_steps`, `rounds` and `seconds`.
        files (`dict[str, str]`): SHA-256 of every model file.
        changes (`list[dict]`, *optional*): Settings that were changed during the run.
        history (`list[dict[str, float]]`, *optional*): The measured points of the run.
        predictor (`dict`, *optional*): `name`, `config` and `sha256` of the predictor.
        recovery (`dict`, *optional*): `surrogates`, `forget_only` (whether they are made from the forget set and the
            model alone), `steps` and `recoveries`; `None` without recovery.
        model (`dict`, *optional*): `base_model`, `datasets` and `license`, if known.

    Raises:
        ValueError: `outcome` is not one of [`OUTCOMES`], or `metrics` or `forget` has a key that a record does not
            have.
    """
    if outcome not in OUTCOMES:
        raise ValueError(f"`outcome` must be one of {', '.join(OUTCOMES)}, got {outcome!r}.")
    if unknown := sorted(set(metrics) - set(MODELS)):
        raise ValueError(f"`metrics` may have the keys {', '.join(MODELS)}, got {', '.join(unknown)} as well.")
    if unknown := sorted(set(forget) - set(FORGET_KEYS)):
        raise ValueError(f"`forget` may hold {', '.join(FORGET_KEYS)}, got {', '.join(unknown)} as well.")
    record = {
        "format_version": RECORD_VERSION,
        "outcome": outcome,
        "method": method,
        "arguments": {name: value for name, value in arguments.items() if not name.startswith(_NOT_RECORDED)},
        "changes": list(changes),
        "forget": {key: forget.get(key) for key in FORGET_KEYS},
        "counts": dict(counts),
        "predictor": dict(predictor) if predictor else None,
        "recovery": {key: recovery.get(key) for key in RECOVERY_KEYS} if recovery else None,
        "stopping": {key: stopping.get(key) for key in STOPPING_KEYS},
        "metrics": {name: dict(values) if (values := metrics.get(name)) else None for name in MODELS},
        "cost": dict(cost),
        "history": [dict(point) for point in history],
        "model": {key: (model or {}).get(key) for key in MODEL_KEYS},
        "versions": package_versions(),
        "files": dict(sorted(files.items())),
    }
    plain: dict[str, Any] = _plain(record)
    return plain


def _plain(value: Any) -> Any:
    """JSON types as they are, numbers of NumPy and torch as numbers, NaN as `None`, anything else as its type name."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, (bool, str)):
        return value
    plain = number(value)
    return None if plain is None and isinstance(value, float) else (type(value).__name__ if plain is None else plain)


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
    """
    Writes the public part of a record as `unlearning.json`, and the whole of it into the private folder, atomically.
    """
    make_private_folder(folder)
    write_json(dict(record), private_folder(folder) / PRIVATE_RECORD, mode=0o600)
    path = Path(folder) / RECORD_NAME
    write_json(publishable(record), path)
    return path


def read_record(folder: str | os.PathLike) -> dict[str, Any]:
    """
    Reads the public record of a finished run.

    Raises:
        FileNotFoundError: The folder has no record.
        ValueError: The record is not a JSON object, has another version, or an entry is missing or of another type.
    """
    path = Path(folder) / RECORD_NAME
    if not path.is_file():
        raise FileNotFoundError(
            f"`{os.fspath(folder)}` is not a finished run: it has no {RECORD_NAME}, which `save_model` writes after "
            "`train`."
        )
    return _read(path)


def read_whole_record(folder: str | os.PathLike) -> dict[str, Any]:
    """
    Reads the whole record of a run from its private folder; the public one if that folder is missing.

    Raises:
        FileNotFoundError, ValueError: As [`read_record`].
    """
    public, path = read_record(folder), private_folder(folder) / PRIVATE_RECORD
    return _read(path) if path.is_file() and not path.is_symlink() else public


def _read(path: Path) -> dict[str, Any]:
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
    if problem := _wrong_type(record):
        raise ValueError(f"`{path}` was edited: {problem}.")
    return record


def _wrong_type(record: Mapping[str, Any]) -> str | None:
    """What of a record has another type than this package writes."""
    for key, kind in RECORD_KEYS.items():
        if not isinstance(record[key], kind):
            return f"its {key} is a {type(record[key]).__name__}"
    if record["outcome"] not in OUTCOMES:
        return f"its outcome is {record['outcome']!r}"
    for key in ("history", "changes"):
        if not all(isinstance(entry, dict) for entry in record[key]):
            return f"an entry of {key} is not an object"
    for name in MODELS:
        if not isinstance(record["metrics"].get(name), (dict, type(None))):
            return f"its metrics of {name} are a {type(record['metrics'][name]).__name__}"
    numbers = [*record["counts"].items(), *record["cost"].items()]
    numbers += [(name, value) for values in record["metrics"].values() for name, value in (values or {}).items()]
    numbers += [(name, value) for point in record["history"] for name, value in point.items()]
    for name, value in numbers:
        if value is not None and number(value) is None:
            return f"{name} is {value!r} and not a number"
    if any(value is not None and value < 0 for value in record["counts"].values()):
        return "a count is negative"
    if not all(isinstance(digest, str) for digest in record["files"].values()):
        return "a hash in files is not a text"
    count = record["forget"].get("count")
    if count is not None and (number(count) is None or count < 0):
        return f"the size of the forget set is {count!r}"
    return None


def publishable(record: Mapping[str, Any]) -> dict[str, Any]:
    """
    The public part of a record, see [`hf_invwnn.audit.public`]: no seed, path, free text, name of an evaluation set of
    the user, or figure of a forget set of fewer than ten examples.
    """
    forget = public_forget(record["forget"], SCENARIO_NAMES)
    names = SetNames(_sets_in(record))
    return {
        "format_version": record["format_version"],
        "outcome": record["outcome"],
        "method": public_title(record["method"]),
        "arguments": public_arguments(record["arguments"]),
        "changes": public_changes(record["changes"]),
        "forget": forget,
        "counts": public_counts(record["counts"], names),
        "predictor": public_predictor(record["predictor"]),
        "recovery": public_recovery(record["recovery"]),
        "stopping": public_stopping(record["stopping"], names),
        "metrics": public_metrics(record["metrics"], forget["count"]),
        "cost": {key: value for key in COST_KEYS if (value := number(record["cost"].get(key))) is not None},
        "history": public_history(record["history"], names, forget["count"]),
        "model": public_model(record["model"]),
        "versions": {
            name: text
            for name, text in record["versions"].items()
            if name in ("python", *PACKAGES) and isinstance(text, str) and len(text) < 40
        },
        "files": public_files(record["files"]),
    }


def _sets_in(record: Mapping[str, Any]) -> list[str]:
    """Names of the evaluation sets that a record mentions, in the order of their mention."""
    names = [str(name) for name in record["counts"]]
    for point in record["history"]:
        for key in point:
            if str(key).startswith("eval_") and str(key).endswith(("_loss", "_accuracy")):
                names.append(str(key).removeprefix("eval_").rpartition("_")[0])
    return names


__all__ = [
    "OUTCOMES",
    "RECORD_NAME",
    "RECORD_VERSION",
    "make_record",
    "package_versions",
    "publishable",
    "read_record",
    "read_whole_record",
    "write_record",
]

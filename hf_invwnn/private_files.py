"""`_private/` in the folder of a run: what is needed to check it later, and must never be uploaded."""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .record import hash_files
from .report.results import write_results


if TYPE_CHECKING:
    from .scenarios import UnlearningSplits

PRIVATE = "_private"
SPLITS = "splits"
PER_EXAMPLE = "per_example.parquet"
HASHES = "hashes.json"
SALT = "salt"
NOTE = "KEEP_PRIVATE.txt"
_NOTE = """This folder holds the forget set, its indices, models that know it, and results of each example.
It is here so that the run can be checked. `hf-invwnn push` never uploads it, and nothing else should.
"""


def private_folder(run: str | os.PathLike) -> Path:
    """Where a run keeps what is private."""
    return Path(run) / PRIVATE


def keep_private(
    run: str | os.PathLike,
    splits: UnlearningSplits | None = None,
    models: Mapping[str, Any] | None = None,
    per_example: Mapping[str, Any] | None = None,
) -> None:
    """
    Keeps splits, models and results of each example in the private folder of a run, in place of earlier ones, and the
    SHA-256 of every file of them.

    Args:
        run (`str` or `os.PathLike`): The folder of the run.
        splits ([`UnlearningSplits`], *optional*): Who was to be forgotten.
        models (`dict[str, Sequence]`, *optional*): For `"before"` and `"oracle"`, what has a `save_pretrained`: the
            model and its image processor.
        per_example (`dict[str, list]`, *optional*): Columns with one entry for each forgotten example.
    """
    folder = private_folder(run)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / NOTE).write_text(_NOTE)
    if not (folder / SALT).exists():
        (folder / SALT).write_text(secrets.token_hex(32))
    if splits is not None:
        shutil.rmtree(folder / SPLITS, ignore_errors=True)
        splits.save_to_disk(folder / SPLITS)
    for name, parts in (models or {}).items():
        shutil.rmtree(folder / name, ignore_errors=True)
        for part in parts:
            part.save_pretrained(folder / name)
    if per_example is not None:
        from datasets import Dataset

        Dataset.from_dict(dict(per_example)).to_parquet(folder / PER_EXAMPLE)
    names = sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file() and path.name != HASHES
    )
    write_results(hash_files(folder, names), folder / HASHES)


def example_results(rows: Sequence[int], models: Mapping[str, tuple[Any, Any]]) -> dict[str, list[int] | list[float]]:
    """
    What each model says of each forgotten example, as columns.

    Args:
        rows (`Sequence[int]`): The forget indices.
        models (`dict[str, tuple[np.ndarray, np.ndarray]]`): For `"before"`, `"after"` and `"oracle"`, logits of shape
            `(N, C)` and labels of shape `(N,)` on the forget set.

    Returns:
        `dict` with `row`, `label`, and for each model its `prediction`, `confidence` (in the label) and `loss`.
    """
    from .metrics import per_example

    columns: dict[str, Any] = {"row": list(rows)}
    for name, (logits, labels) in models.items():
        found = per_example(logits, labels)
        columns["label"] = [int(label) for label in labels]
        columns[f"{name}_prediction"] = found.predictions.tolist()
        columns[f"{name}_confidence"] = found.confidences.tolist()
        columns[f"{name}_loss"] = found.losses.tolist()
    return columns


def private_hashes(run: str | os.PathLike) -> dict[str, str]:
    """
    SHA-256 of every private file when it was kept; empty where nothing was.

    Raises:
        ValueError: The file of the hashes is damaged.
    """
    path = private_folder(run) / HASHES
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"`{path}` cannot be read as JSON: {error}") from error
    if not isinstance(found, dict):
        raise ValueError(f"`{path}` must hold a JSON object, got `{type(found).__name__}`.")
    return found


__all__ = [
    "PER_EXAMPLE",
    "PRIVATE",
    "SALT",
    "SPLITS",
    "example_results",
    "keep_private",
    "private_folder",
    "private_hashes",
]

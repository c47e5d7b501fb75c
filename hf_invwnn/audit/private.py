"""`_private/` in the folder of a run: artifacts for verification, which are never uploaded."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..files import read_json_object, sha256_of_files, write_json


if TYPE_CHECKING:
    from ..scenarios import UnlearningSplits

PRIVATE = "_private"
SPLITS = "splits"
PER_EXAMPLE = "per_example.parquet"
HASHES = "hashes.json"
SALT = "salt"
NOTE = "KEEP_PRIVATE.txt"
_NOTE = """This folder holds the forget set, its indices, models trained on it, and results of each of its examples.
It is needed to verify the run. `hf-invwnn push` does not upload it; do not publish it in any other way.
"""


def private_folder(run: str | os.PathLike) -> Path:
    """The private folder of a run."""
    return Path(run) / PRIVATE


def save_private_artifacts(
    run: str | os.PathLike,
    splits: UnlearningSplits | None = None,
    models: Mapping[str, Any] | None = None,
    per_example: Mapping[str, Any] | None = None,
) -> None:
    """
    Saves splits, models and per-example results into the private folder of a run, replacing earlier ones, with the
    SHA-256 of every file.

    Args:
        run (`str` or `os.PathLike`): The folder of the run.
        splits ([`UnlearningSplits`], *optional*): The splits of the run.
        models (`dict[str, Sequence]`, *optional*): For `"original"` and `"retrained"`, the model and its image
            processor; each has a `save_pretrained`.
        per_example (`dict[str, list]`, *optional*): Columns with one entry for each example of the forget set.
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
    write_json(sha256_of_files(folder, names), folder / HASHES)


def example_results(rows: Sequence[int], models: Mapping[str, tuple[Any, Any]]) -> dict[str, list[int] | list[float]]:
    """
    Prediction, confidence and loss of each model on each example of the forget set, as columns.

    Args:
        rows (`Sequence[int]`): The forget indices.
        models (`dict[str, tuple[np.ndarray, np.ndarray]]`): For `"original"`, `"unlearned"` and `"retrained"`, logits
            of shape `(N, C)` and labels of shape `(N,)` on the forget set.

    Returns:
        `dict` with `row`, `label`, and for each model its `prediction`, `confidence` in the label and `loss`.
    """
    from ..metrics import per_example

    columns: dict[str, Any] = {"row": list(rows)}
    for name, (logits, labels) in models.items():
        results = per_example(logits, labels)
        columns["label"] = [int(label) for label in labels]
        columns[f"{name}_prediction"] = results.predictions.tolist()
        columns[f"{name}_confidence"] = results.confidences.tolist()
        columns[f"{name}_loss"] = results.losses.tolist()
    return columns


def private_hashes(run: str | os.PathLike) -> dict[str, str]:
    """
    SHA-256 of every private file at the time it was saved; empty if none was saved.

    Raises:
        ValueError: `hashes.json` is damaged.
    """
    path = private_folder(run) / HASHES
    if not path.is_file():
        return {}
    return read_json_object(path)


__all__ = [
    "PER_EXAMPLE",
    "PRIVATE",
    "SALT",
    "SPLITS",
    "example_results",
    "private_folder",
    "private_hashes",
    "save_private_artifacts",
]

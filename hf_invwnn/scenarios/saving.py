"""How splits lie on a disk: three datasets and a `splits.json`, written whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from datasets import Dataset


RECORD_NAME = "splits.json"
# The forget and the retain set are not stored: they are rows of `train`, and two copies could disagree.
STORED = ("train", "validation", "test")


def write_splits(path: str | os.PathLike[str], datasets: Mapping[str, Dataset], record: Mapping[str, Any]) -> None:
    """
    Writes into a temporary folder beside `path`, then renames it.

    Args:
        path (`str` or `os.PathLike`): A local folder that does not exist yet, or is empty.
        datasets (`Mapping[str, Dataset]`): One dataset for each name in `STORED`.
        record (`Mapping[str, Any]`): What `splits.json` holds; JSON types only.

    Raises:
        FileExistsError: There is something at `path` already.
    """
    target = Path(path)
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise FileExistsError(f"`path` {str(target)!r} is not an empty folder; choose another or remove it first.")
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.parent / f".{target.name}.{uuid.uuid4().hex}.tmp"
    temporary.mkdir()
    try:
        for name in STORED:
            # A transform is code, which no dataset on a disk can hold.
            dataset = datasets[name].with_format(None)
            # By default `datasets` writes no file at all for an empty dataset, and then cannot load it.
            dataset.save_to_disk(temporary / name, num_shards=None if len(dataset) else 1)
        (temporary / RECORD_NAME).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        if target.exists():
            target.rmdir()  # A rename onto an empty folder fails on some systems.
        temporary.rename(target)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def read_splits(path: str | os.PathLike[str]) -> tuple[dict[str, Dataset], dict[str, Any]]:
    """
    Reads what [`write_splits`] wrote.

    Args:
        path (`str` or `os.PathLike`): The folder.

    Returns:
        The datasets by name, and the record of `splits.json`.

    Raises:
        FileNotFoundError: `splits.json` or one of the datasets is missing.
        ValueError: `splits.json` is no JSON object.
    """
    source = Path(path)
    missing = [name for name in (RECORD_NAME, *STORED) if not (source / name).exists()]
    if missing:
        raise FileNotFoundError(f"{str(source)!r} holds no complete splits: {missing} missing; save them again.")
    try:
        record = json.loads((source / RECORD_NAME).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{str(source / RECORD_NAME)!r} cannot be read as JSON: {error}") from error
    if not isinstance(record, dict):
        raise ValueError(f"{str(source / RECORD_NAME)!r} must hold a JSON object, got `{type(record).__name__}`.")
    return {name: Dataset.load_from_disk(source / name) for name in STORED}, record


__all__ = ["RECORD_NAME", "STORED", "read_splits", "write_splits"]

"""Splits on disk: a folder with three datasets and `splits.json`, written atomically."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from datasets import Dataset

from ..files import read_json_object, write_json


RECORD_NAME = "splits.json"
# The forget and the retain set are not stored, because they are rows of `train`.
STORED = ("train", "validation", "test")


def write_splits(path: str | os.PathLike[str], datasets: Mapping[str, Dataset], record: Mapping[str, Any]) -> None:
    """
    Writes into a temporary folder beside `path`, then renames it.

    Args:
        path (`str` or `os.PathLike`): A local folder that does not exist yet, or is empty.
        datasets (`Mapping[str, Dataset]`): One dataset for each name in `STORED`.
        record (`Mapping[str, Any]`): The content of `splits.json`; JSON types only.

    Raises:
        FileExistsError: `path` is a file or a folder that is not empty.
    """
    target = Path(path)
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise FileExistsError(f"`path` {str(target)!r} is not an empty folder; choose another or remove it first.")
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.parent / f".{target.name}.{uuid.uuid4().hex}.tmp"
    temporary.mkdir(mode=0o700)
    try:
        for name in STORED:
            # A transform is code and cannot be saved.
            dataset = datasets[name].with_format(None)
            # By default `datasets` writes no file for an empty dataset and then cannot load it.
            dataset.save_to_disk(temporary / name, num_shards=None if len(dataset) else 1)
        write_json(dict(record), temporary / RECORD_NAME)
        for file in temporary.rglob("*"):
            file.chmod(0o700 if file.is_dir() else 0o600)
        if target.exists():
            target.rmdir()  # some systems cannot rename onto an empty folder
        temporary.rename(target)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def read_splits(path: str | os.PathLike[str]) -> tuple[dict[str, Dataset], dict[str, Any]]:
    """
    Reads a folder written by [`write_splits`].

    Args:
        path (`str` or `os.PathLike`): The folder.

    Returns:
        The datasets by name, and the record of `splits.json`.

    Raises:
        FileNotFoundError: `splits.json` or one of the datasets is missing.
        ValueError: `splits.json` does not hold a JSON object.
    """
    source = Path(path)
    missing = [name for name in (RECORD_NAME, *STORED) if not (source / name).exists()]
    if missing:
        raise FileNotFoundError(f"{str(source)!r} does not hold complete splits: {missing} missing; save them again.")
    record = read_json_object(source / RECORD_NAME)
    return {name: Dataset.load_from_disk(source / name) for name in STORED}, record


__all__ = ["RECORD_NAME", "STORED", "read_splits", "write_splits"]

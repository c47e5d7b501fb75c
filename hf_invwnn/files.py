"""Small files on disk: atomic writes, JSON, YAML, SHA-256."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


_BLOCK = 2**20


@contextmanager
def atomic_file(path: str | os.PathLike) -> Iterator[Path]:
    """
    Yields a temporary name beside a file, and renames what was written there, so that readers see the old or the new
    file and never a part. After an error the temporary file is removed and the old one is kept.

    Args:
        path (`str` or `os.PathLike`): The file; replaced if it exists.
    """
    target = Path(path)
    temporary = target.with_name(target.name + ".tmp")
    try:
        yield temporary
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def atomic_write(path: str | os.PathLike, content: str | bytes) -> None:
    """
    Writes a file as [`atomic_file`] does.

    Args:
        path (`str` or `os.PathLike`): The file; replaced if it exists.
        content (`str` or `bytes`): Its content; text is encoded as UTF-8.
    """
    with atomic_file(path) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


def write_json(value: Any, path: str | os.PathLike) -> None:
    """
    Writes a value as indented JSON, atomically.

    Args:
        value: JSON types only.
        path (`str` or `os.PathLike`): The file; replaced if it exists.
    """
    atomic_write(path, json.dumps(value, indent=2) + "\n")


def read_json_object(path: str | os.PathLike) -> dict[str, Any]:
    """
    Reads a JSON file that holds an object.

    Args:
        path (`str` or `os.PathLike`): The file.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: The file is not JSON, or holds something else than an object.
    """
    try:
        value = json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"`{os.fspath(path)}` cannot be read as JSON: {error}") from error
    if not isinstance(value, dict):
        raise ValueError(f"`{os.fspath(path)}` must hold a JSON object, got `{type(value).__name__}`.")
    return value


def read_yaml_mapping(path: str | os.PathLike, argument: str = "config") -> dict[str, Any]:
    """
    Reads a YAML file of `name: value` lines.

    Args:
        path (`str` or `os.PathLike`): The file.
        argument (`str`, defaults to `"config"`): The argument that named it, for errors.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: The file is not YAML, or does not hold a mapping.
    """
    import yaml

    source = Path(path)
    if not source.is_file():
        raise FileNotFoundError(f"`{argument}`: there is no file {str(source)!r}.")
    try:
        value = yaml.safe_load(source.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"`{argument}`: {source} is not YAML: {error}") from error
    if value is not None and not isinstance(value, dict):
        raise ValueError(f"`{argument}`: {source} must hold `name: value` lines.")
    return value or {}


def sha256(path: str | os.PathLike) -> str:
    """SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def sha256_of_files(folder: str | os.PathLike, names: Iterable[str]) -> dict[str, str]:
    """SHA-256 of the named files of a folder."""
    return {name: sha256(Path(folder) / name) for name in names}


__all__ = [
    "atomic_file",
    "atomic_write",
    "read_json_object",
    "read_yaml_mapping",
    "sha256",
    "sha256_of_files",
    "write_json",
]

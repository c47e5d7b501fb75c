"""Small files on disk: atomic writes, JSON, YAML, SHA-256."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


_BLOCK = 2**20
# A settings file has a few thousand characters; aliases of aliases can make a short one endless.
_LARGEST_YAML = 1_000_000
_MOST_ALIASES = 20
_ALIAS = re.compile(r"(?<![\w\"'])\*\w+")


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


def atomic_write(path: str | os.PathLike, content: str | bytes, mode: int | None = None) -> None:
    """
    Writes a file as [`atomic_file`] does.

    Args:
        path (`str` or `os.PathLike`): The file; replaced if it exists.
        content (`str` or `bytes`): Its content; text is encoded as UTF-8.
        mode (`int`, *optional*): Permissions, such as `0o600`, which the file has before anything is in it.
    """
    with atomic_file(path) as temporary:
        if mode is not None:
            temporary.unlink(missing_ok=True)
            os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode))
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


def write_json(value: Any, path: str | os.PathLike, mode: int | None = None) -> None:
    """
    Writes a value as indented JSON, atomically.

    Args:
        value: JSON types, and numbers of NumPy and torch.
        path (`str` or `os.PathLike`): The file; replaced if it exists.
        mode (`int`, *optional*): Permissions of the file, such as `0o600`.

    Raises:
        ValueError: A number is infinite or NaN, which JSON does not have.
        TypeError: A value is of another type.
    """
    try:
        text = json.dumps(value, indent=2, allow_nan=False, default=_plain_number)
    except ValueError as error:
        raise ValueError(f"`{os.fspath(path)}` cannot be written: {_not_finite(value) or error}.") from error
    atomic_write(path, text + "\n", mode)


def _plain_number(value: Any) -> Any:
    """A number of NumPy or torch as one of Python."""
    if hasattr(value, "item") and getattr(value, "ndim", 0) == 0:
        return value.item()
    raise TypeError(f"a value of type {type(value).__name__} cannot be written as JSON")


def _not_finite(value: Any, where: str = "") -> str | None:
    """Where a value holds an infinity or a NaN."""
    if isinstance(value, dict):
        items: Iterable[tuple[Any, Any]] = value.items()
    elif isinstance(value, (list, tuple)):
        items = enumerate(value)
    else:
        plain = value.item() if hasattr(value, "item") and getattr(value, "ndim", 0) == 0 else value
        return f"{where or 'a value'} is {plain}" if isinstance(plain, float) and not math.isfinite(plain) else None
    found = (_not_finite(item, f"{where}.{key}" if where else str(key)) for key, item in items)
    return next((text for text in found if text), None)


def read_json_object(path: str | os.PathLike, foreign: bool = False) -> dict[str, Any]:
    """
    Reads a JSON file that holds an object.

    Args:
        path (`str` or `os.PathLike`): The file.
        foreign (`bool`, defaults to `False`): The file is that of another program: accept `NaN`, `Infinity` and
            repeated keys, of which the last one counts.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: The file is not JSON, or holds something else than an object.
    """
    try:
        value = json.loads(
            Path(path).read_text(encoding="utf-8"),
            parse_constant=float if foreign else _refuse_constant,
            object_pairs_hook=dict if foreign else _unique,
        )
    except RecursionError as error:
        raise ValueError(f"`{os.fspath(path)}` cannot be read as JSON: it is nested too deep") from error
    except ValueError as error:
        raise ValueError(f"`{os.fspath(path)}` cannot be read as JSON: {error}") from error
    if not isinstance(value, dict):
        raise ValueError(f"`{os.fspath(path)}` must hold a JSON object, got `{type(value).__name__}`.")
    return value


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a number of JSON")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose keys occur once; of two, readers could take different ones."""
    value = dict(pairs)
    if len(value) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {next(name for name in names if names.count(name) > 1)!r} occurs twice")
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
        text = source.read_text(encoding="utf-8")
        if len(text) > _LARGEST_YAML or _ALIAS.findall(text)[_MOST_ALIASES:]:
            raise ValueError(
                f"`{argument}`: {source} has more than {_LARGEST_YAML:,} characters or {_MOST_ALIASES} aliases."
            )
        value = yaml.safe_load(text)
    except RecursionError as error:
        raise ValueError(f"`{argument}`: {source} is nested too deep.") from error
    except OSError as error:
        raise ValueError(f"`{argument}`: {source} cannot be read ({error.strerror}).") from error
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

"""`_private/` in the folder of a run: artifacts for verification, never uploaded, and for their owner's eyes only."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..files import atomic_write, read_json_object, sha256_of_files, write_json


if TYPE_CHECKING:
    from ..scenarios import UnlearningSplits

PRIVATE = "_private"
SPLITS = "splits"
PER_EXAMPLE = "per_example.parquet"
HASHES = "hashes.json"
SALT = "salt"
RECORD = "record.json"
NOTE = "KEEP_PRIVATE.txt"
_NOTE = """This folder holds the forget set, its indices, models trained on it, and results of each of its examples.
It is needed to verify the run. `hf-invwnn push` does not upload it; do not publish it in any other way.
"""


def private_folder(run: str | os.PathLike) -> Path:
    """The private folder of a run."""
    return Path(run) / PRIVATE


def make_private_folder(run: str | os.PathLike) -> Path:
    """
    The private folder of a run, which only its owner can enter; created with a random salt if it does not exist.

    Raises:
        ValueError: The private folder is a symbolic link, or a file.
    """
    folder = private_folder(run)
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise ValueError(f"`{folder}` must be a folder of the run, not a link or a file; remove it.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)
    folder.chmod(0o700)
    atomic_write(folder / NOTE, _NOTE, mode=0o600)
    if not (folder / SALT).exists():
        atomic_write(folder / SALT, secrets.token_hex(32), mode=0o600)
    return folder


def restrict(folder: str | os.PathLike) -> None:
    """Lets only the owner enter a folder and read what is in it. Symbolic links are not followed."""
    root = Path(folder)
    root.chmod(0o700)
    for path in root.rglob("*"):
        if not path.is_symlink():
            path.chmod(0o700 if path.is_dir() else 0o600)


def commitment(run: str | os.PathLike, forget: Iterable[int] | str) -> str:
    """
    HMAC-SHA-256 of a forget set under the salt of a run. It tells nothing of the forget set without the salt, with
    which its holder can prove which examples it was.

    Args:
        run (`str` or `os.PathLike`): The folder of the run; its private folder has the salt.
        forget (`Iterable[int]` or `str`): The forget indices, hashed sorted and as little-endian 64-bit integers; or,
            for a forget set without indices, the hash of its content.

    Raises:
        ValueError: The salt is damaged.
    """
    path = private_folder(run) / SALT
    try:
        salt = bytes.fromhex(path.read_text(encoding="ascii").strip())
    except (UnicodeDecodeError, ValueError) as error:
        raise ValueError(f"`{path}` is damaged: it must hold hexadecimal digits.") from error
    return open_commitment(salt, forget)


def open_commitment(salt: bytes, forget: Iterable[int] | str) -> str:
    """The commitment to a forget set, see [`commitment`], under a given salt."""
    if isinstance(forget, str):
        message = b"content:" + forget.encode()
    else:
        message = b"indices:" + b"".join(int(index).to_bytes(8, "little") for index in sorted(forget))
    return hmac.new(salt, message, hashlib.sha256).hexdigest()


def save_private_artifacts(
    run: str | os.PathLike,
    splits: UnlearningSplits | None = None,
    models: Mapping[str, Any] | None = None,
    per_example: Mapping[str, Any] | None = None,
) -> None:
    """
    Saves splits, models and per-example results into the private folder of a run, replacing earlier ones.

    Args:
        run (`str` or `os.PathLike`): The folder of the run.
        splits ([`UnlearningSplits`], *optional*): The splits of the run.
        models (`dict[str, Sequence]`, *optional*): For `"original"` and `"retrained"`, the model and its image
            processor; each has a `save_pretrained`.
        per_example (`dict[str, list]`, *optional*): Columns with one entry for each example of the forget set.

    Raises:
        ValueError: The private folder is a symbolic link, or a file.
    """
    folder = make_private_folder(run)
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
    save_hashes(run)


def save_hashes(run: str | os.PathLike) -> None:
    """Writes the SHA-256 of every private file, and restricts them to their owner."""
    folder = private_folder(run)
    names = sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and not path.is_symlink() and path.name != HASHES
    )
    write_json(sha256_of_files(folder, names), folder / HASHES)
    restrict(folder)


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
    if not path.is_file() or path.is_symlink():
        return {}
    return read_json_object(path)


__all__ = [
    "PER_EXAMPLE",
    "PRIVATE",
    "RECORD",
    "SALT",
    "SPLITS",
    "commitment",
    "example_results",
    "make_private_folder",
    "open_commitment",
    "private_folder",
    "private_hashes",
    "restrict",
    "save_hashes",
    "save_private_artifacts",
]

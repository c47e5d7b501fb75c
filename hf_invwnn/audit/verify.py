"""Verification of a run: recomputes hashes and metrics from its files and compares them with its record."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..files import read_json_object, sha256
from ..hub.allowlist import WEIGHTS, model_files
from ..metrics.catalogue import METRICS, MODELS
from .private import PRIVATE, RECORD, SPLITS, commitment, private_folder, private_hashes
from .record import publishable, read_record, read_whole_record


if TYPE_CHECKING:
    from ..scenarios import UnlearningSplits

RECOMPUTED = tuple(metric.name for metric in METRICS.values() if metric.recomputed)


@dataclass(frozen=True)
class Finding:
    """
    One compared value.

    Args:
        what (`str`): A file, a metric, or the forget set.
        recorded (`str`), recomputed (`str`): The value in the record, and the recomputed one.
        matches (`bool`, *optional*): `None` if it could not be recomputed because the artifacts were not saved.
    """

    what: str
    recorded: str
    recomputed: str
    matches: bool | None


def verify_run(run: str | os.PathLike, tolerance: float = 0.01, image_column: str = "image") -> list[Finding]:
    """
    Recomputes the hashes and metrics of a run from its files, its saved models and its saved splits.

    Args:
        run (`str` or `os.PathLike`): Folder of a finished run.
        tolerance (`float`, defaults to 0.01): Points by which a metric may differ, because processors and versions
            round differently. The loss AUC, which is not in percent, may differ by a hundredth of it.
        image_column (`str`, defaults to `"image"`): Column of the images in the splits.

    Returns:
        `list[Finding]`: In the order of the record, matching ones included.

    Raises:
        FileNotFoundError, ValueError: The record is missing, damaged or has another version, or `tolerance` is
            negative or not finite.
    """
    if not 0 <= tolerance < math.inf:
        raise ValueError(f"`tolerance` must be a finite number of 0 or above (points), got {tolerance}.")
    root = Path(run)
    record = read_whole_record(root)
    findings = list(_files(root, record["files"]))
    findings += _public_record(root, record)
    findings += _hashes(private_folder(root), private_hashes(root), "private ")
    splits, about_splits = _splits(root, record["forget"])
    findings += about_splits
    private = private_folder(root)
    folders = {"original": private / "original", "unlearned": root, "retrained": private / "retrained"}
    for name in MODELS:
        if record["metrics"][name]:
            findings += _metrics(name, folders[name], record["metrics"][name], splits, tolerance, image_column)
    return findings


def passed(findings: Sequence[Finding]) -> bool:
    """Whether something was checked, and all that was checked matches."""
    checked = [finding.matches for finding in findings if finding.matches is not None]
    return bool(checked) and all(checked)


def _public_record(root: Path, whole: Mapping[str, Any]) -> Iterator[Finding]:
    """The record beside the model must be the public part of the private one."""
    public = read_record(root)
    if public is not whole and (private_folder(root) / RECORD).is_file():
        differing = [key for key, value in publishable(whole).items() if public[key] != value]
        yield Finding("public record", "as the private one", ", ".join(differing) or "the same", not differing)


def _files(root: Path, recorded: Mapping[str, str]) -> Iterator[Finding]:
    if not recorded:
        yield Finding("files", "none", "a record of a run lists its files", False)
    yield from _hashes(root, recorded, "")
    for name in model_files(root):
        if name.endswith(WEIGHTS) and name not in recorded:
            yield Finding(name, "no such file", "weights that are not in the record", False)


def _hashes(folder: Path, recorded: Mapping[str, str], kind: str) -> Iterator[Finding]:
    for name, digest in recorded.items():
        path = folder / name
        if not _is_inside(folder, name):
            yield Finding(f"{kind}{name}", str(digest), "not a file of the run", False)
            continue
        recomputed = sha256(path) if path.is_file() else "missing"
        yield Finding(f"{kind}{name}", str(digest), recomputed, recomputed == digest)


def _is_inside(folder: Path, name: str) -> bool:
    """Whether a name is that of a file below a folder, not reached through a symbolic link."""
    parts = Path(name).parts
    if Path(name).is_absolute() or ".." in parts or not parts:
        return False
    return not any((folder / Path(*parts[: depth + 1])).is_symlink() for depth in range(len(parts)))


def _stays_inside(folder: Path) -> bool:
    """Whether nothing below a folder is a symbolic link, and no index in it names a file elsewhere."""
    if folder.is_symlink():
        return False
    for path in folder.rglob("*"):
        if PRIVATE in path.relative_to(folder).parts[:1] or path.name.startswith("checkpoint-"):
            continue
        if path.is_symlink():
            return False
        if path.name.endswith((".index.json", "state.json")) and path.is_file():
            named = read_json_object(path, foreign=True)
            names = [*named.get("weight_map", {}).values()] if isinstance(named.get("weight_map"), dict) else []
            files = named.get("_data_files")
            names += [entry.get("filename") for entry in files or [] if isinstance(entry, dict)]
            if not all(isinstance(name, str) and _is_inside(path.parent, name) for name in names):
                return False
    return True


def _splits(root: Path, forget: Mapping[str, Any]) -> tuple[UnlearningSplits | None, list[Finding]]:
    from ..scenarios import UnlearningSplits

    what, recorded = "forget set", f"{forget.get('count')} examples, {forget.get('commitment')}"
    folder = private_folder(root) / SPLITS
    if not folder.is_dir():
        return None, [Finding(what, recorded, "the splits were not saved", None)]
    if not _stays_inside(folder):
        return None, [Finding(what, recorded, "the splits lie outside the run", False)]
    try:
        splits = UnlearningSplits.load_from_disk(folder)
    except (ValueError, OSError) as error:
        return None, [Finding(what, recorded, f"the splits cannot be loaded: {error}", False)]
    try:
        opened = commitment(root, splits.forget_indices)
    except (ValueError, OSError) as error:
        return splits, [Finding(what, recorded, f"the commitment cannot be opened: {error}", False)]
    same = (len(splits.forget_indices), opened) == (forget.get("count"), forget.get("commitment"))
    return splits, [Finding(what, recorded, f"{len(splits.forget_indices)} examples, {opened}", same)]


def _metrics(
    name: str,
    folder: Path,
    recorded: Mapping[str, float],
    splits: UnlearningSplits | None,
    tolerance: float,
    image_column: str,
) -> Iterator[Finding]:
    metrics = [metric for metric in RECOMPUTED if metric in recorded]
    if splits is None or not folder.is_dir():
        missing = "a copy of the splits" if splits is None else "a copy of the model"
        yield from (
            Finding(f"{metric} {name}", str(recorded[metric]), f"{missing} is missing", None) for metric in metrics
        )
        return
    if not _stays_inside(folder):
        for metric in metrics:
            yield Finding(f"{metric} {name}", str(recorded[metric]), "the model lies outside the run", False)
        return
    try:
        recomputed = _recompute(folder, splits, image_column)
    except (ValueError, OSError, RuntimeError) as error:
        for metric in metrics:
            yield Finding(f"{metric} {name}", str(recorded[metric]), f"the model cannot be evaluated: {error}", False)
        return
    for metric in metrics:
        allowed = tolerance * (1.0 if METRICS[metric].unit == "%" else 0.01)
        near = abs(recomputed[metric] - recorded[metric]) <= allowed
        yield Finding(f"{metric} {name}", f"{recorded[metric]:.4f}", f"{recomputed[metric]:.4f}", near)


def _recompute(folder: Path, splits: UnlearningSplits, image_column: str) -> dict[str, float]:
    from ..image_classification import evaluate_model, load_classifier, split_datasets

    model, processor = load_classifier(folder)
    return evaluate_model(model, split_datasets(splits, processor, image_column))


__all__ = ["Finding", "passed", "verify_run"]

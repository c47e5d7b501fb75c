"""Verification of a run: recomputes hashes and metrics from its files and compares them with its record."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..files import sha256
from ..hub.allowlist import WEIGHTS, model_files
from ..metrics.catalogue import METRICS, MODELS
from .private import SPLITS, private_folder, private_hashes
from .record import read_record


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
            negative.
    """
    if tolerance < 0:
        raise ValueError(f"`tolerance` must be 0 or above (points), got {tolerance}.")
    root = Path(run)
    record = read_record(root)
    findings = list(_files(root, record["files"]))
    findings += _hashes(private_folder(root), private_hashes(root), "private ")
    splits, about_splits = _splits(root, record["forget"])
    findings += about_splits
    private = private_folder(root)
    folders = {"original": private / "original", "unlearned": root, "retrained": private / "retrained"}
    for name in MODELS:
        if record["metrics"][name]:
            findings += _metrics(name, folders[name], record["metrics"][name], splits, tolerance, image_column)
    return findings


def _files(root: Path, recorded: Mapping[str, str]) -> Iterator[Finding]:
    yield from _hashes(root, recorded, "")
    for name in model_files(root):
        if name.endswith(WEIGHTS) and name not in recorded:
            yield Finding(name, "no such file", "weights that are not in the record", False)


def _hashes(folder: Path, recorded: Mapping[str, str], kind: str) -> Iterator[Finding]:
    for name, digest in recorded.items():
        path = folder / name
        recomputed = sha256(path) if path.is_file() else "missing"
        yield Finding(f"{kind}{name}", digest, recomputed, recomputed == digest)


def _splits(root: Path, forget: Mapping[str, Any]) -> tuple[UnlearningSplits | None, list[Finding]]:
    from ..scenarios import UnlearningSplits

    what, recorded = "forget set", f"{forget['count']} examples, {forget['sha256']}"
    folder = private_folder(root) / SPLITS
    if not folder.is_dir():
        return None, [Finding(what, recorded, "the splits were not saved", None)]
    try:
        splits = UnlearningSplits.load_from_disk(folder)
    except (ValueError, OSError) as error:
        return None, [Finding(what, recorded, f"the splits cannot be loaded: {error}", False)]
    same = (len(splits.forget_indices), splits.sha256) == (forget["count"], forget["sha256"])
    return splits, [Finding(what, recorded, f"{len(splits.forget_indices)} examples, {splits.sha256}", same)]


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


__all__ = ["Finding", "verify_run"]

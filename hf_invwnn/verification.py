"""Does a run's folder still hold what its record says? Hashes and metrics, computed again from what was saved."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .private_files import SPLITS, private_folder, private_hashes
from .record import MODELS, hash_file, read_record
from .sharing.allowed import WEIGHTS, model_files


if TYPE_CHECKING:
    from .scenarios import UnlearningSplits

# What is computed again, and how near it must come: the loss AUC is a share, the others are percent.
CHECKED = {"RA": 1.0, "UA": 1.0, "TA": 1.0, "MIA": 1.0, "loss_auc": 0.01}


@dataclass(frozen=True)
class Finding:
    """
    One thing that was looked at.

    Args:
        what (`str`): A file, a metric, or the forget set.
        recorded (`str`), found (`str`): What the record says, and what is there.
        matches (`bool`, *optional*): `None` where it could not be looked at, because it was not kept.
    """

    what: str
    recorded: str
    found: str
    matches: bool | None


def verify_run(run: str | os.PathLike, tolerance: float = 0.01, image_column: str = "image") -> list[Finding]:
    """
    Computes the hashes and the metrics of a run again, from its files, its saved models and its saved splits.

    Args:
        run (`str` or `os.PathLike`): Folder of a finished run.
        tolerance (`float`, defaults to 0.01): Points by which a metric may differ; other processors and versions
            round otherwise. The loss AUC may differ by a hundredth of it.
        image_column (`str`, defaults to `"image"`): Column of the images in the splits.

    Returns:
        `list[Finding]`: In the order of the record; those that do not match are of interest.

    Raises:
        FileNotFoundError, ValueError: There is no record, or it is damaged or of another version, or `tolerance` is
            negative.
    """
    if tolerance < 0:
        raise ValueError(f"`tolerance` must be 0 or above (points), got {tolerance}.")
    root = Path(run)
    record = read_record(root)
    findings = list(_files(root, record["files"]))
    findings += _hashes(private_folder(root), private_hashes(root), "private ")
    splits, found = _splits(root, record["forget"])
    findings += found
    folders = {"before": private_folder(root) / "before", "after": root, "oracle": private_folder(root) / "oracle"}
    for name in MODELS:
        if record["metrics"][name]:
            findings += _metrics(name, folders[name], record["metrics"][name], splits, tolerance, image_column)
    return findings


def _files(root: Path, recorded: Mapping[str, str]) -> Iterator[Finding]:
    yield from _hashes(root, recorded, "")
    for name in model_files(root):
        if name.endswith(WEIGHTS) and name not in recorded:
            yield Finding(name, "no such weights", "weights that the record does not know", False)


def _hashes(folder: Path, recorded: Mapping[str, str], kind: str) -> Iterator[Finding]:
    for name, digest in recorded.items():
        path = folder / name
        found = hash_file(path) if path.is_file() else "missing"
        yield Finding(f"{kind}{name}", digest, found, found == digest)


def _splits(root: Path, forget: Mapping[str, Any]) -> tuple[UnlearningSplits | None, list[Finding]]:
    from .scenarios import UnlearningSplits

    what, recorded = "forget set", f"{forget['count']} examples, {forget['sha256']}"
    folder = private_folder(root) / SPLITS
    if not folder.is_dir():
        return None, [Finding(what, recorded, "the splits were not kept", None)]
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
    checked = [metric for metric in CHECKED if metric in recorded]
    if splits is None or not folder.is_dir():
        missing = "the splits" if splits is None else "the model"
        yield from (
            Finding(f"{metric} {name}", str(recorded[metric]), f"{missing} cannot be had", None) for metric in checked
        )
        return
    try:
        measured = _judged(folder, splits, image_column)
    except (ValueError, OSError, RuntimeError) as error:
        for metric in checked:
            yield Finding(f"{metric} {name}", str(recorded[metric]), f"the model cannot be judged: {error}", False)
        return
    for metric in checked:
        near = abs(measured[metric] - recorded[metric]) <= tolerance * CHECKED[metric]
        yield Finding(f"{metric} {name}", f"{recorded[metric]:.4f}", f"{measured[metric]:.4f}", near)


def _judged(folder: Path, splits: UnlearningSplits, image_column: str) -> dict[str, float]:
    from safetensors import SafetensorError
    from transformers import AutoImageProcessor, AutoModelForImageClassification

    from .metrics import judge_model
    from .processed_images import process_images

    try:
        model = AutoModelForImageClassification.from_pretrained(folder, use_safetensors=True)
    except SafetensorError as error:
        raise ValueError(f"its weights are damaged ({error})") from error
    processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
    sets = {
        name: process_images(getattr(splits, name), processor, image_column, splits.label_column)
        for name in ("forget", "retain", "test")
    }
    return judge_model(model, sets)


__all__ = ["Finding", "verify_run"]

"""A finished run, or a pipeline without a record, as the contents of a Hub repository."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..files import read_json_object, sha256_of_files
from ..hub.allowlist import INDICES_NAME, PIPELINE_INDEX, RECORD_NAME, WEIGHTS
from ..hub.contents import Contents, saved_model
from .card import pipeline_card, unlearned_card
from .private import SPLITS, private_folder
from .record import RECORD_VERSION, publishable, read_record


TASKS = {
    "ForImageClassification": "image-classification",
    "ForSequenceClassification": "text-classification",
    "ForTokenClassification": "token-classification",
    "ForAudioClassification": "audio-classification",
    "ForCausalLM": "text-generation",
}


def run_contents(
    folder: str | os.PathLike,
    repo_id: str,
    *,
    publish_indices: bool = False,
    model: Mapping[str, Any] | None = None,
    allow_unfinished: bool = False,
) -> Contents:
    """
    Describes a finished run for [`~hf_invwnn.hub.push`]: the model, its card, and the public part of its record.

    Args:
        folder (`str` or `os.PathLike`): The folder of the run.
        repo_id (`str`): The repository; for the card.
        publish_indices (`bool`, defaults to `False`): Also upload the forget indices.
        model (`dict`, *optional*): `base_model`, `datasets` and `license`, in place of those in the record.

    Raises:
        FileNotFoundError: A file of the run is missing.
        ValueError: A file was changed since the run, or the record has another version.
    """
    root = Path(folder)
    record = read_record(root)
    files = saved_model(root)
    check_files(root, record["files"], files)
    record = publishable(record)
    record["model"] = {**record["model"], **{name: value for name, value in (model or {}).items() if value}}
    pipeline_class = _pipeline_class(root) if PIPELINE_INDEX in files else None
    card = unlearned_card(record, repo_id, pipeline_class, None if pipeline_class else _task(root))
    files[RECORD_NAME] = (json.dumps(record, indent=2) + "\n").encode()
    if publish_indices:
        files[INDICES_NAME] = _indices(root, record)
    return Contents(card, files)


def pipeline_contents(folder: str | os.PathLike, repo_id: str, *, model: Mapping[str, Any] | None = None) -> Contents:
    """
    Describes a saved pipeline without a record for [`~hf_invwnn.hub.push`].

    Args:
        folder (`str` or `os.PathLike`): The folder of the pipeline.
        repo_id (`str`): The repository; for the card.
        model (`dict`, *optional*): `base_model`, `datasets` and `license`, for the card.

    Raises:
        FileNotFoundError: The folder has no weights.
        ValueError: A file is empty.
    """
    root = Path(folder)
    files = saved_model(root)
    return Contents(pipeline_card(_pipeline_class(root), repo_id, model or {}), files)


def check_files(root: Path, recorded: Mapping[str, str], present: Iterable[str]) -> None:
    """
    Checks that the files of a run are those in its record.

    Raises:
        FileNotFoundError: A recorded file is missing.
        ValueError: A file was changed, or weights were added.
    """
    names = set(present)
    if missing := sorted(set(recorded) - names):
        raise FileNotFoundError(f"`{root}` lacks {', '.join(missing)}, which its {RECORD_NAME} lists.")
    if changed := [name for name, digest in sha256_of_files(root, recorded).items() if digest != recorded[name]]:
        raise ValueError(
            f"`{root}` was changed since the run: {', '.join(changed)} differ{'s' if len(changed) == 1 else ''} from "
            f"the SHA-256 in {RECORD_NAME}. Restore the original files, or run and save again."
        )
    if added := sorted(name for name in names if name.endswith(WEIGHTS) and name not in recorded):
        raise ValueError(f"`{root}` holds weights that are not in its {RECORD_NAME}: {', '.join(added)}.")


def _pipeline_class(root: Path) -> str:
    return str(read_json_object(root / PIPELINE_INDEX).get("_class_name", "pipeline"))


def _task(root: Path) -> str | None:
    """The task of the architecture in `config.json`; `None` for architectures of other tasks."""
    path = root / "config.json"
    architectures = (read_json_object(path).get("architectures") or []) if path.is_file() else []
    return next((task for name in architectures for suffix, task in TASKS.items() if name.endswith(suffix)), None)


def _indices(root: Path, record: Mapping[str, Any]) -> bytes:
    from ..scenarios.saving import RECORD_NAME as SPLITS_RECORD
    from ..scenarios.splits import hash_indices

    path = private_folder(root) / SPLITS / SPLITS_RECORD
    if not path.is_file():
        raise FileNotFoundError(f"`{root}` has no saved splits ({path.name} is missing), so no forget indices.")
    indices = read_json_object(path).get("forget_indices")
    if not isinstance(indices, list) or hash_indices(indices) != record["forget"]["sha256"]:
        raise ValueError(f"The indices in `{path}` are not those of the run: their SHA-256 differs.")
    content = {"format_version": RECORD_VERSION, "sha256": record["forget"]["sha256"], "forget_indices": indices}
    return (json.dumps(content) + "\n").encode()


__all__ = ["check_files", "pipeline_contents", "run_contents"]

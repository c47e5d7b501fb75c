"""A finished run, or a pipeline without a record, as the contents of a Hub repository."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..files import read_json_object, sha256_of_files
from ..hub.allowlist import INDICES_NAME, PIPELINE_INDEX, RECORD_NAME, WEIGHTS
from ..hub.contents import Contents, left_out, saved_model
from ..hub.paths import files_without_paths
from .card import pipeline_card, unlearned_card
from .private import SALT, SPLITS, commitment, private_folder
from .record import RECORD_VERSION, publishable, read_record


TASKS = {
    "ForImageClassification": "image-classification",
    "ForSequenceClassification": "text-classification",
    "ForTokenClassification": "token-classification",
    "ForAudioClassification": "audio-classification",
    "ForCausalLM": "text-generation",
    "LMHeadModel": "text-generation",
}
# `task_type` of PEFT.
ADAPTER_TASKS = {
    "CAUSAL_LM": "text-generation",
    "SEQ_2_SEQ_LM": "text2text-generation",
    "SEQ_CLS": "text-classification",
    "TOKEN_CLS": "token-classification",
    "QUESTION_ANS": "question-answering",
    "FEATURE_EXTRACTION": "feature-extraction",
}
# Outcomes of runs that are not published unless the caller says so.
UNFINISHED = ("unchanged", "target not reached")


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
        publish_indices (`bool`, defaults to `False`): Also upload the forget indices, and the salt with which anybody
            can check that the record commits to them.
        model (`dict`, *optional*): `base_model`, `datasets` and `license`, in place of those in the record.
        allow_unfinished (`bool`, defaults to `False`): Also describe a model that was not changed, or does not reach
            the target of its run.

    Raises:
        FileNotFoundError: A file of the run is missing.
        ValueError: The run did not reach its target, a file was changed since the run or would not load without files
            that are never uploaded, or the record has another version.
    """
    root = Path(folder)
    record = publishable(read_record(root))
    if record["outcome"] in UNFINISHED and not allow_unfinished:
        raise ValueError(
            f"`{root}`: the outcome of the run is {record['outcome']!r} ({record['stopping']['reason']}). Let it go "
            "on, or push it as it is with `allow_unfinished=True` (`--allow-unfinished`)."
        )
    files = saved_model(root, record["files"])
    check_files(root, record["files"], files)
    record["model"] |= {name: value for name, value in (model or {}).items() if value}
    filtered = files_without_paths(files, record["model"]["base_model"])
    files |= filtered
    record["files"] |= {name: hashlib.sha256(content).hexdigest() for name, content in filtered.items()}
    pipeline_class = _pipeline_class(root) if PIPELINE_INDEX in files else None
    task = None if pipeline_class else task_of(root, files)
    library = "diffusers" if pipeline_class else "peft" if _is_adapter(files) else "transformers"
    card = unlearned_card(record, repo_id, pipeline_class, task, library)
    files[RECORD_NAME] = (json.dumps(record, indent=2, allow_nan=False) + "\n").encode()
    if publish_indices:
        files[INDICES_NAME] = _indices(root, record)
    return Contents(card, files, left_out=left_out(root, files))


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
    files |= files_without_paths(files, (model or {}).get("base_model"))
    card = pipeline_card(_pipeline_class(root), repo_id, model or {})
    return Contents(card, files, left_out=left_out(root, files))


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


def task_of(root: Path, files: Iterable[str]) -> str | None:
    """The task of a saved model: that of its architecture, or of its adapter; `None` for other tasks."""
    adapter = next((name for name in files if name.endswith("adapter_config.json")), None)
    if adapter is not None:
        return ADAPTER_TASKS.get(str(read_json_object(root / adapter).get("task_type")))
    path = root / "config.json"
    architectures = (read_json_object(path, foreign=True).get("architectures") or []) if path.is_file() else []
    if not isinstance(architectures, list):
        return None
    return next((task for name in architectures for suffix, task in TASKS.items() if str(name).endswith(suffix)), None)


def _is_adapter(files: Iterable[str]) -> bool:
    names = list(files)
    return "config.json" not in names and any(name.endswith("adapter_config.json") for name in names)


def _indices(root: Path, record: Mapping[str, Any]) -> bytes:
    """The forget indices and the salt that opens the commitment of the record to them."""
    from ..scenarios.saving import RECORD_NAME as SPLITS_RECORD

    path, salt_path = private_folder(root) / SPLITS / SPLITS_RECORD, private_folder(root) / SALT
    if not path.is_file() or not salt_path.is_file():
        missing = salt_path if path.is_file() else path
        raise FileNotFoundError(f"`{root}` has no saved splits ({missing.name} is missing), so no forget indices.")
    indices: Any = read_json_object(path).get("forget_indices")
    whole = isinstance(indices, list) and all(type(index) is int and 0 <= index < 2**63 for index in indices)
    if not whole or commitment(root, indices) != record["forget"]["commitment"]:
        raise ValueError(f"The indices in `{path}` are not those of the run: its record commits to others.")
    content = {
        "format_version": RECORD_VERSION,
        "commitment": record["forget"]["commitment"],
        "salt": salt_path.read_text().strip(),
        "forget_indices": indices,
    }
    return (json.dumps(content) + "\n").encode()


__all__ = ["check_files", "pipeline_contents", "run_contents", "task_of"]

"""What a folder is, whether it is whole, and exactly what a push would upload of it."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from huggingface_hub.repocard import RepoCard

from ..private_files import SPLITS, private_folder
from ..record import RECORD_NAME, RECORD_VERSION, hash_files, publishable, read_record
from .allowed import INDICES_NAME, PIPELINE_INDEX, WEIGHTS, model_files
from .cards import histories_card, pipeline_card, predictor_card, unlearned_card


TASKS = {
    "ForImageClassification": "image-classification",
    "ForSequenceClassification": "text-classification",
    "ForTokenClassification": "token-classification",
    "ForAudioClassification": "audio-classification",
    "ForCausalLM": "text-generation",
}


@dataclass(frozen=True)
class Contents:
    """
    What is to be uploaded.

    Args:
        card ([`RepoCard`]): Without what an existing one has around it.
        files (`dict[str, Path | bytes]`): Path in the repository -> a file, or its bytes.
        repo_type (`str`, defaults to `"model"`): `"model"` or `"dataset"`.
        components (`tuple[str, ...]`): Folders of a pipeline.
    """

    card: RepoCard
    files: Mapping[str, Path | bytes]
    repo_type: str = "model"
    components: tuple[str, ...] = field(default=())


def contents_of(
    folder: str | os.PathLike,
    repo_id: str,
    *,
    publish_indices: bool = False,
    model: Mapping[str, Any] | None = None,
) -> Contents:
    """
    Looks through a folder: a finished run, a predictor, a pipeline, or weight histories.

    Args:
        folder (`str` or `os.PathLike`): The folder.
        repo_id (`str`): Where it goes; for the card.
        publish_indices (`bool`, defaults to `False`): Send the forget indices of a run too.
        model (`dict`, *optional*): `base_model`, `datasets` and `license`, in place of what the record says.

    Raises:
        FileNotFoundError: It holds nothing that can be pushed, or lacks a file.
        ValueError: A file was changed since the run, or the record is of another version.
    """
    root = Path(folder)
    if not root.is_dir():
        raise FileNotFoundError(f"There is no folder `{root}`.")
    said = {name: value for name, value in (model or {}).items() if value}
    if (root / RECORD_NAME).exists():
        return _run(root, repo_id, publish_indices, said)
    if publish_indices:
        raise ValueError(f"`{root}` is no finished run, so there are no forget indices to publish.")
    if _model_type(root) == "invwnn":
        paths: dict[str, Path | bytes] = {name: root / name for name in _whole(root, model_files(root))}
        return Contents(predictor_card(root, repo_id, said.get("license")), paths)
    if (root / PIPELINE_INDEX).is_file():
        paths = {name: root / name for name in _whole(root, model_files(root))}
        card = pipeline_card(_pipeline_class(root), repo_id, said)
        return Contents(card, paths, components=_folders(paths))
    if any(root.glob("*.parquet")):
        return _histories(root, repo_id, said.get("license"))
    raise FileNotFoundError(
        f"`{root}` holds neither a finished run ({RECORD_NAME}), nor a predictor (a config.json of model_type "
        f"'invwnn'), nor a pipeline ({PIPELINE_INDEX}), nor weight histories (*.parquet); there is nothing to push."
    )


def _run(root: Path, repo_id: str, publish_indices: bool, said: Mapping[str, Any]) -> Contents:
    record = read_record(root)
    names = _whole(root, model_files(root))
    check_files(root, record["files"], names)
    record = publishable(record)
    record["model"] = {**record["model"], **said}
    files: dict[str, Path | bytes] = {name: root / name for name in names}
    files[RECORD_NAME] = (json.dumps(record, indent=2) + "\n").encode()
    if publish_indices:
        files[INDICES_NAME] = _indices(root, record)
    pipeline_class = _pipeline_class(root) if PIPELINE_INDEX in names else None
    card = unlearned_card(record, repo_id, pipeline_class, None if pipeline_class else _task(root))
    return Contents(card, files, components=_folders(files))


def _pipeline_class(root: Path) -> str:
    return str(_json(root / PIPELINE_INDEX).get("_class_name", "pipeline"))


def _task(root: Path) -> str | None:
    """What the architecture in `config.json` is for; `None` where its name does not say."""
    path = root / "config.json"
    architectures = (_json(path).get("architectures") or []) if path.is_file() else []
    return next((task for name in architectures for end, task in TASKS.items() if name.endswith(end)), None)


def _folders(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted({name.split("/")[0] for name in names if "/" in name}))


def check_files(root: Path, recorded: Mapping[str, str], present: list[str]) -> None:
    """
    Looks whether the files of a run are those of its record.

    Raises:
        FileNotFoundError: One is missing.
        ValueError: One was changed, or weights were added.
    """
    if missing := sorted(set(recorded) - set(present)):
        raise FileNotFoundError(f"`{root}` lacks {', '.join(missing)}, which its {RECORD_NAME} lists.")
    if changed := [name for name, digest in hash_files(root, recorded).items() if digest != recorded[name]]:
        raise ValueError(
            f"`{root}` is not as the run left it: {', '.join(changed)} differ{'s' if len(changed) == 1 else ''} from "
            f"the SHA-256 in {RECORD_NAME}. Go back to the original files, or run and save again."
        )
    if added := sorted(name for name in present if name.endswith(WEIGHTS) and name not in recorded):
        raise ValueError(f"`{root}` holds weights that its {RECORD_NAME} does not know: {', '.join(added)}.")


def _whole(root: Path, names: list[str]) -> list[str]:
    if not any(name.endswith(WEIGHTS) for name in names):
        raise FileNotFoundError(f"`{root}` holds no weights (*{WEIGHTS}); pickled ones are never uploaded.")
    if empty := [name for name in names if not (root / name).stat().st_size]:
        raise ValueError(f"`{root}` holds empty files: {', '.join(empty)}; save again.")
    return names


def _indices(root: Path, record: Mapping[str, Any]) -> bytes:
    from ..scenarios.splits import hash_indices
    from ..scenarios.storage import RECORD_NAME as SPLITS_RECORD

    path = private_folder(root) / SPLITS / SPLITS_RECORD
    if not path.is_file():
        raise FileNotFoundError(f"`{root}` did not keep its splits ({path.name} is missing); there are no indices.")
    indices = _json(path).get("forget_indices")
    if not isinstance(indices, list) or hash_indices(indices) != record["forget"]["sha256"]:
        raise ValueError(f"The indices in `{path}` are not those of the run: their SHA-256 is another.")
    content = {"format_version": RECORD_VERSION, "sha256": record["forget"]["sha256"], "forget_indices": indices}
    return (json.dumps(content) + "\n").encode()


def _histories(root: Path, repo_id: str, license: str | None) -> Contents:
    from datasets import Dataset

    from ..histories.rows import HISTORY_FEATURES

    paths = sorted(root.glob("*.parquet"))
    expected = {*HISTORY_FEATURES, "history", "counterfactual"}
    runs: Counter[tuple[str, str]] = Counter()
    rows = 0
    for path in paths:
        columns = Dataset.from_parquet(str(path), keep_in_memory=True).with_format(None)
        if set(columns.column_names) != expected:
            odd = ", ".join(sorted(set(columns.column_names) ^ expected))
            raise ValueError(f"`{path}` does not hold weight histories: {odd} too many or missing.")
        rows += len(columns)
        seen = {key[0]: key for key in zip(*(columns[name][:] for name in _RUN), strict=True)}
        runs.update((f"{architecture} x {dataset}", kind) for _, kind, architecture, dataset in seen.values())
    named: dict[str, Path | bytes] = {
        f"data/train-{number:05d}-of-{len(paths):05d}.parquet": path for number, path in enumerate(paths)
    }
    facts = {"num_rows": rows, "num_runs": sum(runs.values()), "families": runs}
    return Contents(histories_card(facts, repo_id, license), named, repo_type="dataset")


_RUN = ("run_id", "run_type", "architecture", "dataset")


def _model_type(root: Path) -> str | None:
    path = root / "config.json"
    return _json(path).get("model_type") if path.is_file() else None


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"`{path}` cannot be read as JSON: {error}") from error
    if not isinstance(found, dict):
        raise ValueError(f"`{path}` must hold a JSON object, got `{type(found).__name__}`.")
    return found


__all__ = ["Contents", "check_files", "contents_of"]

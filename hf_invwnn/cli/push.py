"""`hf-invwnn push`: uploads a folder as the kind of artifact it holds."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from huggingface_hub import CommitInfo

from ..audit.publish import pipeline_contents, run_contents
from ..files import read_json_object
from ..hub.allowlist import CARD_NAME, PIPELINE_INDEX, RECORD_NAME
from ..hub.contents import Contents
from ..hub.push import check_repo_id, push, resolve_token
from .parser import parse_command


@dataclass
class PushArguments:
    private: bool = field(default=False, metadata={"help": "Create a private repository."})
    revision: str | None = field(
        default=None, metadata={"help": "Branch to push to, created if it does not exist; main by default."}
    )
    publish_indices: bool = field(
        default=False, metadata={"help": "Also upload the forget indices, and the salt of the commitment to them."}
    )
    allow_unfinished: bool = field(
        default=False, metadata={"help": "Also push a model that is unchanged or does not reach its target."}
    )
    license: str | None = field(default=None, metadata={"help": "Licence for the card, such as apache-2.0."})
    base_model: str | None = field(default=None, metadata={"help": "Hub id of the original model, for the card."})
    dataset: list[str] | None = field(default=None, metadata={"help": "Hub ids of the training data, for the card."})


def main(words: Sequence[str], summary: str) -> None:
    positionals = {
        "folder": "folder to upload; only files of an allow-list are read",
        "repo": "user/name; created if it does not exist",
    }
    arguments, folder, repo = parse_command("push", words, [PushArguments], summary, positionals)
    commit = push_folder(
        folder,
        repo,
        private=arguments.private or None,
        revision=arguments.revision,
        publish_indices=arguments.publish_indices,
        allow_unfinished=arguments.allow_unfinished,
        model={"license": arguments.license, "base_model": arguments.base_model, "datasets": arguments.dataset},
    )
    print(f"Pushed: {commit.commit_url}")


def push_folder(
    folder: str | os.PathLike,
    repo_id: str,
    *,
    publish_indices: bool = False,
    allow_unfinished: bool = False,
    model: Mapping[str, Any] | None = None,
    token: str | None = None,
    **kwargs: Any,
) -> CommitInfo:
    """
    Uploads a finished run, a predictor, a pipeline or weight histories, as one commit.

    Only files of the allow-list are read: never the private folder of a run, a checkpoint or a trajectory.

    Args:
        folder (`str` or `os.PathLike`), publish_indices (`bool`), allow_unfinished (`bool`), model (`dict`): As for
            [`collect_contents`].
        repo_id (`str`), token (`str`, *optional*), kwargs: As for [`~hf_invwnn.hub.push`].

    Raises:
        FileNotFoundError, ValueError: The folder is incomplete, see [`collect_contents`].
        PushError: The push failed; the repository is unchanged.
    """
    check_repo_id(repo_id)
    token = resolve_token(token)
    contents = collect_contents(
        folder, repo_id, publish_indices=publish_indices, allow_unfinished=allow_unfinished, model=model
    )
    return push(contents, repo_id, token=token, local_card=Path(folder) / CARD_NAME, **kwargs)


def collect_contents(
    folder: str | os.PathLike,
    repo_id: str,
    *,
    publish_indices: bool = False,
    allow_unfinished: bool = False,
    model: Mapping[str, Any] | None = None,
) -> Contents:
    """
    Describes a folder for [`~hf_invwnn.hub.push`]: a finished run, a predictor, a pipeline, or weight histories.

    Args:
        folder (`str` or `os.PathLike`): The folder.
        repo_id (`str`): The repository; for the card.
        publish_indices (`bool`, defaults to `False`): Also upload the forget indices of a run.
        allow_unfinished (`bool`, defaults to `False`): Also upload a run that did not reach its target.
        model (`dict`, *optional*): `base_model`, `datasets` and `license`, in place of those in the record.

    Raises:
        FileNotFoundError: The folder holds nothing that can be pushed, or lacks a file.
        ValueError: A file was changed since the run, or the record has another version.
    """
    root = Path(folder)
    if not root.is_dir():
        raise FileNotFoundError(f"There is no folder `{root}`.")
    card_fields = {name: value for name, value in (model or {}).items() if value}
    if (root / RECORD_NAME).exists():
        return run_contents(
            root, repo_id, publish_indices=publish_indices, model=card_fields, allow_unfinished=allow_unfinished
        )
    if publish_indices:
        raise ValueError(f"`{root}` is not a finished run, so it has no forget indices to publish.")
    config = root / "config.json"
    if config.is_file() and read_json_object(config).get("model_type") == "invwnn":
        from ..predictor.card import predictor_contents

        return predictor_contents(root, repo_id, card_fields.get("license"))
    if (root / PIPELINE_INDEX).is_file():
        return pipeline_contents(root, repo_id, model=card_fields)
    if any(root.glob("*.parquet")):
        from ..histories.publish import histories_contents

        return histories_contents(root, repo_id, card_fields.get("license"))
    raise FileNotFoundError(
        f"`{root}` holds neither a finished run ({RECORD_NAME}), nor a predictor (a config.json of model_type "
        f"'invwnn'), nor a pipeline ({PIPELINE_INDEX}), nor weight histories (*.parquet); there is nothing to push."
    )


__all__ = ["collect_contents", "main", "push_folder"]

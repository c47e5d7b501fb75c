"""One folder, one commit: everything of a push is visible at once, or nothing is."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import CommitInfo, CommitOperationAdd, CommitOperationDelete, HfApi, constants, get_token
from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError
from huggingface_hub.utils import HFValidationError, validate_repo_id

from .allowed import CARD_NAME, may_be_uploaded
from .cards import merged
from .contents import Contents, contents_of
from .errors import NoToken, WrongRepository, clear_errors


REPOSITORY_TYPES = ("model", "dataset", "space")


def push_folder(
    folder: str | os.PathLike,
    repo_id: str,
    *,
    private: bool | None = None,
    revision: str | None = None,
    token: str | None = None,
    commit_message: str | None = None,
    publish_indices: bool = False,
    model: Mapping[str, Any] | None = None,
) -> CommitInfo:
    """
    Uploads a finished run, a predictor, a pipeline, or weight histories, as one commit.

    Only files of the allow-list are read: never the private folder of a run, a checkpoint, a trajectory, or anything
    else that lies there. What an earlier push uploaded and this one has not is deleted in the same commit. A card that
    is there is updated between its markers.

    Args:
        folder (`str` or `os.PathLike`): The folder.
        repo_id (`str`): `user/name`; made if there is none.
        private (`bool`, *optional*): Make a private repository; one that is public already is then refused.
            By default what the account does.
        revision (`str`, *optional*): A branch, made if there is none; `main` by default.
        token (`str`, *optional*): With write access; by default HF_TOKEN, or that of `hf auth login`.
        commit_message (`str`, *optional*): Of the commit.
        publish_indices (`bool`, defaults to `False`): Send the forget indices too.
        model (`dict`, *optional*): `base_model`, `datasets` and `license`, in place of what the record says.

    Returns:
        [`~huggingface_hub.CommitInfo`], with the `commit_url`.

    Raises:
        FileNotFoundError, ValueError: The folder is not whole, see [`contents_of`].
        PushError: It could not be done; nothing of it is visible.
    """
    check_repo_id(repo_id)
    token = find_token(token)
    contents = contents_of(folder, repo_id, publish_indices=publish_indices, model=model)
    api = HfApi(token=token, endpoint=constants.ENDPOINT)
    with clear_errors(repo_id, token):
        _refuse_other_type(api, repo_id, contents.repo_type)
        if private:
            _refuse_public(api, repo_id, contents.repo_type)
        api.create_repo(repo_id, repo_type=contents.repo_type, private=private, exist_ok=True)
        if revision is not None:
            api.create_branch(repo_id, repo_type=contents.repo_type, branch=revision, exist_ok=True)
        return _commit(api, Path(folder), repo_id, revision, contents, commit_message)


def check_repo_id(repo_id: str) -> None:
    """
    Raises:
        WrongRepository: It is not of the form `user/name`.
    """
    try:
        validate_repo_id(repo_id)
        whole = repo_id.count("/") == 1 and all(repo_id.split("/"))
    except HFValidationError:
        whole = False
    if not whole:
        raise WrongRepository(
            f"`{repo_id}` is no name of a repository; it must be `user/name`, such as `ada/my-model`."
        )


def find_token(token: str | None = None) -> str:
    """
    The token given, or that of the usual places.

    Raises:
        NoToken: There is none.
    """
    found = token or get_token()
    if not found:
        raise NoToken("There is no token to push with; log in with `hf auth login`, or set HF_TOKEN.")
    return found


def own_name(token: str) -> str:
    """
    The name of the account that a token belongs to.

    Raises:
        PushError: The Hub does not know it, or does not answer.
    """
    with clear_errors("your account", token):
        return str(HfApi(token=token, endpoint=constants.ENDPOINT).whoami()["name"])


def _refuse_other_type(api: HfApi, repo_id: str, repo_type: str) -> None:
    if _sha(api, repo_id, repo_type, None) is not None:
        return
    for other in REPOSITORY_TYPES:
        if other != repo_type and _sha(api, repo_id, other, None) is not None:
            raise WrongRepository(f"`{repo_id}` is a {other}, and this is a {repo_type}; choose another name.")


def _refuse_public(api: HfApi, repo_id: str, repo_type: str) -> None:
    """Whoever asks for a private repository must not publish into one that is there already."""
    if _sha(api, repo_id, repo_type, None) is not None and not api.repo_info(repo_id, repo_type=repo_type).private:
        raise WrongRepository(
            f"`{repo_id}` is there already, and public; make it private on the Hub first, choose another name, or do "
            "not ask for a private one."
        )


def _sha(api: HfApi, repo_id: str, repo_type: str, revision: str | None) -> str | None:
    try:
        return api.repo_info(repo_id, repo_type=repo_type, revision=revision).sha
    except RevisionNotFoundError:
        return None
    except RepositoryNotFoundError as error:
        # The Hub says 401 for what it does not show; with a token that works, it is 404.
        if error.response is not None and error.response.status_code == 401:
            raise
        return None


def _commit(
    api: HfApi, folder: Path, repo_id: str, revision: str | None, contents: Contents, message: str | None
) -> CommitInfo:
    parent = _sha(api, repo_id, contents.repo_type, revision)
    there = set(api.list_repo_files(repo_id, repo_type=contents.repo_type, revision=parent)) if parent else set()
    card = merged(_existing_card(api, folder, repo_id, contents, parent, there), contents.card)
    additions = [
        CommitOperationAdd(path_in_repo=name, path_or_fileobj=content if isinstance(content, bytes) else str(content))
        for name, content in [(CARD_NAME, card.encode()), *contents.files.items()]
    ]
    stale = {name for name in there if may_be_uploaded(name, contents.components)} - {CARD_NAME, *contents.files}
    return api.create_commit(
        repo_id,
        repo_type=contents.repo_type,
        operations=[*additions, *(CommitOperationDelete(path_in_repo=name) for name in sorted(stale))],
        commit_message=message or "Upload with hf-invwnn",
        revision=revision,
        parent_commit=parent,
    )


def _existing_card(
    api: HfApi, folder: Path, repo_id: str, contents: Contents, parent: str | None, there: set[str]
) -> str | None:
    """The one in the repository, where somebody may have edited it; else the one in the folder."""
    if CARD_NAME in there:
        path = api.hf_hub_download(repo_id, CARD_NAME, repo_type=contents.repo_type, revision=parent)
        return Path(path).read_text(encoding="utf-8")
    local = folder / CARD_NAME
    return local.read_text(encoding="utf-8") if local.is_file() else None


__all__ = ["check_repo_id", "find_token", "own_name", "push_folder"]

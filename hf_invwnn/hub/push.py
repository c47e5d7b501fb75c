"""Pushes of one commit: the repository has all of the contents, or is unchanged."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Sequence
from pathlib import Path

from huggingface_hub import CommitInfo, CommitOperationAdd, CommitOperationDelete, HfApi, constants, get_token
from huggingface_hub.errors import HfHubHTTPError, HTTPError, RepositoryNotFoundError, RevisionNotFoundError
from huggingface_hub.hf_api import RepoFile
from huggingface_hub.utils import HFValidationError, validate_repo_id

from .allowlist import CARD_NAME, may_be_uploaded
from .cards import merge_card
from .contents import Contents
from .errors import (
    CommitUnknownError,
    MissingTokenError,
    RepositoryError,
    cause_of,
    translate_hub_errors,
)
from .retry import Patience, patient_requests


logger = logging.getLogger(__name__)


REPOSITORY_TYPES = ("model", "dataset", "space")


def push(
    contents: Contents,
    repo_id: str,
    *,
    private: bool | None = None,
    revision: str | None = None,
    token: str | None = None,
    commit_message: str | None = None,
    local_card: str | os.PathLike | None = None,
    patience: Patience | None = None,
) -> CommitInfo:
    """
    Uploads contents as one commit: the repository has all of the contents, or is unchanged.

    The same commit deletes files of an earlier push that are not among the contents, and updates an existing card
    between its markers.

    Args:
        contents ([`Contents`]): The card and the files.
        repo_id (`str`): `user/name`; created if it does not exist.
        private (`bool`, *optional*): Whether to create a private repository; `True` refuses an existing public one.
            The default is that of the account.
        revision (`str`, *optional*): A branch, created if it does not exist; `main` by default.
        token (`str`, *optional*): A token with write access; by default HF_TOKEN, or that of `hf auth login`.
        commit_message (`str`, *optional*): Message of the commit.
        local_card (`str` or `os.PathLike`, *optional*): A card to merge into if the repository has none.
        patience ([`~hf_invwnn.hub.retry.Patience`], *optional*): How long to wait for a server that is slow or busy.

    Returns:
        [`~huggingface_hub.CommitInfo`], with the `commit_url`.

    Raises:
        PushError: The push failed; the repository is unchanged, unless it is a [`CommitUnknownError`].
    """
    check_repo_id(repo_id)
    token = resolve_token(token)
    if contents.left_out:
        logger.warning("Not uploaded: %s.", ", ".join(contents.left_out))
    api = HfApi(token=token, endpoint=constants.ENDPOINT)
    with translate_hub_errors(repo_id, token), patient_requests(patience or Patience()):
        _refuse_other_type(api, repo_id, contents.repo_type)
        if private:
            _refuse_public(api, repo_id, contents.repo_type)
        api.create_repo(repo_id, repo_type=contents.repo_type, private=private, exist_ok=True)
        if revision is not None:
            api.create_branch(repo_id, repo_type=contents.repo_type, branch=revision, exist_ok=True)
        return _commit(api, repo_id, revision, contents, commit_message, local_card)


def check_repo_id(repo_id: str) -> None:
    """
    Raises:
        RepositoryError: `repo_id` does not have the form `user/name`.
    """
    try:
        validate_repo_id(repo_id)
        whole = repo_id.count("/") == 1 and all(repo_id.split("/"))
    except HFValidationError:
        whole = False
    if not whole:
        raise RepositoryError(
            f"`{repo_id}` is not the name of a repository; it must be `user/name`, such as `ada/my-model`."
        )


def resolve_token(token: str | None = None) -> str:
    """
    The token to push with: the argument, HF_TOKEN, or that of `hf auth login`.

    Raises:
        MissingTokenError: There is none.
    """
    resolved = token or get_token()
    if not resolved:
        raise MissingTokenError("There is no token to push with; log in with `hf auth login`, or set HF_TOKEN.")
    return resolved


def account_name(token: str) -> str:
    """
    Name of the account that a token belongs to.

    Raises:
        PushError: The Hub does not accept the token, or does not answer.
    """
    with translate_hub_errors("your account", token), patient_requests(Patience()):
        return str(HfApi(token=token, endpoint=constants.ENDPOINT).whoami()["name"])


def _refuse_other_type(api: HfApi, repo_id: str, repo_type: str) -> None:
    if _sha(api, repo_id, repo_type, None) is not None:
        return
    for other in REPOSITORY_TYPES:
        if other != repo_type and _sha(api, repo_id, other, None) is not None:
            raise RepositoryError(f"`{repo_id}` is a {other}, and this is a {repo_type}; choose another name.")


def _refuse_public(api: HfApi, repo_id: str, repo_type: str) -> None:
    """A push with `private=True` must not publish into an existing public repository."""
    if _sha(api, repo_id, repo_type, None) is not None and not api.repo_info(repo_id, repo_type=repo_type).private:
        raise RepositoryError(
            f"`{repo_id}` exists already and is public; make it private on the Hub first, choose another name, or do "
            "not ask for a private repository."
        )


def _sha(api: HfApi, repo_id: str, repo_type: str, revision: str | None) -> str | None:
    try:
        return api.repo_info(repo_id, repo_type=repo_type, revision=revision).sha
    except RevisionNotFoundError:
        return None
    except RepositoryNotFoundError as error:
        # For a missing repository the Hub answers 404, or 401 if the token is invalid.
        if error.response is not None and error.response.status_code == 401:
            raise
        return None


def _commit(
    api: HfApi,
    repo_id: str,
    revision: str | None,
    contents: Contents,
    message: str | None,
    local_card: str | os.PathLike | None,
) -> CommitInfo:
    parent = _sha(api, repo_id, contents.repo_type, revision)
    existing = set(api.list_repo_files(repo_id, repo_type=contents.repo_type, revision=parent)) if parent else set()
    old_card = _card_text(api, repo_id, contents.repo_type, parent) if CARD_NAME in existing else _read(local_card)
    card = merge_card(old_card, contents.card)
    additions = [
        CommitOperationAdd(path_in_repo=name, path_or_fileobj=content if isinstance(content, bytes) else str(content))
        for name, content in [(CARD_NAME, card.encode()), *contents.files.items()]
    ]
    stale = {name for name in existing if may_be_uploaded(name, contents.components)} - {CARD_NAME, *contents.files}
    try:
        return api.create_commit(
            repo_id,
            repo_type=contents.repo_type,
            operations=[*additions, *(CommitOperationDelete(path_in_repo=name) for name in sorted(stale))],
            commit_message=message or "Upload with hf-invwnn",
            revision=revision,
            parent_commit=parent,
        )
    except (HTTPError, ValueError, KeyError, TypeError, AttributeError) as error:
        if not _may_have_landed(error):
            raise
        landed = _look(api, repo_id, revision, contents.repo_type, parent, additions, error)
        if landed is None:
            raise
        logger.warning("The answer to the commit was lost, but the commit has landed.")
        return landed


def _may_have_landed(error: BaseException) -> bool:
    """Whether an error leaves open if the commit was made: not if another request failed, or the Hub refused it."""
    if isinstance(error, HfHubHTTPError) and error.response is not None and error.response.status_code < 500:
        return False
    try:
        return "/commit/" in error.request.url.path  # type: ignore[attr-defined]
    except (AttributeError, RuntimeError):  # httpx raises a RuntimeError where there is no request
        return True


def _look(
    api: HfApi,
    repo_id: str,
    revision: str | None,
    repo_type: str,
    parent: str | None,
    additions: Sequence[CommitOperationAdd],
    error: BaseException,
) -> CommitInfo | None:
    """
    Looks whether a commit whose answer was lost has landed; `None` if the branch is as it was.

    Raises:
        CommitUnknownError: The branch cannot be looked at, or has changed to something else.
    """
    unknown = (
        f"The answer to the commit to `{repo_id}` was lost ({cause_of(error, api.token or None)}), and "  # type: ignore[arg-type]
        "{}. Look at the repository before you push again."
    )
    try:
        head = _sha(api, repo_id, repo_type, revision)
        if head == parent:
            return None
        held = _hashes(api, repo_id, repo_type, head)
    except (HTTPError, OSError, ValueError, KeyError, TypeError, AttributeError):
        raise CommitUnknownError(unknown.format("it is not known whether it has landed")) from None
    expected = {addition.path_in_repo: _content_hashes(addition) for addition in additions}
    if any(held.get(name) not in hashes for name, hashes in expected.items()):
        raise CommitUnknownError(unknown.format("the branch has changed to something else meanwhile"))
    url = f"{api.endpoint}/{'' if repo_type == 'model' else f'{repo_type}s/'}{repo_id}/commit/{head}"
    return CommitInfo(commit_url=url, commit_message="", commit_description="", oid=str(head))


def _hashes(api: HfApi, repo_id: str, repo_type: str, revision: str | None) -> dict[str, str]:
    """Of every file, the SHA-256 of a large one and the SHA-1 of git of another."""
    entries = api.list_repo_tree(repo_id, repo_type=repo_type, revision=revision, recursive=True)
    return {
        entry.path: entry.lfs.sha256 if entry.lfs else entry.blob_id
        for entry in entries
        if isinstance(entry, RepoFile)
    }


def _content_hashes(addition: CommitOperationAdd) -> tuple[str, str]:
    with addition.as_file() as file:
        content = file.read()
    return hashlib.sha256(content).hexdigest(), hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def _card_text(api: HfApi, repo_id: str, repo_type: str, revision: str | None) -> str:
    path = api.hf_hub_download(repo_id, CARD_NAME, repo_type=repo_type, revision=revision)
    return Path(path).read_text(encoding="utf-8")


def _read(path: str | os.PathLike | None) -> str | None:
    return Path(path).read_text(encoding="utf-8") if path is not None and Path(path).is_file() else None


__all__ = ["account_name", "check_repo_id", "push", "resolve_token"]

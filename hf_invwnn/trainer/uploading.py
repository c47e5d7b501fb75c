"""Pushes of a finished run from an unlearner."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..audit.publish import run_contents
from ..hub.push import account_name, check_repo_id, push, resolve_token


if TYPE_CHECKING:
    from huggingface_hub import CommitInfo

    from .unlearner import Unlearner


def check_push(unlearner: Unlearner, token: str | None = None) -> str:
    """
    Checks that a push will be possible; creates no repository.

    Args:
        unlearner ([`Unlearner`]): The run.
        token (`str`, *optional*): A token with write access; that of the arguments, or of the login, by default.

    Returns:
        `str`: The repository: `hub_model_id`, or the name of the output directory under the account of the token.

    Raises:
        PushError: There is no valid token, or the name is not one of a repository.
    """
    args = unlearner.args
    account = account_name(resolve_token(token or args.hub_token))
    repo_id = args.hub_model_id or f"{account}/{Path(str(args.output_dir)).absolute().name}"
    check_repo_id(repo_id)
    return str(repo_id)


def push_run(
    unlearner: Unlearner,
    *,
    commit_message: str | None,
    token: str | None,
    revision: str | None,
    private: bool | None,
    allow_unfinished: bool,
) -> CommitInfo:
    """Uploads the saved model of a finished run, its card and its record; see [`~Unlearner.push_to_hub`]."""
    args = unlearner.args
    folder = Path(str(args.output_dir))
    return push(
        run_contents(folder, unlearner.hub_model_id, allow_unfinished=allow_unfinished),
        unlearner.hub_model_id,
        private=private if private is not None else args.hub_private_repo,
        revision=revision or args.hub_revision,
        token=token or args.hub_token,
        commit_message=commit_message,
        local_card=folder / "README.md",
    )


__all__ = ["check_push", "push_run"]

"""Errors of a push, each with advice. No message contains the token."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from huggingface_hub.errors import (
    HfHubHTTPError,
    HTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)


class PushError(ValueError):
    """A push failed; the repository is unchanged."""


class MissingTokenError(PushError):
    """There is no token."""


class InvalidTokenError(PushError):
    """The Hub does not accept the token."""


class WritePermissionError(PushError):
    """The token has no write access to the repository."""


class RepositoryError(PushError):
    """The name is not `user/name`, or belongs to a repository of another type."""


class HubUnreachableError(PushError):
    """The Hub did not answer."""


@contextmanager
def translate_hub_errors(repo_id: str, token: str | None) -> Iterator[None]:
    """Translates the exceptions of huggingface_hub into the errors above."""
    try:
        yield
    except PushError:
        raise
    except OfflineModeIsEnabled as error:
        raise HubUnreachableError(
            "HF_HUB_OFFLINE is set, so nothing can be pushed; unset it and push again."
        ) from error
    except (HTTPError, RuntimeError, OSError, ValueError) as error:
        # A failed upload thread raises a RuntimeError whose cause is the actual error.
        cause = error.__cause__ if isinstance(error, RuntimeError) and error.__cause__ else error
        translated = _translated(cause, repo_id, token)
        if translated is None:
            raise
        raise translated from None


def _translated(error: BaseException, repo_id: str, token: str | None) -> PushError | None:
    message = _server_message(error, token)
    if isinstance(error, HfHubHTTPError) and error.response is not None:
        status = error.response.status_code
        if status == 401 and not isinstance(error, RepositoryNotFoundError):
            return _invalid_token()
        if isinstance(error, RevisionNotFoundError):
            return RepositoryError(f"`{repo_id}` has no such revision. {message}")
        if isinstance(error, RepositoryNotFoundError):
            return (
                _invalid_token()
                if status == 401
                else RepositoryError(f"There is no repository `{repo_id}`. {message}")
            )
        if status == 403:
            return WritePermissionError(
                f"The token may not write to `{repo_id}`; use one with write access to it. The Hub answered: {message}"
            )
        if status in (409, 412):
            return PushError(
                f"`{repo_id}` was changed by somebody else during the push; push again. The Hub answered: {message}"
            )
        if status >= 500 or status == 429:
            return HubUnreachableError(f"{_unreachable(repo_id)} The Hub answered: {message}")
        return PushError(f"The Hub refused the push to `{repo_id}` ({status}): {message}")
    # An existing file could not be downloaded and is not in the cache.
    if isinstance(error, (HTTPError, ConnectionError, LocalEntryNotFoundError)):
        return HubUnreachableError(f"{_unreachable(repo_id)} ({type(error).__name__})")
    if isinstance(error, RuntimeError):
        return PushError(f"The upload to `{repo_id}` failed; the repository is unchanged: {message}")
    return None


def _invalid_token() -> InvalidTokenError:
    return InvalidTokenError(
        "The Hub does not accept the token; it may have expired. Create one with write access and log in with "
        "`hf auth login`, or set HF_TOKEN."
    )


def _unreachable(repo_id: str) -> str:
    return (
        f"The Hub did not answer during a push to `{repo_id}`. The repository is unchanged; push again. Files that "
        "were uploaded already are not sent again."
    )


def _server_message(error: BaseException, token: str | None) -> str:
    text = getattr(error, "server_message", None) or str(error).strip().splitlines()[-1:]
    text = text if isinstance(text, str) else " ".join(text)
    return text.replace(token, "(token)") if token else text


__all__ = [
    "HubUnreachableError",
    "InvalidTokenError",
    "MissingTokenError",
    "PushError",
    "RepositoryError",
    "WritePermissionError",
    "translate_hub_errors",
]

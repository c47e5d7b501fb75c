"""What can go wrong on the way to the Hub, each with one message that says what to do. None ever holds the token."""

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
    """A push that could not be done; the repository is as it was."""


class NoToken(PushError):
    """There is no token to push with."""


class WrongToken(PushError):
    """The Hub does not know the token."""


class NoWritePermission(PushError):
    """The token may not write there."""


class WrongRepository(PushError):
    """The name is not `user/name`, or belongs to a repository of another type."""


class HubUnreachable(PushError):
    """The Hub did not answer, or stopped answering."""


@contextmanager
def clear_errors(repo_id: str, token: str | None) -> Iterator[None]:
    """Turns what huggingface_hub raises inside into one of the errors above."""
    try:
        yield
    except PushError:
        raise
    except OfflineModeIsEnabled as error:
        raise HubUnreachable("HF_HUB_OFFLINE is set, so nothing can be pushed; unset it and push again.") from error
    except (HTTPError, RuntimeError, OSError, ValueError) as error:
        # An upload that failed in a thread comes wrapped, with what happened as its cause.
        cause = error.__cause__ if isinstance(error, RuntimeError) and error.__cause__ else error
        translated = _translated(cause, repo_id, token)
        if translated is None:
            raise
        raise translated from None


def _translated(error: BaseException, repo_id: str, token: str | None) -> PushError | None:
    said = _said(error, token)
    if isinstance(error, HfHubHTTPError) and error.response is not None:
        status = error.response.status_code
        if status == 401 and not isinstance(error, RepositoryNotFoundError):
            return _wrong_token()
        if isinstance(error, RevisionNotFoundError):
            return WrongRepository(f"`{repo_id}` has no such revision. {said}")
        if isinstance(error, RepositoryNotFoundError):
            return _wrong_token() if status == 401 else WrongRepository(f"There is no repository `{repo_id}`. {said}")
        if status == 403:
            return NoWritePermission(
                f"The token may not write to `{repo_id}`; use one with write access to it. The Hub said: {said}"
            )
        if status in (409, 412):
            return PushError(f"`{repo_id}` was changed by somebody else meanwhile; push again. The Hub said: {said}")
        if status >= 500 or status == 429:
            return HubUnreachable(f"{_gone(repo_id)} The Hub said: {said}")
        return PushError(f"The Hub refused the push to `{repo_id}` ({status}): {said}")
    # A file that is there could not be fetched, and is not in the cache.
    if isinstance(error, (HTTPError, ConnectionError, LocalEntryNotFoundError)):
        return HubUnreachable(f"{_gone(repo_id)} ({type(error).__name__})")
    if isinstance(error, RuntimeError):
        return PushError(f"The upload to `{repo_id}` failed, and nothing of it is visible there: {said}")
    return None


def _wrong_token() -> WrongToken:
    return WrongToken(
        "The Hub does not accept the token; it may have expired. Make a new one with write access and log in with "
        "`hf auth login`, or set HF_TOKEN."
    )


def _gone(repo_id: str) -> str:
    return (
        f"The Hub did not answer while pushing to `{repo_id}`. Nothing of this push is visible there; run the same "
        "command again, and what was uploaded is not sent twice."
    )


def _said(error: BaseException, token: str | None) -> str:
    text = getattr(error, "server_message", None) or str(error).strip().splitlines()[-1:]
    text = text if isinstance(text, str) else " ".join(text)
    return text.replace(token, "(token)") if token else text


__all__ = [
    "HubUnreachable",
    "NoToken",
    "NoWritePermission",
    "PushError",
    "WrongRepository",
    "WrongToken",
    "clear_errors",
]

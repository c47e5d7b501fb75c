"""Errors of a push, each with advice. No message contains the token."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from huggingface_hub.errors import (
    HfHubHTTPError,
    HTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)


class PushError(ValueError):
    """A push failed; the repository is unchanged, unless it is a [`CommitUnknownError`]."""


class MissingTokenError(PushError):
    """There is no token."""


class InvalidTokenError(PushError):
    """The Hub does not accept the token."""


class WritePermissionError(PushError):
    """The token has no write access to the repository."""


class RepositoryError(PushError):
    """The name is not `user/name`, or belongs to a repository of another type."""


class HubUnreachableError(PushError):
    """
    The Hub did not answer.

    Args:
        message (`str`): The message.
        request (*optional*): The request without an answer.
    """

    def __init__(self, message: str, request: Any = None) -> None:
        super().__init__(message)
        self.request = request


class CommitUnknownError(HubUnreachableError):
    """The answer to the commit was lost, and it could not be found out whether the commit has landed."""


# What Python raises within huggingface_hub where an answer is no JSON, or JSON of another shape.
_UNREADABLE = (ValueError, KeyError, TypeError, AttributeError)


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
    except (HTTPError, RuntimeError, OSError, *_UNREADABLE) as error:
        # A failed upload thread raises a RuntimeError whose cause is the actual error.
        cause = error.__cause__ if isinstance(error, RuntimeError) and error.__cause__ else error
        if isinstance(cause, PushError):
            raise cause from None
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
            return HubUnreachableError(f"{_unreachable(repo_id)} The Hub answered {status}: {message}")
        return PushError(f"The Hub refused the push to `{repo_id}` ({status}): {message}{_about_xet(error)}")
    # An existing file could not be downloaded and is not in the cache.
    if isinstance(error, (HTTPError, ConnectionError, LocalEntryNotFoundError)):
        return HubUnreachableError(f"{_unreachable(repo_id)} The cause: {cause_of(error, token)}.{_about_xet(error)}")
    if isinstance(error, RuntimeError):
        return PushError(
            f"The upload to `{repo_id}` failed; the repository is unchanged: {message}.{_about_xet(error)}"
        )
    if isinstance(error, _UNREADABLE):
        return _unreadable(error, repo_id, token)
    return None


def cause_of(error: BaseException, token: str | None) -> str:
    """The innermost cause of an error, such as "Connection refused", without the token."""
    innermost = error
    while (deeper := innermost.__cause__ or innermost.__context__) is not None:
        innermost = deeper
    text = str(innermost).strip() or str(error).strip()
    first = text.splitlines()[0] if text else ""
    name = type(error).__name__
    shown = f"{name}: {first}" if first else name
    return (shown.replace(token, "(token)") if token else shown).rstrip(".")


def _unreadable(error: BaseException, repo_id: str, token: str | None) -> PushError | None:
    """An error of Python, if it was raised within huggingface_hub; `None` if it is one of this package."""
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    module = "" if traceback is None else traceback.tb_frame.f_globals.get("__name__", "")
    if not module.startswith(("huggingface_hub", "json", "httpx")):
        return None
    return HubUnreachableError(
        f"The answer of the Hub during a push to `{repo_id}` cannot be read ({cause_of(error, token)}); is "
        "HF_ENDPOINT the address of a Hub?"
    )


def _about_xet(error: BaseException) -> str:
    """Advice for servers that do not have Xet, the storage that huggingface_hub uploads to by default."""
    chain, text = error, ""
    while chain is not None:
        text += f" {chain!s}".lower()
        chain = chain.__cause__ or chain.__context__  # type: ignore[assignment]
    advice = " The server may not have Xet: set HF_HUB_DISABLE_XET=1 and push again."
    return advice if "xet" in text else ""


def _invalid_token() -> InvalidTokenError:
    return InvalidTokenError(
        "The Hub does not accept the token; it may have expired. Create one with write access and log in with "
        "`hf auth login`, or set HF_TOKEN."
    )


def _unreachable(repo_id: str) -> str:
    return (
        f"The Hub did not answer during a push to `{repo_id}`. Nothing was committed; push again. Files that were "
        "uploaded already are not sent again."
    )


def _server_message(error: BaseException, token: str | None) -> str:
    text = getattr(error, "server_message", None) or str(error).strip().splitlines()[-1:]
    text = text if isinstance(text, str) else " ".join(text)
    return text.replace(token, "(token)") if token else text


__all__ = [
    "CommitUnknownError",
    "HubUnreachableError",
    "InvalidTokenError",
    "MissingTokenError",
    "PushError",
    "RepositoryError",
    "WritePermissionError",
    "cause_of",
    "translate_hub_errors",
]

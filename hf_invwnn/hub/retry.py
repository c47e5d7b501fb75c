"""Requests to the Hub that end: with timeouts, and repeated as long as a busy server asks for, up to a limit."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any

from huggingface_hub import close_session, set_client_factory
from huggingface_hub.utils import _http

from .errors import HubUnreachableError


logger = logging.getLogger(__name__)

BUSY = (429, 503)


@dataclass(frozen=True)
class Patience:
    """
    How long a push waits.

    Args:
        connect (`float`, defaults to 10.0): Seconds to establish a connection.
        read (`float`, defaults to 120.0): Seconds without a byte from the server.
        longest_wait (`float`, defaults to 120.0): Largest `Retry-After` that is obeyed, in seconds.
        retries (`int`, defaults to 4): Times that a request is repeated while the server is busy.
        sleep (`Callable`, defaults to `time.sleep`): Waits; for tests.
    """

    connect: float = 10.0
    read: float = 120.0
    longest_wait: float = 120.0
    retries: int = 4
    sleep: Callable[[float], None] = time.sleep


@contextmanager
def patient_requests(patience: Patience) -> Iterator[None]:
    """
    Within this context every request of huggingface_hub has timeouts, and is repeated if the answer is 429 or 503,
    after the time that `Retry-After` asks for. Afterwards requests are made as before.

    Args:
        patience ([`Patience`]): The limits.

    Raises:
        HubUnreachableError: The server asks for a longer wait than the limit, is still busy after the last repetition,
            or a timeout has passed.
    """
    before = _http._GLOBAL_CLIENT_FACTORY  # there is no public way to read it
    set_client_factory(lambda: _patient(before(), patience))
    try:
        yield
    finally:
        set_client_factory(before)
        close_session()


def _patient(client: Any, patience: Patience) -> Any:
    """A client whose `send`, through which all requests go, repeats them."""
    send = client.send
    client.timeout = type(client.timeout)(patience.read, connect=patience.connect)

    def patient_send(request: Any, **kwargs: Any) -> Any:
        # huggingface_hub turns timeouts off for some requests.
        request.extensions["timeout"] = client.timeout.as_dict()
        for attempt in range(patience.retries + 1):
            response = send(request, **kwargs)
            if response.status_code not in BUSY:
                return response
            wait = _seconds_to_wait(response.headers, attempt)
            what = f"{response.status_code} to {request.method} {request.url.path}"
            if wait > patience.longest_wait:
                raise HubUnreachableError(
                    f"The Hub is busy ({what}) and asks to wait {wait:,.0f} seconds, which is more than "
                    f"{patience.longest_wait:.0f}; push again then.",
                    request,
                )
            if attempt < patience.retries:
                logger.warning("The Hub is busy (%s); waiting %.0f seconds, then trying again.", what, wait)
                patience.sleep(wait)
            if not _can_be_repeated(request):
                # The upload of a large file, which huggingface_hub repeats itself, without another wait.
                response.headers["Retry-After"] = "0"
                return response
            response.close()
        raise HubUnreachableError(
            f"The Hub is busy: it answered {what} {patience.retries + 1} times; push again later.", request
        )

    client.send = patient_send
    return client


def _seconds_to_wait(headers: Any, attempt: int) -> float:
    """The wait that a server asks for, as seconds or as a date; without one it doubles from a second."""
    asked = str(headers.get("Retry-After", "")).strip()
    if asked.isdecimal():
        return float(asked)
    try:
        date = parsedate_to_datetime(asked)
    except (TypeError, ValueError):
        return float(2**attempt)
    aware = date if date.tzinfo else date.replace(tzinfo=timezone.utc)
    return max(0.0, (aware - datetime.now(timezone.utc)).total_seconds())


def _can_be_repeated(request: Any) -> bool:
    """Whether the body of a request is still there after it was sent."""
    return hasattr(request, "_content")


__all__ = ["Patience", "patient_requests"]

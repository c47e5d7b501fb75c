"""A Hub that hangs, is busy, or answers with garbage: a push ends in time, in success or with one clear message."""

from __future__ import annotations

import json
import logging
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants
from huggingface_hub.repocard import ModelCard, ModelCardData
from server import Handler, Hub, start

from hf_invwnn.hub import CommitUnknownError, Contents, PushError, push
from hf_invwnn.hub.cards import make_card
from hf_invwnn.hub.retry import Patience


TOKEN = "hf_ada"
# The requests of a push, by what their method and path hold.
REQUESTS = {
    "look": ("GET", "/api/models/ada/"),
    "create": ("POST", "/api/repos/create"),
    "card": ("POST", "/api/validate-yaml"),
    "preupload": ("POST", "/preupload/"),
    "batch": ("POST", "/info/lfs/objects/batch"),
    "upload": ("PUT", "/lfs/"),
    "commit": ("POST", "/commit/"),
}


@dataclass
class Misbehaving(Hub):
    """A Hub that does something else at the requests of one kind, so many times."""

    fault: Callable[[Any, bytes], bool] | None = None
    at: tuple[str, str] = ("", "")
    times: int = 10**6
    met: int = 0
    slept: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()


class FaultyHandler(Handler):
    def _serve(self) -> None:
        hub: Any = self.hub
        method, part = hub.at
        if hub.fault is not None and self.command == method and part in self.path and hub.met < hub.times:
            hub.met += 1
            if hub.fault(self, self._body()):
                return
        super()._serve()

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _serve


def answer(status: int, content: bytes = b'{"error": "busy"}', **headers: str) -> Callable[[Any, bytes], bool]:
    def fault(handler: Any, body: bytes) -> bool:
        handler._send(status, content, {name.replace("_", "-"): value for name, value in headers.items()})
        return True

    return fault


def hang(handler: Any, body: bytes) -> bool:
    handler.close_connection = True
    time.sleep(0.4)
    return True


def close(handler: Any, body: bytes) -> bool:
    handler.close_connection = True
    handler.connection.shutdown(socket.SHUT_RDWR)
    return True


def half(handler: Any, body: bytes) -> bool:
    handler.send_response(200)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"half')
    return close(handler, body)


def no_http(handler: Any, body: bytes) -> bool:
    handler.wfile.write(b"SSH-2.0-OpenSSH_9.6\r\n")
    return close(handler, body)


def loop(handler: Any, body: bytes) -> bool:
    handler._send(302, b"", {"Location": handler.path})
    return True


FAULTS: dict[str, Callable[[Any, bytes], bool]] = {
    "hangs": hang,
    "closes": close,
    "half an answer": half,
    "no HTTP": no_http,
    "a loop of redirects": loop,
    "500": answer(500),
    "502 with a page": answer(502, b"<html><body>Bad gateway</body></html>", Content_Type="text/html"),
    "always 503": answer(503, Retry_After="1"),
    "always 429": answer(429),
    "a wait of a year": answer(429, Retry_After="31536000"),
    "a wait until a date far away": answer(503, Retry_After=formatdate(time.time() + 10**6, usegmt=True)),
    "403": answer(403, b'{"error": "no rights"}', X_Error_Message="no rights"),
    "no JSON": answer(200, b"<html>Welcome to the hotel network</html>", Content_Type="text/html"),
    "a list": answer(200, b"[]"),
    "cut JSON": answer(200, b'{"id": '),
}


@pytest.fixture
def contents(tmp_path: Path) -> Contents:
    (tmp_path / "model.safetensors").write_bytes(b"weights" * 100)
    card = make_card(ModelCard, ModelCardData(license="mit", tags=["hf-invwnn"]), "text")
    return Contents(card, {"model.safetensors": tmp_path / "model.safetensors", "config.json": b"{}"})


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[Misbehaving, str]]:
    """One server for all tests, because its end takes half a second."""
    hub = Misbehaving()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("server.Handler", FaultyHandler)
        server, url = start(hub)
    yield hub, url
    server.shutdown()
    server.server_close()


@pytest.fixture
def misbehaving(served: tuple[Misbehaving, str], monkeypatch: pytest.MonkeyPatch) -> Misbehaving:
    hub, url = served
    hub.reset()
    hub.fault, hub.times, hub.met, hub.slept = None, 10**6, 0, []
    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: hub.slept.append(seconds))
    return hub


def patience(hub: Misbehaving) -> Patience:
    return Patience(connect=0.5, read=0.15, retries=2, sleep=hub.slept.append)


def files_on(hub: Misbehaving) -> set[str]:
    repository = hub.repositories.get(("model", "ada/model"))
    return set() if repository is None else set(repository.branches["main"][-1].files) - {".gitattributes"}


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("request_kind", REQUESTS)
def test_a_push_to_a_hub_that_misbehaves_ends_in_time_with_one_clear_message(
    request_kind: str, fault: str, misbehaving: Misbehaving, contents: Contents
) -> None:
    misbehaving.fault, misbehaving.at = FAULTS[fault], REQUESTS[request_kind]
    began, message = time.monotonic(), None
    try:
        push(contents, "ada/model", token=TOKEN, patience=patience(misbehaving))
    except PushError as error:
        message = str(error)
    assert time.monotonic() - began < 6
    assert misbehaving.met > 0
    assert message is not None
    assert len(message) < 700 and TOKEN not in message and "\n" not in message and "Traceback" not in message
    assert files_on(misbehaving) == set(), "nothing is committed"


@pytest.mark.slow
def test_a_short_busy_spell_is_waited_for_at_every_request(
    misbehaving: Misbehaving, contents: Contents, caplog: pytest.LogCaptureFixture
) -> None:
    """As long as the server asks for, in seconds or until a date, with a word on what is waited for."""
    cases = [(429, "7"), (503, formatdate(time.time() + 60, usegmt=True)), (429, None)]
    for number, (kind, request) in enumerate(REQUESTS.items()):
        for status, wait in cases if kind in ("upload", "create") else [cases[number % 3]]:
            headers = {} if wait is None else {"Retry_After": wait}
            misbehaving.fault, misbehaving.at = answer(status, **headers), request
            misbehaving.times, misbehaving.met, misbehaving.slept = 1, 0, []
            misbehaving.repositories.clear()
            misbehaving.contents.clear()
            with caplog.at_level(logging.WARNING):
                push(contents, "ada/model", token=TOKEN, patience=patience(misbehaving))
            assert misbehaving.met == 1, kind
            assert len(misbehaving.slept) == (2 if kind == "upload" else 1), "an upload is repeated by huggingface_hub"
            low, high = {"7": (7, 8), None: (1, 1)}.get(wait, (30, 61))
            assert low <= misbehaving.slept[0] <= high, (kind, status, wait)
            assert files_on(misbehaving) == {"README.md", "config.json", "model.safetensors"}
    assert "The Hub is busy (429 to POST /api/repos/create); waiting 7 seconds, then trying again." in caplog.text


def lands_then(fault: Callable[[Any, bytes], bool]) -> Callable[[Any, bytes], bool]:
    """The commit is made, but its answer gets lost."""

    def after(handler: Any, body: bytes) -> bool:
        name = "/".join(handler.path.split("/")[3:5])
        repository = handler.hub.find("model", name, TOKEN)
        handler.hub.commit(repository, "main", [json.loads(line) for line in body.splitlines() if line])
        return fault(handler, body)

    return after


@pytest.mark.parametrize("fault", [close, hang, half, answer(500), answer(502, b"<html>"), answer(200, b"<html>")])
def test_a_commit_whose_answer_is_lost_is_looked_for_and_found(
    fault: Callable[[Any, bytes], bool], misbehaving: Misbehaving, contents: Contents, caplog: pytest.LogCaptureFixture
) -> None:
    misbehaving.fault, misbehaving.at = lands_then(fault), REQUESTS["commit"]
    misbehaving.times = 1
    with caplog.at_level(logging.WARNING):
        commit = push(contents, "ada/model", token=TOKEN, patience=patience(misbehaving))
    tip = misbehaving.repositories[("model", "ada/model")].branches["main"][-1]
    assert commit.oid == tip.sha and commit.commit_url.endswith(f"/ada/model/commit/{tip.sha}")
    assert "the commit has landed" in caplog.text
    assert len(misbehaving.repositories[("model", "ada/model")].branches["main"]) == 2, "and is not made twice"


def test_a_commit_of_somebody_else_is_not_taken_for_ours(misbehaving: Misbehaving, contents: Contents) -> None:
    def another_lands(handler: Any, body: bytes) -> bool:
        repository = handler.hub.find("model", "ada/model", TOKEN)
        handler.hub.commit(
            repository, "main", [{"key": "header", "value": {"summary": "other"}},
                                 {"key": "file", "value": {"path": "other.txt", "content": "eA=="}}],
        )  # fmt: skip
        return close(handler, body)

    misbehaving.fault, misbehaving.at = another_lands, REQUESTS["commit"]
    with pytest.raises(CommitUnknownError, match="the branch has changed to something else meanwhile"):
        push(contents, "ada/model", token=TOKEN, patience=patience(misbehaving))


def test_a_commit_that_cannot_be_looked_for_is_said_to_be_unknown(
    misbehaving: Misbehaving, contents: Contents
) -> None:
    def lands_and_dies(handler: Any, body: bytes) -> bool:
        handler.hub.fail_at = 1
        return lands_then(close)(handler, body)

    misbehaving.fault, misbehaving.at = lands_and_dies, REQUESTS["commit"]
    with pytest.raises(CommitUnknownError, match=r"it is not known whether it has landed\. Look at the repository"):
        push(contents, "ada/model", token=TOKEN, patience=patience(misbehaving))


@pytest.mark.parametrize(
    ("endpoint", "cause"),
    [
        ("http://127.0.0.1:{port}", "Connection refused"),
        ("http://no-such-host.invalid", "Name or service not known|Temporary failure|No address|nodename"),
        ("https://127.0.0.1:{open_port}", "SSL|TLS|record layer|WRONG_VERSION"),
    ],
)
def test_the_cause_beneath_a_refused_connection_is_shown(
    endpoint: str, cause: str, misbehaving: Misbehaving, contents: Contents, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    open_port = constants.ENDPOINT.rpartition(":")[2]
    monkeypatch.setattr(constants, "ENDPOINT", endpoint.format(port=port, open_port=open_port))
    with pytest.raises(PushError, match=cause):
        push(contents, "ada/model", token=TOKEN, patience=patience(misbehaving))


def test_a_server_without_xet_gets_a_word_on_xet(
    misbehaving: Misbehaving, contents: Contents, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With Xet on, the first upload asks such a server for a token that it does not know of."""

    misbehaving.fault, misbehaving.at = (
        answer(404, b"{}", X_Error_Message="no route xet-write-token"),
        REQUESTS["batch"],
    )
    with pytest.raises(PushError, match="HF_HUB_DISABLE_XET=1"):
        push(contents, "ada/model", token=TOKEN, patience=patience(misbehaving))


def test_requests_are_made_as_before_after_a_push(misbehaving: Misbehaving, contents: Contents) -> None:
    from huggingface_hub.utils import _http

    before = _http._GLOBAL_CLIENT_FACTORY
    push(contents, "ada/model", token=TOKEN, patience=patience(misbehaving))
    assert _http._GLOBAL_CLIENT_FACTORY is before
    assert not hasattr(_http.get_session().send, "__wrapped__")
    assert "send" not in vars(_http.get_session())

"""A Hub on the loopback address, and clients in their own processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from finished_runs import finished_run, marked_splits  # noqa: F401
from server import Hub, start


@dataclass
class TestHub:
    """
    The server that clients push to: our own, or that of INVWNN_TEST_HUB with the account INVWNN_TEST_USER and its
    token INVWNN_TEST_TOKEN. `own` skips tests that need our own.
    """

    __test__ = False
    url: str
    hub: Hub | None
    user: str = "ada"
    token: str = "hf_ada"

    @property
    def own(self) -> Hub:
        if self.hub is None:
            pytest.skip("needs a server that can fail on demand and stores the requests")
        return self.hub

    def name(self) -> str:
        return f"{self.user}/test-{uuid.uuid4().hex[:10]}"


@pytest.fixture(scope="session")
def hub() -> Iterator[TestHub]:
    if other := os.environ.get("INVWNN_TEST_HUB"):
        yield TestHub(other, None, os.environ["INVWNN_TEST_USER"], os.environ["INVWNN_TEST_TOKEN"])
        return
    known = Hub()
    server, url = start(known)
    yield TestHub(url, known)
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def answering(hub: TestHub) -> None:
    """Clears the failures that an earlier test asked the server for."""
    if hub.hub is not None:
        hub.hub.fail_at = hub.hub.fail_on = None


Client = Callable[..., dict[str, Any]]


@pytest.fixture
def client(hub: TestHub, tmp_path: Path) -> Client:
    """`client(code, token=...)` runs code in a fresh interpreter and returns the dictionary `results` it fills."""

    def run(code: str, token: str | None = hub.token, **names: Any) -> dict[str, Any]:
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING"))}
        environment |= {
            "HF_ENDPOINT": hub.url,
            "HF_HOME": str(tmp_path / "hf_home"),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "OMP_NUM_THREADS": "1",
            "NO_PROXY": "127.0.0.1",
        }
        if token is not None:
            environment["HF_TOKEN"] = token
        lines = [f"{name} = {value!r}" for name, value in names.items()]
        file = tmp_path / f"{uuid.uuid4().hex}.json"
        program = "\n".join(
            [
                "import json, time",
                "time.sleep = lambda seconds: None",  # huggingface_hub sleeps between retries
                "results = {}",
                *lines,
                code,
                f"open({str(file)!r}, 'w').write(json.dumps(results))",
            ]
        )
        ended = subprocess.run(
            [sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=240
        )
        assert ended.returncode == 0, ended.stderr
        return {**json.loads(file.read_text()), "output": ended.stdout + ended.stderr}

    return run

"""The app shows the predictions at each point of a run, also in a browser; trackio shows a run while it goes on."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from finished_runs import FORGET, finished_run, marked_splits  # noqa: F401
from gradio_client import Client
from helpers import differing
from transformers import AutoImageProcessor, AutoModelForImageClassification
from websockets.sync.client import connect

from hf_invwnn.image_classification import ImageTensors
from hf_invwnn.scenarios import UnlearningSplits


ROOT = Path(__file__).parents[2]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def recipe() -> Iterator[ModuleType]:
    sys.path.insert(0, str(ROOT / "recipes" / "space"))
    yield import_module("app")
    sys.path.remove(str(ROOT / "recipes" / "space"))


@pytest.fixture(scope="module")
def bundles(recipe: ModuleType, finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:  # noqa: F811
    folder = tmp_path_factory.mktemp("bundles")
    recipe.build_bundle(finished_run, folder / "digits")
    return folder


@pytest.fixture(scope="module")
def address(recipe: ModuleType, bundles: Path) -> Iterator[str]:
    app = recipe.make_app([bundles / "digits"])
    _, url, _ = app.launch(server_name="127.0.0.1", prevent_thread_lock=True, quiet=True, css=recipe.STYLE)
    yield url
    app.close()


@pytest.mark.slow
def test_a_bundle_repeats_the_run(bundles: Path, finished_run: Path) -> None:  # noqa: F811
    """Its first and last model are those of the run, bit for bit."""
    record = json.loads((finished_run / "unlearning.json").read_text())
    history = json.loads((bundles / "digits" / "history.json").read_text())
    assert [point["ua"] for point in history] == [point["ua"] for point in record["history"]]
    points = sorted((bundles / "digits" / "points").iterdir())
    assert len(points) == len(history) == 3
    for point, folder in ((points[0], finished_run / "_private" / "original"), (points[-1], finished_run)):
        model, expected = (AutoModelForImageClassification.from_pretrained(path) for path in (point, folder))
        assert differing(model.state_dict(), expected.state_dict()) == []
    with pytest.raises(FileExistsError, match="is not empty"):
        import_module("app").build_bundle(finished_run, bundles / "digits")


@pytest.mark.slow
def test_each_point_shows_what_its_model_predicts(
    address: str,
    bundles: Path,
    marked_splits: UnlearningSplits,  # noqa: F811
) -> None:
    """Compares answers over HTTP with the softmax of the model of the point."""
    client = Client(address, verbose=False)
    processor = AutoImageProcessor.from_pretrained(bundles / "digits", backend="pil")
    forget = ImageTensors.from_dataset(marked_splits.forget, processor)
    for point in (0, 1, 2):
        summary, curve, sides = client.predict(str(bundles / "digits"), point, api_name="/show")
        assert f"**Round {point}**" in summary and curve.count("<svg") == 1
        forgotten, retained = sides.split("<h3>")[1:]
        rows = re.findall(r"<tr>(.*?)</tr>", forgotten)[1:]
        assert len(rows) == len(FORGET) and len(re.findall("<img", retained)) == 24
        model = AutoModelForImageClassification.from_pretrained(bundles / "digits" / "points" / f"{point:02d}")
        with torch.no_grad():
            shares = model(forget.pixel_values).logits.softmax(-1).numpy()
        for row, share, label in zip(rows, shares, forget.labels.tolist(), strict=True):
            cells = re.findall(r'<td class="(\S+)">(\d) <small>([\d.]+)</small></td>', row)
            kind, predicted, confidence = cells[1]  # original, this point, retrained
            assert int(predicted) == int(np.argmax(share))
            assert float(confidence) == pytest.approx(share[label], abs=0.006)
            assert kind == ("as-labelled" if np.argmax(share) == label else "other")


class Browser:
    """A page in headless Chromium, controlled through its debugging protocol."""

    def __init__(self, url: str, profile: Path) -> None:
        words = ["--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0", "--window-size=1100,1500"]
        command = [str(CHROMIUM), *words, f"--user-data-dir={profile}", "about:blank"]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert self.process.stderr is not None
        port = next(match[1] for line in self.process.stderr if (match := re.search(r"127\.0\.0\.1:(\d+)/", line)))
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json") as answer:
            page = next(tab for tab in json.load(answer) if tab["type"] == "page")
        self.socket = connect(page["webSocketDebuggerUrl"], max_size=None)
        self.number, self.errors = 0, []
        for domain in ("Runtime", "Page", "Log"):
            self.call(f"{domain}.enable")
        self.call("Page.navigate", url=url)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self.number += 1
        self.socket.send(json.dumps({"id": self.number, "method": method, "params": parameters}))
        while True:
            answer = json.loads(self.socket.recv(timeout=30))
            if answer.get("method") == "Runtime.exceptionThrown":
                self.errors.append(answer["params"]["exceptionDetails"].get("text", "exception"))
            if answer.get("id") == self.number:
                return answer.get("result", {})

    def wait_for(self, text: str, seconds: float = 30) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            page = self.call("Runtime.evaluate", expression="document.body ? document.body.innerText : ''")
            if text in page["result"].get("value", ""):
                return
            time.sleep(0.2)
        raise AssertionError(f"the page did not show {text!r} within {seconds} seconds")

    def close(self) -> None:
        self.socket.close()
        self.process.terminate()
        self.process.wait(timeout=20)


MOVE = """
const slider = document.querySelector('input[type=range]');
Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, 'value').set.call(slider, '1');
for (const kind of ['input', 'change', 'pointerup']) slider.dispatchEvent(new Event(kind, {bubbles: true}));
"""


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no browser is installed; the test above does the same over HTTP")
def test_the_slider_changes_the_point_in_a_browser(address: str, tmp_path: Path) -> None:
    browser = Browser(address, tmp_path / "profile")
    try:
        browser.wait_for("Round 2")
        browser.wait_for("Forgotten")
        browser.call("Runtime.evaluate", expression=MOVE)
        browser.wait_for("Round 1")
        picture = base64.b64decode(browser.call("Page.captureScreenshot")["data"])
        assert len(picture) > 20_000, "the page is empty"
        assert browser.errors == []
    finally:
        browser.close()


TRACKED_RUN = """
import json
import sys
sys.path.insert(0, {tests!r})
import torch
from helpers import Examples, build_model, build_unlearner
from trackio.sqlite_storage import SQLiteStorage

torch.manual_seed(0)
forget, unseen = (
    Examples(pixel_values=torch.randn(8, 1, 8, 8), labels=torch.arange(8)) for _ in range(2)
)
options = dict(output_dir={folder!r}, eval_dataset=unseen, num_snapshots=2, num_rewinds=3)
options |= dict(max_unseen_loss_rise=100.0, max_unseen_accuracy_drop=1.0)
unlearner = build_unlearner(build_model("vit"), forget, report_to="trackio", project="p", run_name="r", **options)
unlearner.train()
print(json.dumps([SQLiteStorage.get_logs("p", "r"), unlearner.history]))
"""


@pytest.mark.slow
def test_trackio_logs_rounds_ua_and_unseen_loss(tmp_path: Path) -> None:
    """Needs only `report_to="trackio"`, and no network."""
    code = TRACKED_RUN.format(tests=str(ROOT / "tests"), folder=str(tmp_path / "out"))
    environment = {**os.environ, "TRACKIO_DIR": str(tmp_path / "trackio"), "HF_HUB_OFFLINE": "1"}
    ended = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120, cwd=tmp_path
    )
    assert ended.returncode == 0, ended.stderr
    logs, history = json.loads(ended.stdout.splitlines()[-1])

    def logged(name: str) -> list[float]:
        keys = {key.replace("/", "_"): key for log in logs for key in log}
        return [log[keys[name]] for log in logs if keys.get(name) in log]

    assert logged("train_round") == [0, 1, 2, 3]
    assert logged("train_ua") == pytest.approx([point["ua"] for point in history])
    assert logged("eval_unseen_loss") == pytest.approx([point["eval_unseen_loss"] for point in history])

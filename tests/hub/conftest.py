"""A Hub on the loopback address, clients in processes of their own, and a finished run to push."""

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
from datasets import ClassLabel, Dataset, Features, Image, Value
from helpers import build_unlearner
from server import Hub, start
from sklearn.datasets import load_digits
from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessorPil

from hf_invwnn.image_tensors import ImageTensors
from hf_invwnn.metrics import judge_model
from hf_invwnn.metrics.judge import classify
from hf_invwnn.private_files import example_results, keep_private
from hf_invwnn.scenarios import UnlearningSplits


MARK = "MARKED-photo-of-alice"
FORGET = (3, 17, 29, 41, 58, 71)


@dataclass
class TestHub:
    """
    Where a client pushes to: our own server, or the one that INVWNN_TEST_HUB names, with a token of INVWNN_TEST_TOKEN
    that may write as INVWNN_TEST_USER. What only our own can do is behind `own`.
    """

    __test__ = False
    url: str
    hub: Hub | None
    user: str = "ada"
    token: str = "hf_ada"

    @property
    def own(self) -> Hub:
        if self.hub is None:
            pytest.skip("needs a server that can be told to fail and knows what it received")
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
    """Whatever an earlier test told the server, it answers."""
    if hub.hub is not None:
        hub.hub.fail_at = None


Client = Callable[..., dict[str, Any]]


@pytest.fixture
def client(hub: TestHub, tmp_path: Path) -> Client:
    """`client(code, token=...)`: what a fresh interpreter with that token makes of `found`, a dictionary."""

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
        result = tmp_path / f"{uuid.uuid4().hex}.json"
        program = "\n".join(
            [
                "import json, time",
                "time.sleep = lambda seconds: None",  # huggingface_hub waits between its tries
                "found = {}",
                *lines,
                code,
                f"open({str(result)!r}, 'w').write(json.dumps(found))",
            ]
        )
        ended = subprocess.run(
            [sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=240
        )
        assert ended.returncode == 0, ended.stderr
        return {**json.loads(result.read_text()), "output": ended.stdout + ended.stderr}

    return run


@pytest.fixture(scope="session")
def marked_splits() -> UnlearningSplits:
    """120 digits with file names; those to forget are named after a person."""
    digits = load_digits()
    rows = range(120)
    names = [f"{MARK}-{row:04d}.png" if row in FORGET else f"digit-{row:04d}.png" for row in rows]
    features = Features({"image": Image(), "label": ClassLabel(num_classes=10), "file_name": Value("string")})
    images = [(digits.images[row] * 15).astype("uint8") for row in range(200)]
    train = {"image": images[:120], "label": digits.target[:120].tolist(), "file_name": names}
    test = {"image": images[120:], "label": digits.target[120:200].tolist(), "file_name": ["digit.png"] * 80}
    datasets = [Dataset.from_dict(columns, features=features) for columns in (train, test)]
    return UnlearningSplits.from_indices(
        datasets[0],
        FORGET,
        validation=datasets[1].select([]),
        test=datasets[1],
        scenario="given_indices",
        settings={"who": MARK},
    )


@pytest.fixture(scope="session")
def finished_run(marked_splits: UnlearningSplits, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of an unlearner, saved with all that belongs to it, and with checkpoints."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    processor = ViTImageProcessorPil(size={"height": 8, "width": 8})
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    config = ViTConfig(image_size=8, patch_size=4, **sizes)
    config.num_labels = 10
    models = {name: ViTForImageClassification(config).eval() for name in ("before", "after", "oracle")}
    models["after"].load_state_dict(models["before"].state_dict())
    sets = {
        name: ImageTensors.from_dataset(getattr(marked_splits, name), processor)
        for name in ("forget", "retain", "test")
    }
    unlearner = build_unlearner(
        models["after"],
        sets["forget"],
        output_dir=str(folder),
        eval_dataset={"test": sets["test"]},
        num_rewinds=2,
        num_snapshots=3,
        learning_rate=1e-2,
        save_strategy="steps",
        save_steps=2,
        disable_tqdm=True,
    )
    unlearner.train()
    unlearner.save_model()
    processor.save_pretrained(folder)
    outcomes = {name: classify(model, sets["forget"]) for name, model in models.items()}
    keep_private(
        folder,
        marked_splits,
        {name: (models[name], processor) for name in ("before", "oracle")},
        example_results(marked_splits.forget_indices, outcomes),
    )
    unlearner.save_record(
        splits=marked_splits,
        metrics={name: judge_model(model, sets) for name, model in models.items()},
        oracle_used=False,
        license="apache-2.0",
    )
    return folder

"""The metrics as `evaluate` modules equal the functions; loading needs no network and works in several processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import hf_invwnn.metrics as metrics


# One interpreter, because imports take longest. It checks what the packages import; then two forked processes load the
# same scripts into the same empty cache. Any connection is an error, also if a library ignores the offline flag.
SCRIPT = """
import json, os, socket, sys
import hf_invwnn.metrics, hf_invwnn.scenarios
heavy = [name for name in ("sklearn", "evaluate", "transformers.trainer") if name in sys.modules]
assert not heavy, f"importing metrics and scenarios imports {heavy}"

def refuse(*args, **kwargs):
    raise AssertionError("a metric opened a connection")

socket.socket.connect = refuse
socket.create_connection = refuse
import evaluate
from hf_invwnn.metrics import MODULES, load, metric_path

child = os.fork()
for name in MODULES:
    load(name)
splits = ["forget"] * 4 + ["retain"] * 4 + ["test"] * 4
values = [i / 12 for i in range(12)]
with open("child.json" if child == 0 else "parent.json", "w") as file:
    json.dump([
        evaluate.load(metric_path("loss_auc")).compute(losses=values, splits=splits, num_bootstrap=50),
        load("membership_inference").compute(confidences=values, splits=splits, seed=1),
    ], file)
if child:
    assert os.waitpid(child, 0)[1] == 0, "the forked process failed"
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_light_imports_then_offline_loading_by_two_processes_at_once(tmp_path):
    environment = os.environ | {
        "HF_HUB_OFFLINE": "1",
        "HF_EVALUATE_OFFLINE": "1",
        "HF_HOME": str(tmp_path / "home"),
        "PYTHONPATH": os.pathsep.join([str(Path(metrics.__file__).parents[2]), os.environ.get("PYTHONPATH", "")]),
    }
    command = [sys.executable, "-c", SCRIPT]
    result = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    splits = ["forget"] * 4 + ["retain"] * 4 + ["test"] * 4
    values = [i / 12 for i in range(12)]
    expected = [
        metrics.loss_auc(values, splits, num_bootstrap=50),
        metrics.membership_inference(values, splits, seed=1),
    ]
    assert json.loads((tmp_path / "parent.json").read_text()) == expected
    assert json.loads((tmp_path / "child.json").read_text()) == expected


def test_modules_equal_their_functions_and_survive_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr("evaluate.config.HF_METRICS_CACHE", str(tmp_path))
    accuracy = metrics.load("unlearning_accuracy")
    assert accuracy.name == "unlearning_accuracy" and "UA = 100" in accuracy.inputs_description
    with pytest.raises(ValueError, match=r"`splits` must be of .* got \['train'\]"):
        accuracy.compute(predictions=[1], references=[1], splits=["train"])
    for prediction, split in [(1, "forget"), (0, "forget"), (1, "test")]:
        accuracy.add_batch(predictions=[prediction], references=[1], splits=[split])
    assert accuracy.compute() == {"UA": 50.0, "TA": 100.0}

    distance = metrics.load("retraining_distance")
    arguments = {
        "predictions": [8.0, 92.0, 85.0, 31.0],
        "references": [8.5, 99.0, 91.0, 29.0],
        "names": ["UA", "RA", "TA", "MIA"],
    }
    assert distance.compute(**arguments) == metrics.retraining_distance(**arguments)


def test_an_unknown_metric_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"`name` must be one of .*'membership_inference'.* got 'mia'"):
        metrics.load("mia")

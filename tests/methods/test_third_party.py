"""A method of another package is installed, found by its entry point, and forgets."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest


ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "recipes" / "third_party_method"

UNLEARN = """
import json
import math
import torch
from helpers import Examples, build_model
from hf_invwnn import UnlearningArguments
from hf_invwnn.methods import make_unlearner, method_names

torch.manual_seed(0)
forget = Examples(pixel_values=torch.randn(16, 1, 8, 8), labels=torch.zeros(16, dtype=torch.long))
model = build_model("vit")
with torch.no_grad():
    model.classifier.bias[0] = 4  # the model predicts class 0 for everything
args = UnlearningArguments(
    "out", num_rewinds=20, num_snapshots=2, learning_rate=1e-2, use_cpu=True, report_to="none", disable_tqdm=True,
    save_strategy="no", logging_strategy="no",
)
unlearner = make_unlearner("uniform", model, args, forget)
unlearner.train()
first, last = unlearner.history[0], unlearner.history[-1]
result = {"names": method_names(), "title": unlearner.title, "module": type(unlearner).__module__}
result |= {"before": first["eval_forget_loss"], "after": last["eval_forget_loss"], "uniform": math.log(10)}
print(json.dumps(result))
"""


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Installs the package offline into a folder of its own, and unlearns with it in a new process."""
    folder = tmp_path_factory.mktemp("third_party")
    source, installed = folder / "source", folder / "installed"
    shutil.copytree(PACKAGE, source)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    offline = ["--no-index", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, *offline, "--target", installed, source], check=True, timeout=120)
    path = os.pathsep.join(map(str, (installed, ROOT, ROOT / "tests")))
    environment = {**os.environ, "PYTHONPATH": path, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", UNLEARN]
    ended = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout.splitlines()[-1])


@pytest.mark.slow
def test_the_method_of_another_package_is_found_by_name(result: dict[str, Any]) -> None:
    assert result["names"][0] == "invwnn" and result["names"][-1] == "uniform"
    assert (result["module"], result["title"]) == ("uniform_unlearner", "Uniform")


@pytest.mark.slow
def test_it_ends_at_the_uniform_prediction(result: dict[str, Any]) -> None:
    assert result["before"] < 0.5
    assert result["after"] == pytest.approx(result["uniform"], abs=0.1)

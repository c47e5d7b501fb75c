"""`import hf_invwnn` is light, needs no torchvision, and makes the predictor known to transformers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest


HEAVY = (
    "datasets",
    "diffusers",
    "evaluate",
    "h5py",
    "matplotlib",
    "sklearn",
    "torchvision",
    "transformers.trainer",
)

# One interpreter for all that is asked after an import, which takes seconds: mostly those of torch and transformers.
AFTER_THE_IMPORT = f"""
import json, sys
import hf_invwnn
heavy = [name for name in {HEAVY} if name in sys.modules]
from transformers import AutoConfig, AutoModel
config = AutoConfig.for_model("invwnn", num_snapshots=5)
auto = [type(config).__name__, type(AutoModel.from_config(config)).__name__]
listed = set(dir(hf_invwnn))
missing = [name for name in hf_invwnn.__all__ if name not in listed or getattr(hf_invwnn, name, None) is None]
print(json.dumps(dict(heavy=heavy, auto=auto, missing=missing, trainer="transformers.trainer" in sys.modules)))
"""


def python(code: str, cwd: Path) -> str:
    """What a fresh interpreter prints, far from the checkout and without a network."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=cwd, env=environment, capture_output=True, text=True, timeout=120
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.strip()


@pytest.fixture(scope="module")
def after_the_import(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return json.loads(python(AFTER_THE_IMPORT, tmp_path_factory.mktemp("elsewhere")))


def test_importing_the_package_loads_nothing_heavy(after_the_import: dict[str, Any]) -> None:
    assert after_the_import["heavy"] == []


def test_every_public_name_loads_when_it_is_used(after_the_import: dict[str, Any]) -> None:
    """Also the Trainer, which was not there before."""
    assert after_the_import["missing"] == []
    assert after_the_import["trainer"]


def test_the_predictor_is_known_to_auto_classes_after_the_import(after_the_import: dict[str, Any]) -> None:
    assert after_the_import["auto"] == ["InvWNNConfig", "InvWNNModel"]


def test_an_unknown_name_is_an_attribute_error() -> None:
    import hf_invwnn

    with pytest.raises(AttributeError, match="'hf_invwnn' has no attribute 'Unlearner'"):
        _ = hf_invwnn.Unlearner


def test_it_unlearns_where_torchvision_cannot_be_imported(tmp_path: Path) -> None:
    """As on a machine with the CPU build of torch, for which there is no torchvision."""
    code = """
import sys
sys.modules["torchvision"] = None
import torch
from transformers import ViTConfig, ViTForImageClassification
from hf_invwnn import InvWNNUnlearner, LinearPredictor, UnlearningArguments
import hf_invwnn.cli.main, hf_invwnn.cli.demo, hf_invwnn.metrics, hf_invwnn.report, hf_invwnn.scenarios
sizes = dict(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8)
model = ViTForImageClassification(ViTConfig(image_size=8, patch_size=4, num_channels=1, num_labels=3, **sizes))
forget = [{"pixel_values": torch.randn(1, 8, 8), "labels": index % 3} for index in range(6)]
args = UnlearningArguments("out", num_rewinds=1, num_snapshots=2, use_cpu=True, report_to="none", disable_tqdm=True)
trainer = InvWNNUnlearner(model, args, forget, predictor=LinearPredictor())
trainer.train()
print("rewinds:", trainer.run_state.rounds)
"""
    assert python(code, tmp_path).endswith("rewinds: 1")

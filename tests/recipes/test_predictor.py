"""The predictor's recipes: histories that go on where they stopped, and a predictor with its table made from them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from hf_invwnn import InvWNNModel


ROOT = Path(__file__).parents[2]
RECIPES = ROOT / "recipes" / "predictor"
# Of every run as little as a window of K + U = 3 + 2 needs.
COLLECT = ["--architectures", "resnet", "cnn", "convnext", "--ordinary", "1", "--counterfactual", "1", "--epochs", "6"]
COLLECT += ["--examples", "40", "60", "--weights_per_parameter", "4", "--num_snapshots", "3"]


def run(recipe: str, *words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 1)  # one thread, as each of two processes has on two cores
    monkeypatch.syspath_prepend(str(RECIPES))
    monkeypatch.setattr(sys, "argv", [f"{recipe}.py", *words])
    import_module(recipe).main()


@pytest.fixture(scope="module")
def histories(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("histories")
    with pytest.MonkeyPatch.context() as patch:
        run("collect_histories", "--output_dir", str(folder), *COLLECT, monkeypatch=patch)
    return folder


def test_a_collection_goes_on_where_it_stopped(histories: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is there is not made again, and what is made again is what it was."""
    files = sorted(histories.glob("*.parquet"))
    assert len(files) == 6 and not list(histories.glob("*.tmp"))
    times, lost = {path: path.stat().st_mtime_ns for path in files[1:]}, pq.read_table(files[0])
    files[0].unlink()
    run("collect_histories", "--output_dir", str(histories), *COLLECT, monkeypatch=monkeypatch)
    assert {path: path.stat().st_mtime_ns for path in files[1:]} == times
    assert pq.read_table(files[0]).equals(lost)


@pytest.mark.slow
def test_two_processes_share_the_runs_of_one(histories: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2"]
    words = [str(RECIPES / "collect_histories.py"), "--output_dir", str(tmp_path), *COLLECT]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    ended = subprocess.run([*command, *words], capture_output=True, text=True, timeout=300, env=environment)
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr.count("6 runs kept, 0 dropped") == 1, "only the first process says so, when all have ended"
    one, two = (sorted(folder.glob("*.parquet")) for folder in (histories, tmp_path))
    assert [path.name for path in one] == [path.name for path in two]
    for own, shared in zip(one, two, strict=True):
        assert pq.read_table(own).equals(pq.read_table(shared)), own.name


def test_a_predictor_is_trained_and_judged_on_families_it_has_not_seen(
    histories: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the configuration of the shipped one says, but for sizes; another predictor stands beside it."""
    run(
        "train_predictor",
        *("--config", str(RECIPES / "configs" / "base.yaml"), "--histories", str(histories)),
        *("--validation", "cnn x digits", "--test", "convnext x digits", "--compare", "line=linear"),
        *("--num_snapshots", "3", "--rewind_epochs", "2", "--hidden_size", "8", "--windows_per_family", "50"),
        *("--num_train_epochs", "1", "--output_dir", str(tmp_path)),
        monkeypatch=monkeypatch,
    )
    model = InvWNNModel.from_pretrained(tmp_path)
    assert (model.num_snapshots, model.config.rewind_epochs, model.config.target) == (3, 2, "past")
    skill = json.loads((tmp_path / "skill.json").read_text())
    assert {row["predictor"] for row in skill["relative L1, past"]} == {"ours", "best line", "line"}
    assert all(set(row["families"]) == {"convnext x digits"} for row in skill["relative L1, past"])
    assert "| relative L1, past | conv | ours |" in (tmp_path / "skill.md").read_text()
    assert "windows of conv weights" in (tmp_path / "trained_on.md").read_text()

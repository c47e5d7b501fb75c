"""`hf-invwnn push` refuses a folder that is incomplete or changed before it sends anything."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from hf_invwnn.cli.main import EXIT_BAD_INPUT, main


def edit_record(run: Path, **changes: object) -> None:
    record = json.loads((run / "unlearning.json").read_text())
    (run / "unlearning.json").write_text(json.dumps({**record, **changes}))


BROKEN = {
    "missing weights": (lambda run: (run / "model.safetensors").unlink(), "holds no weights"),
    "a missing file": (lambda run: (run / "config.json").unlink(), "lacks config.json"),
    "an edited file": (lambda run: (run / "config.json").write_text("{}"), "config.json differs from the SHA-256"),
    "added weights": (
        lambda run: (run / "adapter_model.safetensors").write_text("x"),
        "holds weights that are not in its unlearning.json: adapter_model",
    ),
    "an empty file": (lambda run: (run / "preprocessor_config.json").write_text(""), "holds empty files"),
    "version 1": (
        lambda run: edit_record(run, format_version=1),
        "has format_version 1, this version of hf-invwnn reads 4",
    ),
    "a later version": (lambda run: edit_record(run, format_version=99), "has format_version 99"),
    "a damaged record": (lambda run: (run / "unlearning.json").write_text("{"), "cannot be read as JSON"),
    "a record that is a list": (lambda run: (run / "unlearning.json").write_text("[]"), "must hold a JSON object"),
    "a cut record": (lambda run: (run / "unlearning.json").write_text('{"format_version": 4}'), "lacks outcome"),
    "no record": (lambda run: (run / "unlearning.json").unlink(), "holds neither a finished run"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_an_incomplete_or_changed_run_is_refused(
    what: str, finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before any request: the tests run offline."""
    monkeypatch.setenv("HF_TOKEN", "hf_any")
    run = tmp_path / "run"
    shutil.copytree(finished_run, run)
    damage, match = BROKEN[what]
    damage(run)
    assert main(["push", str(run), "ada/model"]) == EXIT_BAD_INPUT
    assert match in capsys.readouterr().err


def test_indices_of_another_run_are_not_published(
    finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_any")
    run = tmp_path / "run"
    shutil.copytree(finished_run, run)
    path = run / "_private" / "splits" / "splits.json"
    splits = json.loads(path.read_text())
    path.write_text(json.dumps({**splits, "forget_indices": [1, 2, 3]}))
    assert main(["push", str(run), "ada/model", "--publish-indices"]) == EXIT_BAD_INPUT
    assert "are not those of the run" in capsys.readouterr().err


def test_offline_mode_is_named(
    finished_run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_any")
    assert main(["push", str(finished_run), "ada/model"]) == EXIT_BAD_INPUT
    assert "HF_HUB_OFFLINE is set" in capsys.readouterr().err

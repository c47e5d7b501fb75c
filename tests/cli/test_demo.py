"""`hf-invwnn demo`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from transformers import AutoImageProcessor, AutoModelForImageClassification

from hf_invwnn.cli import demo
from hf_invwnn.cli.main import EXIT_BAD_INPUT, main


@pytest.mark.slow
def test_the_demo_saves_results_curves_and_a_model_that_loads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The whole demo, with training of a few epochs and a recovery of a few steps."""
    monkeypatch.setattr(demo, "EPOCHS", 3)
    monkeypatch.setattr(demo, "TARGET_UA", 95.0)
    monkeypatch.setattr(demo, "MOST_REWINDS", 3)
    monkeypatch.setattr(demo, "RECOVERY_STEPS", 5)
    assert main(["demo", "--output-dir", str(tmp_path)]) == 0
    results = json.loads((tmp_path / "results.json").read_text())
    for model in ("original", "unlearned", "retrained"):
        assert {"RA", "UA", "TA", "MIA"} <= results[model].keys()
    assert (tmp_path / "curves.png").stat().st_size > 10_000
    loaded = AutoModelForImageClassification.from_pretrained(tmp_path)
    assert loaded.config.num_labels == 10
    AutoImageProcessor.from_pretrained(tmp_path)
    output = capsys.readouterr().out
    assert (tmp_path / "results.md").read_text() in output
    for word in ("original", "unlearned", "retrained", "RA", "UA", "TA", "MIA", "seconds", "Stopped"):
        assert word in output


@pytest.mark.slow
def test_the_results_of_the_demo_contain_no_forget_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "EPOCHS", 1)
    monkeypatch.setattr(demo, "RECOVERY_STEPS", 5)
    monkeypatch.setattr(demo, "MOST_REWINDS", 3)
    main(["demo", "--output-dir", str(tmp_path)])
    assert "forget_indices" not in (tmp_path / "results.json").read_text()


def test_an_output_directory_that_cannot_be_written_to_is_refused_before_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert main(["demo", "--output-dir", str(tmp_path / "file" / "folder")]) == EXIT_BAD_INPUT
    assert "`output_dir` cannot be written to" in capsys.readouterr().err


def test_a_negative_seed_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--output-dir", str(tmp_path), "--seed", "-1"]) == EXIT_BAD_INPUT
    assert "`seed`" in capsys.readouterr().err

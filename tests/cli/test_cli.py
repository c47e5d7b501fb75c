"""The command line does what its help says, and bad input ends with a message and an exit code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from transformers import AutoImageProcessor, AutoModelForImageClassification

from hf_invwnn import InvWNNModel
from hf_invwnn.cli import demo
from hf_invwnn.cli.main import EXIT_BAD_INPUT, build_parser, main


def test_the_demo_writes_results_picture_and_a_model_that_loads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The whole path of the demo, with training cut to a few epochs."""
    monkeypatch.setattr(demo, "EPOCHS", 3)
    assert main(["demo", "--output_dir", str(tmp_path)]) == 0
    results = json.loads((tmp_path / "results.json").read_text())
    for model in ("pretrained", "unlearned", "retrained"):
        assert {"RA", "UA", "TA", "MIA"} <= results[model].keys()
    assert (tmp_path / "curves.png").stat().st_size > 10_000
    loaded = AutoModelForImageClassification.from_pretrained(tmp_path)
    assert loaded.config.num_labels == 10
    AutoImageProcessor.from_pretrained(tmp_path)
    shown = capsys.readouterr().out
    for word in ("pretrained", "unlearned", "retrained", "RA", "UA", "TA", "MIA", "time", "Stopped"):
        assert word in shown


def test_the_demo_keeps_no_forget_index_in_what_it_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "EPOCHS", 1)
    main(["demo", "--output_dir", str(tmp_path)])
    assert "forget_indices" not in (tmp_path / "results.json").read_text()


def test_a_place_that_cannot_be_written_to_is_refused_before_any_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert main(["demo", "--output_dir", str(tmp_path / "file" / "folder")]) == EXIT_BAD_INPUT
    assert "`output_dir` cannot be written to" in capsys.readouterr().err


def test_a_negative_seed_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--output_dir", str(tmp_path), "--seed", "-1"]) == EXIT_BAD_INPUT
    assert "`seed`" in capsys.readouterr().err


def test_convert_keras_saves_a_predictor(tmp_path: Path, keras_files: dict[str, Path]) -> None:
    words = [word for kind, path in keras_files.items() for word in (f"--{kind}", str(path))]
    assert main(["convert-keras", *words, "--output_dir", str(tmp_path / "predictor")]) == 0
    assert InvWNNModel.from_pretrained(tmp_path / "predictor").num_snapshots == 15


def test_convert_keras_names_a_file_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--conv", "nowhere.h5", "--linear", "nowhere.h5", "--bias", "nowhere.h5"]
    assert main(["convert-keras", *words, "--output_dir", str(tmp_path)]) == EXIT_BAD_INPUT
    assert "nowhere.h5" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "flags"),
    [
        ("demo", ["--output_dir", "--seed", "--predictor"]),
        ("convert-keras", ["--conv", "--linear", "--bias", "--output_dir"]),
        ("push", ["FOLDER", "REPO", "--private", "--revision", "--publish-indices", "--license"]),
        ("report", ["RUN", "--html", "--show-ids"]),
        ("verify", ["RUN", "--tolerance", "--image_column"]),
    ],
)
def test_help_names_every_flag_of_a_command(
    command: str, flags: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        build_parser().parse_args([command, "--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert all(flag in shown for flag in flags)

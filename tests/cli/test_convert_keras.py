"""`hf-invwnn convert-keras`."""

from __future__ import annotations

from pathlib import Path

import pytest

from hf_invwnn import InvWNNModel
from hf_invwnn.cli.main import EXIT_BAD_INPUT, main


@pytest.mark.parametrize("flag", ["--output-dir", "--output_dir"])
def test_convert_keras_saves_a_predictor(flag: str, tmp_path: Path, keras_files: dict[str, Path]) -> None:
    words = [word for kind, path in keras_files.items() for word in (f"--{kind}", str(path))]
    assert main(["convert-keras", *words, flag, str(tmp_path / "predictor")]) == 0
    assert InvWNNModel.from_pretrained(tmp_path / "predictor").num_snapshots == 15


def test_convert_keras_names_a_missing_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--conv", "nowhere.h5", "--linear", "nowhere.h5", "--bias", "nowhere.h5"]
    assert main(["convert-keras", *words, "--output-dir", str(tmp_path)]) == EXIT_BAD_INPUT
    assert "nowhere.h5" in capsys.readouterr().err

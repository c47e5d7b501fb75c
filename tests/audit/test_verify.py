"""`verify` says of an untouched run that it is, and finds whatever was changed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from hf_invwnn.audit.verify import verify_run
from hf_invwnn.cli.verify import EXIT_MISMATCH
from hf_invwnn.cli.main import main


@pytest.fixture
def run(finished_run: Path, tmp_path: Path) -> Path:
    shutil.copytree(finished_run, tmp_path / "run")
    return tmp_path / "run"


def test_a_run_as_it_was_left_matches_in_every_hash_and_every_metric(
    finished_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    findings = verify_run(finished_run, tolerance=0)
    assert [finding for finding in findings if finding.matches is not True] == []
    looked_at = {finding.what for finding in findings}
    metrics = {
        f"{metric} {name}"
        for metric in ("RA", "UA", "TA", "MIA", "loss_auc")
        for name in ("before", "after", "oracle")
    }
    assert metrics | {"model.safetensors", "config.json", "forget set", "private splits/splits.json"} <= looked_at
    assert main(["verify", str(finished_run)]) == 0
    assert f"{len(findings)} match, 0 do not, 0 could not be checked." in capsys.readouterr().out


def other_weights(path: Path) -> None:
    save_file({name: value * -1 for name, value in load_file(path).items()}, path, metadata={"format": "pt"})


def edited(path: Path, change: Callable[[dict], None]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


CHANGES: dict[str, tuple[Callable[[Path], None], set[str]]] = {
    "other weights": (lambda run: other_weights(run / "model.safetensors"), {"model.safetensors"}),
    "no weights": (lambda run: (run / "model.safetensors").unlink(), {"model.safetensors", "RA after", "UA after"}),
    "cut weights": (lambda run: (run / "model.safetensors").write_bytes(b"x" * 9), {"model.safetensors", "TA after"}),
    "an edited processor": (
        lambda run: edited(run / "preprocessor_config.json", lambda found: found.update(do_rescale=False)),
        {"preprocessor_config.json"},
    ),
    "added weights": (
        lambda run: (run / "adapter_model.safetensors").write_bytes(b"x"),
        {"adapter_model.safetensors"},
    ),
    "a better result": (
        lambda run: edited(run / "unlearning.json", lambda found: found["metrics"]["after"].update(TA=99.0)),
        {"TA after"},
    ),
    "another oracle": (
        lambda run: other_weights(run / "_private" / "oracle" / "model.safetensors"),
        {"private oracle/model.safetensors"},
    ),
    "other indices": (
        lambda run: edited(run / "_private/splits/splits.json", lambda found: found.update(forget_indices=[1])),
        {"private splits/splits.json", "forget set"},
    ),
    "another forget set in the record": (
        lambda run: edited(run / "unlearning.json", lambda found: found["forget"].update(sha256="0" * 64)),
        {"forget set"},
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_was_changed_is_found_and_the_exit_code_is_1(
    change: str, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change_it, expected = CHANGES[change]
    change_it(run)
    assert main(["verify", str(run)]) == EXIT_MISMATCH
    said = capsys.readouterr().out
    wrong = {line.split(":")[0] for line in said.splitlines() if ": does not match. Recorded: " in line}
    assert expected <= wrong
    if change in ("a better result", "another forget set in the record"):
        assert wrong == expected, "nothing else was changed"


def test_what_was_not_kept_is_not_taken_for_a_mismatch(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As for somebody who downloaded the model: its files can be checked, the metrics cannot."""
    shutil.rmtree(run / "_private")
    assert main(["verify", str(run)]) == 0
    said = capsys.readouterr().out
    assert "forget set: not checked." in said and "UA oracle: not checked." in said
    assert "3 match, 0 do not, 16 could not be checked." in said

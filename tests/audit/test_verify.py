"""`verify` confirms an unchanged run and names every file and metric that was changed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from hf_invwnn.audit.record import make_record, write_record
from hf_invwnn.audit.verify import Finding, passed, verify_run
from hf_invwnn.cli.main import main
from hf_invwnn.cli.verify import EXIT_MISMATCH


@pytest.fixture
def run(finished_run: Path, tmp_path: Path) -> Path:
    shutil.copytree(finished_run, tmp_path / "run")
    return tmp_path / "run"


def test_an_unchanged_run_matches_in_every_hash_and_every_metric(
    finished_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    findings = verify_run(finished_run, tolerance=0)
    assert [finding for finding in findings if finding.matches is not True] == []
    checked = {finding.what for finding in findings}
    metrics = {
        f"{metric} {name}"
        for metric in ("RA", "UA", "TA", "MIA", "loss_auc")
        for name in ("original", "unlearned", "retrained")
    }
    assert metrics | {"model.safetensors", "config.json", "forget set", "private splits/splits.json"} <= checked
    assert main(["verify", str(finished_run)]) == 0
    assert f"{len(findings)} match, 0 do not match, 0 could not be checked." in capsys.readouterr().out


def negate_weights(path: Path) -> None:
    save_file({name: value * -1 for name, value in load_file(path).items()}, path, metadata={"format": "pt"})


def edit(path: Path, change: Callable[[dict], None]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def link_to_a_copy(path: Path) -> None:
    copy = path.parents[2] / f"copy of {path.name}"
    shutil.move(path, copy)
    path.symlink_to(copy)


CHANGES: dict[str, tuple[Callable[[Path], None], set[str]]] = {
    "other weights": (lambda run: negate_weights(run / "model.safetensors"), {"model.safetensors"}),
    "no weights": (
        lambda run: (run / "model.safetensors").unlink(),
        {"model.safetensors", "RA unlearned", "UA unlearned"},
    ),
    "cut weights": (
        lambda run: (run / "model.safetensors").write_bytes(b"x" * 9),
        {"model.safetensors", "TA unlearned"},
    ),
    "an edited processor": (
        lambda run: edit(run / "preprocessor_config.json", lambda content: content.update(do_rescale=False)),
        {"preprocessor_config.json"},
    ),
    "added weights": (
        lambda run: (run / "adapter_model.safetensors").write_bytes(b"x"),
        {"adapter_model.safetensors"},
    ),
    "a better result": (
        lambda run: edit(run / "unlearning.json", lambda content: content["metrics"]["unlearned"].update(TA=99.0)),
        {"public record"},
    ),
    "another retrained model": (
        lambda run: negate_weights(run / "_private" / "retrained" / "model.safetensors"),
        {"private retrained/model.safetensors"},
    ),
    "other indices": (
        lambda run: edit(run / "_private/splits/splits.json", lambda content: content.update(forget_indices=[1])),
        {"private splits/splits.json", "forget set"},
    ),
    "a better result in the private record": (
        lambda run: edit(run / "_private/record.json", lambda record: record["metrics"]["unlearned"].update(TA=99.0)),
        {"TA unlearned", "private record.json", "public record"},
    ),
    "another salt": (
        lambda run: (run / "_private" / "salt").write_text("00" * 32),
        {"forget set", "private salt"},
    ),
    "a file outside": (
        lambda run: edit(run / "_private/record.json", lambda content: content["files"].update({"../x": "0" * 64})),
        {"../x"},
    ),
    "a link in place of the weights": (
        lambda run: link_to_a_copy(run / "model.safetensors"),
        {"model.safetensors", "UA unlearned"},
    ),
    "a link within the splits": (
        lambda run: link_to_a_copy(run / "_private/splits/splits.json"),
        {"private splits/splits.json", "forget set"},
    ),
    "no files": (
        lambda run: edit(run / "_private/record.json", lambda content: content.update(files={})),
        {"files", "model.safetensors"},
    ),
    "another forget set in the record": (
        lambda run: edit(run / "unlearning.json", lambda content: content["forget"].update(commitment="0" * 64)),
        {"public record"},
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_reported_and_the_exit_code_is_1(
    change: str, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    apply_change, expected = CHANGES[change]
    apply_change(run)
    assert main(["verify", str(run)]) == EXIT_MISMATCH
    output = capsys.readouterr().out
    wrong = {line.split(":")[0] for line in output.splitlines() if ": does not match. Recorded: " in line}
    assert expected <= wrong
    if change in ("a better result", "another forget set in the record"):
        assert wrong == expected, "nothing else was changed"


def test_a_missing_private_folder_is_not_a_mismatch(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As in a downloaded model: its files can be checked, its metrics cannot."""
    shutil.rmtree(run / "_private")
    assert main(["verify", str(run)]) == 0
    output = capsys.readouterr().out
    assert "forget set: not checked." in output and "UA retrained: not checked." in output
    assert "3 match, 0 do not match, 16 could not be checked." in output


def test_a_record_of_which_nothing_can_be_checked_is_not_verified(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert not passed([Finding("forget set", "12 examples", "the splits were not saved", None)])
    assert not passed([])
    write_record(
        make_record(
            outcome="reached", method="InvWNN", arguments={}, forget={}, counts={}, stopping={}, metrics={}, cost={},
            files={},
        ),
        tmp_path,
    )  # fmt: skip
    assert main(["verify", str(tmp_path)]) == EXIT_MISMATCH
    assert "files: does not match." in capsys.readouterr().out

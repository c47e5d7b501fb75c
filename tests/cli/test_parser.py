"""Command lines become dataclasses."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from hf_invwnn.cli.parser import parse_command, parse_yaml_and_flags


@dataclass
class Arguments:
    output_dir: str = field(metadata={"help": "A folder."})
    num_rounds: int = field(default=3, metadata={"help": "A number."})
    show_ids: bool = field(default=False, metadata={"help": "A switch."})


@pytest.mark.parametrize("flag", ["--output-dir", "--output_dir"])
def test_a_flag_has_underscores_or_hyphens(flag: str) -> None:
    assert parse_command("test", [flag, "out"], [Arguments], "") == (Arguments("out"),)
    assert parse_command("test", [f"{flag}=out"], [Arguments], "") == (Arguments("out"),)


@pytest.mark.parametrize("words", [["--show-ids", "RUN"], ["RUN", "--show-ids"], ["RUN", "--show_ids"]])
def test_a_switch_takes_no_value_and_may_stand_before_a_positional_argument(words: list[str]) -> None:
    arguments, run = parse_command("test", [*words, "--output-dir", "out"], [Arguments], "", {"run": "a run"})
    assert (arguments, run) == (Arguments("out", show_ids=True), "RUN")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--output-dir", "out", "--rounds", "3"], "unrecognized arguments: --rounds 3"),
        (["--output-dir", "out", "--num-rounds", "x"], "argument --num_rounds/--num-rounds: invalid int value: 'x'"),
        (["--num-rounds", "3"], "the following arguments are required: --output_dir"),
    ],
)
def test_words_that_do_not_fit_are_refused(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse_command("test", words, [Arguments], "")
    assert ended.value.code == 2
    assert f"hf-invwnn test: error: {message}" in capsys.readouterr().err


def test_a_flag_wins_over_the_yaml_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "run.yaml").write_text("output_dir: from_file\nnum_rounds: 5\n")
    words = ["recipe.py", "--config", str(tmp_path / "run.yaml"), "--num-rounds", "7"]
    monkeypatch.setattr("sys.argv", words)
    assert parse_yaml_and_flags([Arguments], "") == (Arguments("from_file", num_rounds=7),)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rounds: 5\n", "has unknown keys: rounds"),
        ("- 5\n", "must hold `name: value` lines"),
        ("a: [", "is not YAML"),
        (None, "--config: there is no file"),
    ],
)
def test_a_yaml_file_that_does_not_fit_is_refused(
    text: str | None,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if text is not None:
        (tmp_path / "run.yaml").write_text(text)
    monkeypatch.setattr("sys.argv", ["recipe.py", "--config", str(tmp_path / "run.yaml")])
    with pytest.raises(SystemExit):
        parse_yaml_and_flags([Arguments], "")
    assert message in capsys.readouterr().err

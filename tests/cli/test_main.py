"""`hf-invwnn` finds its commands and returns their exit codes."""

from __future__ import annotations

import logging
import re
from dataclasses import fields
from importlib import import_module

import pytest
from transformers import TrainingArguments

from hf_invwnn import __version__
from hf_invwnn.cli import report
from hf_invwnn.cli.main import COMMANDS, EXIT_BAD_INPUT, EXIT_INTERRUPTED, main


# Command -> its positional arguments, and the flags a user depends on.
FLAGS = {
    "demo": ["--output-dir", "--seed", "--predictor"],
    "compare": ["--config", "--workers"],
    "evaluate": [
        *("--unlearned", "--retrained", "--splits", "--original", "--output-dir"),
        *("--image-column", "--margin", "--max-relearning-steps"),
    ],
    "unlearn-diffusion": [
        *("--pipeline", "--forget-class", "--classifier", "--max-forget-ratio", "--num-images", "--resize"),
        *("--num-inference-steps", "--kid-subset-size", "--dataset", "--image-column", "--label-column"),
        *(
            "--output-dir",
            "--method",
            "--learning-rate",
            "--residual-scale",
            "--num-rewinds",
            "--batch-size",
            "--seed",
        ),
    ],
    "unlearn-text": [
        *("--model", "--adapter", "--forget", "--unseen", "--kept", "--method", "--lora-rank", "--merge", "--plain"),
        *("--prompt-column", "--answer-column", "--text-column", "--output-dir", "--learning-rate"),
    ],
    "convert-keras": ["--conv", "--linear", "--bias", "--output-dir"],
    "push": [
        *("FOLDER", "REPO", "--private", "--revision", "--publish-indices", "--license", "--base-model"),
        "--dataset",
    ],
    "report": ["RUN", "--html", "--show-ids"],
    "verify": ["RUN", "--tolerance", "--image-column"],
    "env": [],
}


def test_every_command_is_tested() -> None:
    assert list(FLAGS) == list(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_names_every_flag_of_a_command(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Those that users depend on, and every field of the dataclasses of its module."""
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    assert [flag for flag in FLAGS[command] if not re.search(rf"(?<![\w-]){flag}(?![\w-])", text)] == []
    module = import_module(f"hf_invwnn.cli.{command.replace('-', '_')}")
    kinds = [
        value
        for name, value in vars(module).items()
        if name.endswith("Arguments") and not issubclass(value, TrainingArguments)
    ]
    names = [item.name for kind in kinds for item in fields(kind)]
    assert bool(names) == bool(FLAGS[command]) and [name for name in names if f"--{name}" not in text] == []
    assert " ".join(COMMANDS[command].split()) in " ".join(text.split()), "the summary of the command"


def test_help_lists_every_command_with_its_summary(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    assert [name for name, summary in COMMANDS.items() if name not in text or summary not in text] == []


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0 and capsys.readouterr().out.strip() == __version__


@pytest.mark.parametrize("words", [[], ["forget"]])
def test_a_missing_or_unknown_command_is_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == EXIT_BAD_INPUT
    assert "COMMAND" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (ValueError("`x` must be 1."), EXIT_BAD_INPUT, "hf-invwnn report: `x` must be 1.\n"),
        (FileNotFoundError("no file"), EXIT_BAD_INPUT, "hf-invwnn report: no file\n"),
        (ImportError("pip install peft"), EXIT_BAD_INPUT, "hf-invwnn report: pip install peft\n"),
        (KeyboardInterrupt(), EXIT_INTERRUPTED, "hf-invwnn report: interrupted\n"),
    ],
)
def test_an_error_of_a_command_is_one_message_and_an_exit_code(
    error: BaseException,
    code: int,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise error

    monkeypatch.setattr(report, "write_report", fail)
    assert main(["report", "run", "--html", "page.html"]) == code
    assert capsys.readouterr().err == message


@pytest.mark.parametrize("words", ["report run --html=page.html --verbose", "--verbose report run --html=page.html"])
def test_verbose_shows_the_cause_of_an_error_of_any_command(
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise ValueError("`x` must be 1.") from KeyError("the cause")

    level = logging.getLogger().level
    monkeypatch.setattr(report, "write_report", fail)
    try:
        assert main(words.split()) == EXIT_BAD_INPUT
    finally:
        logging.getLogger().setLevel(level)
    assert "the cause" in caplog.text and capsys.readouterr().err.endswith("hf-invwnn report: `x` must be 1.\n")


def test_an_error_of_another_kind_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "write_report", lambda *arguments, **options: {}["missing"])
    with pytest.raises(KeyError, match="missing"):
        main(["report", "run", "--html", "page.html"])

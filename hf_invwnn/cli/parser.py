"""Parsing of command lines and YAML files into dataclasses."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from transformers import HfArgumentParser

from ..files import read_yaml_mapping


class CommandParser(HfArgumentParser):
    """An `HfArgumentParser` whose boolean flags take no value, so that a positional argument can follow them."""

    def add_argument(self, *names: Any, **options: Any) -> Any:
        if options.get("nargs") == "?" and options.get("const") is True:
            options = {name: value for name, value in options.items() if name not in ("nargs", "const", "type")}
            options["action"] = "store_true"
        return super().add_argument(*names, **options)


def parse_command(
    command: str,
    words: Sequence[str],
    kinds: Sequence[Any],
    summary: str,
    positionals: Mapping[str, str] | None = None,
) -> tuple[Any, ...]:
    """
    Parses the arguments of a command of `hf-invwnn`. The flag of a field `output_dir` is `--output-dir` or
    `--output_dir`.

    Args:
        command (`str`): Name of the command.
        words (`Sequence[str]`): The words after it.
        kinds (`Sequence[type]`): Dataclasses, one field for each flag.
        summary (`str`): Description for `--help`.
        positionals (`dict[str, str]`, *optional*): Name -> help text of the positional arguments.

    Returns:
        An instance of each dataclass, then the values of the positional arguments.
    """
    parser = CommandParser(list(kinds), prog=f"hf-invwnn {command}", description=summary)
    for name, text in (positionals or {}).items():
        parser.add_argument(name, metavar=name.upper(), help=text)
    try:
        *parsed, unknown = parser.parse_args_into_dataclasses(list(words), return_remaining_strings=True)
    except ValueError as error:
        parser.error(" ".join(str(error).split()))
    if unknown:
        parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    values = [getattr(parsed[-1], name) for name in positionals or {}]
    return (*parsed[: len(kinds)], *values)


def parse_yaml_and_flags(kinds: Sequence[Any], description: str) -> tuple[Any, ...]:
    """
    Parses the arguments of a recipe from `--config FILE.yaml` and flags; a flag wins over the file.

    Args:
        kinds (`Sequence[type]`): Dataclasses, one field for each argument; an unknown key of the file is an error.
        description (`str`): Description for `--help`.
    """
    file_only = ArgumentParser(add_help=False, allow_abbrev=False)
    file_only.add_argument("--config", type=Path, help="YAML file with any of the arguments below")
    parser = HfArgumentParser(list(kinds), description=description, parents=[file_only])
    namespace, words = file_only.parse_known_args()
    if namespace.config is not None:
        settings = _settings(namespace.config, parser)
        for action in parser._actions:
            action.required = action.required and action.dest not in settings
        parser.set_defaults(**settings)
    try:
        return tuple(parser.parse_args_into_dataclasses(words)[: len(kinds)])
    except (ValueError, TypeError) as error:
        parser.error(" ".join(str(error).split()))


def _settings(path: Path, parser: ArgumentParser) -> dict[str, Any]:
    try:
        settings = read_yaml_mapping(path)
    except (FileNotFoundError, ValueError) as error:
        parser.error(str(error).replace("`config`", "--config"))
    if unknown := sorted(set(settings) - {action.dest for action in parser._actions}):
        parser.error(f"{path} has unknown keys: {', '.join(unknown)}")
    return settings


__all__ = ["parse_command", "parse_yaml_and_flags"]

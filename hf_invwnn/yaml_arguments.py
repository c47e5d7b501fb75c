"""A recipe's arguments from a YAML file and the command line."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from transformers import HfArgumentParser


def parse_yaml_and_flags(kinds: Sequence[Any], description: str) -> tuple[Any, ...]:
    """Dataclasses from `--config FILE.yaml` and flags; a flag wins over the file, an unknown key is an error."""
    file_only = ArgumentParser(add_help=False, allow_abbrev=False)
    file_only.add_argument("--config", type=Path, help="YAML file with any of the arguments below")
    parser = HfArgumentParser(kinds, description=description, parents=[file_only])
    given, words = file_only.parse_known_args()
    if given.config is not None:
        settings = _settings(given.config, parser)
        for action in parser._actions:
            action.required = action.required and action.dest not in settings
        parser.set_defaults(**settings)
    return tuple(parser.parse_args_into_dataclasses(words)[: len(kinds)])


def _settings(path: Path, parser: ArgumentParser) -> dict[str, Any]:
    if not path.is_file():
        parser.error(f"--config: there is no file {path}")
    try:
        settings = yaml.safe_load(path.read_text()) or {}
    except yaml.YAMLError as error:
        parser.error(f"--config: {path} is no YAML: {error}")
    if not isinstance(settings, dict):
        parser.error(f"--config: {path} must hold `name: value` lines")
    if unknown := sorted(set(settings) - {action.dest for action in parser._actions}):
        parser.error(f"{path} has unknown keys: {', '.join(unknown)}")
    return settings


__all__ = ["parse_yaml_and_flags"]

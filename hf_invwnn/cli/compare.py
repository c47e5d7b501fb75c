"""`hf-invwnn compare`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from transformers.utils import logging

from ..benchmark import compare, read_results, read_settings, write_comparison
from ..trainer.checks import check_output_dir
from .parser import parse_command


@dataclass
class CompareArguments:
    config: str | None = field(default=None, metadata={"help": "YAML file of the comparison."})
    dataset: str | None = field(
        default=None, metadata={"help": "Folder or Hub id in place of the one in the file, such as a local copy."}
    )
    workers: int = field(default=1, metadata={"help": "Number of processes."})
    table: str | None = field(
        default=None,
        metadata={"help": "Results (JSON) whose page and picture are made again, beside them; nothing is run."},
    )


def main(words: Sequence[str], summary: str) -> None:
    (arguments,) = parse_command("compare", words, [CompareArguments], summary)
    settings = None if arguments.config is None else read_settings(arguments.config, arguments.dataset)
    if arguments.table is not None:
        print(write_comparison(read_results(arguments.table, settings), Path(arguments.table).with_suffix(".md")))
        return
    if settings is None:
        raise ValueError("`config` is missing: name the YAML file of a comparison, or results with `table`.")
    check_output_dir(settings.output_dir)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    print(write_comparison(compare(settings, arguments.workers), Path(settings.output_dir) / "results.md"))


__all__ = ["main"]

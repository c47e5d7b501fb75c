"""`hf-invwnn compare`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from transformers.utils import logging

from ..benchmark import compare, finished_results, read_settings, write_comparison
from ..trainer.checks import check_output_dir
from .parser import parse_command


@dataclass
class CompareArguments:
    config: str = field(metadata={"help": "YAML file of the comparison."})
    dataset: str | None = field(
        default=None, metadata={"help": "Folder or Hub id in place of the one in the file, such as a local copy."}
    )
    workers: int = field(default=1, metadata={"help": "Number of processes."})
    table: bool = field(
        default=False, metadata={"help": "Make the tables and the picture of finished results again, and run nothing."}
    )


def main(words: Sequence[str], summary: str) -> None:
    (arguments,) = parse_command("compare", words, [CompareArguments], summary)
    settings = read_settings(arguments.config, arguments.dataset)
    if arguments.table:
        print(write_comparison(finished_results(settings), settings.output_dir))
        return
    check_output_dir(settings.output_dir)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    print(write_comparison(compare(settings, arguments.workers), settings.output_dir))


__all__ = ["main"]

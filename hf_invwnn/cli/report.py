"""`hf-invwnn report`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ..audit.report import write_report
from .parser import parse_command


@dataclass
class ReportArguments:
    html: str = field(metadata={"help": "The page to write; it needs no network and no other file."})
    show_ids: bool = field(
        default=False, metadata={"help": "Show rows and full results of the examples; for the holder."}
    )


def main(words: Sequence[str], summary: str) -> None:
    positionals = {"run": "folder of a finished run"}
    arguments, run = parse_command("report", words, [ReportArguments], summary, positionals)
    write_report(run, arguments.html, show_ids=arguments.show_ids)
    print(f"The report is in {arguments.html}.")


__all__ = ["main"]

"""`hf-invwnn verify`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from transformers.utils import logging

from ..audit.verify import passed, verify_run
from .parser import parse_command


EXIT_MISMATCH = 1


@dataclass
class VerifyArguments:
    tolerance: float = field(default=0.01, metadata={"help": "Points by which a metric may differ."})
    image_column: str = field(default="image", metadata={"help": "Column of the images in the splits."})


def main(words: Sequence[str], summary: str) -> int:
    positionals = {"run": "folder of a finished run"}
    arguments, run = parse_command("verify", words, [VerifyArguments], summary, positionals)
    logging.disable_progress_bar()
    findings = verify_run(run, arguments.tolerance, arguments.image_column)
    for finding in findings:
        if finding.matches is not True:
            outcome = "not checked" if finding.matches is None else "does not match"
            print(f"{finding.what}: {outcome}. Recorded: {finding.recorded}. Recomputed: {finding.recomputed}.")
    counts = {state: sum(finding.matches is state for finding in findings) for state in (True, False, None)}
    print(f"{counts[True]} match, {counts[False]} do not match, {counts[None]} could not be checked.")
    if not counts[True] and not counts[False]:
        print("Nothing could be checked, so nothing is verified.")
    return 0 if passed(findings) else EXIT_MISMATCH


__all__ = ["main"]

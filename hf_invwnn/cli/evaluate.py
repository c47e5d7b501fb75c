"""`hf-invwnn evaluate`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ..evaluation import evaluate_pair, evaluation_table
from ..scenarios import UnlearningSplits
from ..trainer.checks import check_output_dir
from .parser import parse_command


@dataclass
class EvaluateArguments:
    unlearned: str = field(metadata={"help": "Folder or Hub id of the unlearned model."})
    retrained: str = field(metadata={"help": "Folder or Hub id of the retrained model, or of another reference."})
    splits: str = field(metadata={"help": "Folder of the saved splits."})
    original: str | None = field(default=None, metadata={"help": "Folder or Hub id of the model before unlearning."})
    output_dir: str = field(default="evaluation", metadata={"help": "Folder for the results; it is private."})
    image_column: str = field(default="image", metadata={"help": "Column of the images."})
    margin: float = field(default=0.1, metadata={"help": "Difference in confidence that counts as none."})
    max_relearning_steps: int = field(default=500, metadata={"help": "Maximum steps on D_r; 0 skips relearning."})


def main(words: Sequence[str], summary: str) -> None:
    (arguments,) = parse_command("evaluate", words, [EvaluateArguments], summary)
    splits = UnlearningSplits.load_from_disk(arguments.splits)
    check_output_dir(arguments.output_dir)
    results = evaluate_pair(
        arguments.unlearned,
        arguments.retrained,
        splits,
        arguments.output_dir,
        original=arguments.original,
        image_column=arguments.image_column,
        margin=arguments.margin,
        max_relearning_steps=arguments.max_relearning_steps,
    )
    print(evaluation_table(results))


__all__ = ["main"]

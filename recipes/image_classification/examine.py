"""Relearning cost of each method's model, and which examples it forgot less or more than retraining.

    python recipes/image_classification/examine.py \\
        --comparison recipes/image_classification/configs/compare/cifar10_small_label_noise.yaml

Evaluates the models that `hf-invwnn compare` saved for its first seed beside the retrained one, as
`hf-invwnn evaluate` does, and writes `examined.md` beside its results. A table of every forgotten example, which is
private, goes into `examined/METHOD`.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from recipe import ComparisonArguments, read_comparison
from transformers import HfArgumentParser
from transformers.utils import logging as transformers_logging

from hf_invwnn.audit.tables import markdown_table
from hf_invwnn.benchmark import prepare_start, unlearned_folder
from hf_invwnn.evaluation import evaluate_pair


@dataclass
class ExamineArguments(ComparisonArguments):
    max_relearning_steps: int = field(default=300, metadata={"help": "Maximum number of steps on D_r."})
    margin: float = field(default=0.1, metadata={"help": "Difference in confidence that counts as none."})


def row(title: str, metrics: dict[str, Any], shares: dict[str, float] | None = None) -> list[str]:
    """The row of one model; `shares` are left out for the models that made none of them."""
    relearning = metrics["relearning"]
    steps = "never" if relearning["steps"] is None else str(relearning["steps"])
    auc = f"{metrics['loss_auc']:.3f} ({metrics['loss_auc_low']:.3f} to {metrics['loss_auc_high']:.3f})"
    cells = [f"{shares[name]:.1f}" if shares else "" for name in ("under", "over", "matched")]
    return [title, auc, steps, f"{relearning['highest']:.1f}", *cells]


def main() -> None:
    (args,) = HfArgumentParser(ExamineArguments, description=__doc__).parse_args_into_dataclasses()
    logging.basicConfig(level=logging.INFO)
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    settings, _ = read_comparison(args)
    start = prepare_start(settings, settings.seeds[0])
    if not start.has_retrained:
        raise SystemExit("--comparison: its scenario retains no examples, so models cannot be fine-tuned on D_r.")
    highest = f"highest in {args.max_relearning_steps} steps"
    rows = [["model", "loss AUC", "steps on D_r to 90 %", highest, "under", "over", "matched"]]
    for method in settings.methods:
        folder = unlearned_folder(settings, method.name)
        if not folder.exists():
            logging.warning("%s has no model: it did not reach the target UA", method.name)
            continue
        results = evaluate_pair(
            str(folder),
            str(start.folder / "retrained"),
            start.splits,
            Path(settings.output_dir) / "examined" / method.name,
            original=str(start.folder / "original") if len(rows) == 1 else None,
            image_column=start.image_column,
            margin=args.margin,
            max_relearning_steps=args.max_relearning_steps,
        )
        if "original" in results:
            rows += [row(name, results[name]) for name in ("original", "retrained")]
        rows.append(row(method.title, results["unlearned"], results["shares"]))
        logging.info(" | ".join(rows[-1]))
    text = markdown_table(rows) + "\n"
    (Path(settings.output_dir) / "examined.md").write_text(text)
    logging.info("\n%s", text)


if __name__ == "__main__":
    main()

"""How deep each method's forgetting goes: relearning cost, and which examples are forgotten too little or too much.

    python recipes/image_classification/examine.py \\
        --comparison recipes/image_classification/configs/compare/cifar10_small_label_noise.yaml

Judges the models that `hf-invwnn compare` kept of its first seed beside the retrained one, as `hf-invwnn evaluate`
does, and writes `examined.md` beside its results; a private table of every forgotten example goes into
`examined/METHOD`.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from transformers import HfArgumentParser
from transformers.utils import logging as transformers_logging

from hf_invwnn.benchmark import prepare_start, read_settings, unlearned_folder
from hf_invwnn.evaluation.pair import evaluate_pair
from hf_invwnn.methods import METHODS


@dataclass
class ExamineArguments:
    comparison: str = field(metadata={"help": "YAML file of a comparison that has run."})
    max_relearning_steps: int = field(default=300, metadata={"help": "Steps on D_r at the most."})
    margin: float = field(default=0.1, metadata={"help": "Difference in confidence that counts as none."})


def row(title: str, judged: dict[str, Any], shares: dict[str, float] | None) -> str:
    again = judged["relearning"]
    steps = "never" if again["steps"] is None else str(again["steps"])
    parts = [f"{shares[name]:.1f}" for name in ("under", "over", "matched")] if shares else ["", "", ""]
    auc = f"{judged['loss_auc']:.3f} ({judged['loss_auc_low']:.3f} to {judged['loss_auc_high']:.3f})"
    return f"| {title} | {auc} | {steps} | {again['highest']:.1f} | {' | '.join(parts)} |"


def main() -> None:
    (args,) = HfArgumentParser(ExamineArguments, description=__doc__).parse_args_into_dataclasses()
    logging.basicConfig(level=logging.INFO)
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    settings = read_settings(args.comparison)
    start = prepare_start(settings, settings.seeds[0])
    if not start.has_oracle:
        raise SystemExit("--comparison: nothing is retained in it, so there is nothing to relearn from.")
    rows = [
        f"| model | loss AUC | steps on D_r to 90 % | highest in {args.max_relearning_steps} steps | under | over | "
        "matched |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    original, reference = (str(start.folder / name) for name in ("pretrained", "retrained"))
    for method in settings.methods:
        folder = unlearned_folder(settings, method.name)
        if not folder.exists():
            logging.warning("%s kept no model; it did not reach the target", method.name)
            continue
        results = evaluate_pair(
            str(folder),
            reference,
            start.splits,
            Path(settings.output_dir) / "examined" / method.name,
            original=original if len(rows) == 2 else None,
            image_column=settings.data.get("image_column", "image"),
            margin=args.margin,
            max_relearning_steps=args.max_relearning_steps,
        )
        if "original" in results:
            rows += [row("trained", results["original"], None), row("retrained", results["reference"], None)]
        rows.append(row(METHODS[method.name].title, results["model"], results["shares"]))
        logging.info(rows[-1])
    text = "\n".join(rows) + "\n"
    (Path(settings.output_dir) / "examined.md").write_text(text)
    logging.info("\n%s", text)


if __name__ == "__main__":
    main()

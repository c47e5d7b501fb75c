"""U-LiRA: can shadow models distinguish forgotten from unseen examples (Hayes et al., 2024)?

    python recipes/image_classification/ulira.py \\
        --comparison recipes/image_classification/configs/compare/digits_vit.yaml --shadows 8

Trains N models on everything and N without D_f, each from its own initialisation, unlearns from the first N with the
settings that `hf-invwnn compare` chose, and writes `ulira.json` and `ulira.md` beside its results: how often the
attack is right about an example, for each method and for the original models. 0.5 is the goal; how near to it
retrained models come is the last row, where one half of them is attacked by the other. Each run stops at the UA of the
model of the same initialisation that was trained without D_f. A recipe that was interrupted resumes with the first
unfinished shadow.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from recipe import ComparisonArguments, check_methods, read_comparison
from transformers import HfArgumentParser
from transformers.utils import logging as transformers_logging

from hf_invwnn.audit.tables import markdown_table
from hf_invwnn.benchmark import ComparisonSettings, Run, build_unlearner, prepare_start
from hf_invwnn.files import read_json_object, write_json
from hf_invwnn.image_classification import predict
from hf_invwnn.metrics import ULiRA, per_example, ulira


@dataclass
class ShadowArguments(ComparisonArguments):
    shadows: int = field(default=8, metadata={"help": "N, models of each kind; at least 3."})
    methods: list[str] = field(
        default_factory=lambda: ["invwnn", "task_vector", "random_label", "salun", "neg_grad"],
        metadata={"help": "Methods to attack."},
    )


def confidences(model: Any, forget: Any) -> tuple[list[float], float]:
    """Confidence in the label of each forgotten example, and the UA in percent."""
    logits, labels = predict(model, forget, 500)
    return per_example(logits, labels).confidences.tolist(), 100 * float((logits.argmax(axis=1) != labels).mean())


def shadow(
    settings: ComparisonSettings, number: int, chosen: Mapping[str, Mapping[str, Any]]
) -> dict[str, list[float]]:
    """Confidences on D_f of the original, the retrained and the unlearned models of one initialisation."""
    # All shadows have the splits of the first seed, and so the same D_f; only the seed of the training differs.
    scenario = dict(settings.scenario)
    scenario["scenario_settings"] = {**(scenario.get("scenario_settings") or {}), "seed": settings.seeds[0]}
    own = dataclasses.replace(
        settings, output_dir=str(Path(settings.output_dir) / "shadows"), scenario=scenario, seeds=(number,)
    )
    start = prepare_start(own, number)
    forget = start.datasets(("forget",))["forget"]
    results = {"original": confidences(start.model(), forget)[0]}
    results["retrained"], target_ua = confidences(start.model("retrained"), forget)
    for name, choice in chosen.items():
        unlearner = build_unlearner(
            Run(own, number, choice["method"], choice["setting"], target_ua), start, {"forget": forget}, {}
        )
        unlearner.train()
        results[name], _ = confidences(unlearner.model, forget)
    return results


def figures_of(attack: ULiRA) -> dict[str, float]:
    """What is recorded of an attack; nothing of a single example."""
    return {name: getattr(attack, name) for name in ("auc", "auc_low", "auc_high", "accuracy", "tpr_at_fpr")}


def table(results: Mapping[str, Any]) -> str:
    """Markdown: AUC with its interval, accuracy and detection rate of each kind of model."""
    rows = [["model", "AUC", "accuracy", "detected at 1 % false positives"]]
    for name, found in results["rows"].items():
        auc = f"{found['auc']:.3f} ({found['auc_low']:.3f} to {found['auc_high']:.3f})"
        rows.append([name, auc, f"{found['accuracy']:.3f}", f"{100 * found['tpr_at_fpr']:.1f} %"])
    return markdown_table(rows) + "\n"


def main() -> None:
    (args,) = HfArgumentParser(ShadowArguments, description=__doc__).parse_args_into_dataclasses()
    logging.basicConfig(level=logging.INFO)
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    settings, comparison = read_comparison(args)
    check_methods(args.methods, comparison)
    if settings.data.get("max_train_examples") is not None:
        raise SystemExit("--comparison: `max_train_examples` draws other images for every shadow; leave it out.")
    folder = Path(settings.output_dir)
    chosen = {name: comparison["methods"][name] for name in args.methods}
    shadows = []
    for number in range(args.shadows):
        path = folder / "shadows" / f"{number}_{'_'.join(args.methods)}.json"
        if not path.exists():
            result = shadow(settings, number, chosen)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_json(result, path)
        shadows.append(read_json_object(path))
        logging.info("shadow %d of %d", number + 1, args.shadows)
    unseen = np.array([result["retrained"] for result in shadows])
    attacks = {}
    for name in ("original", *args.methods):
        title = name if name == "original" else comparison["methods"][name]["title"]
        attacks[title] = ulira(np.array([result[name] for result in shadows]), unseen)
    if len(unseen) >= 6:  # three of each half
        attacks["retrained, against others"] = ulira(unseen[::2], unseen[1::2])
    results = {
        "shadows": len(shadows),
        "examples": unseen.shape[1],
        "rows": {title: figures_of(attack) for title, attack in attacks.items()},
        "settings": {name: choice["setting"] for name, choice in chosen.items()},
    }
    write_json(results, folder / "ulira.json")
    (folder / "ulira.md").write_text(table(results))
    logging.info("\n%s", table(results))


if __name__ == "__main__":
    main()

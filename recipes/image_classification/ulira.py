"""U-LiRA: can shadow models tell forgotten examples from ones that were never seen (Hayes et al., 2024)?

    python recipes/image_classification/ulira.py \\
        --comparison recipes/image_classification/configs/compare/digits_vit.yaml --shadows 8

Trains N models on everything and N without D_f, each from an initialisation of its own, makes the first N forget with
the settings that `hf-invwnn compare` chose, and writes `ulira.md` beside its results: how often the attack is right
about an example, for each method and for the N models that forgot nothing. 0.5 is the goal. Each shadow is stopped at
the UA of its own twin that was never trained on D_f. Goes on where it stopped.
"""

from __future__ import annotations

import dataclasses
import json
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from transformers import HfArgumentParser
from transformers.utils import logging as transformers_logging

from hf_invwnn.benchmark import ComparisonSettings, build_unlearner, prepare_start, read_settings
from hf_invwnn.image_classification import predict
from hf_invwnn.methods import METHODS
from hf_invwnn.metrics import per_example, ulira


@dataclass
class ShadowArguments:
    comparison: str = field(metadata={"help": "YAML file of a comparison that has run."})
    shadows: int = field(default=8, metadata={"help": "N, models of each kind; at least 3."})
    methods: list[str] = field(
        default_factory=lambda: ["invwnn", "task_vector", "random_label", "salun", "neg_grad"],
        metadata={"help": "Who is attacked."},
    )


def confidences(model: Any, forget: Any) -> tuple[np.ndarray, float]:
    """Probability of each forgotten example's label, and the UA in percent."""
    logits, labels = predict(model, forget, 500)
    return per_example(logits, labels).confidences, 100 * float((logits.argmax(axis=1) != labels).mean())


def shadow(settings: ComparisonSettings, number: int, chosen: dict[str, Any]) -> dict[str, list[float]]:
    """Confidences on D_f of one model, of its twin, and of what each method makes of it."""
    # The seed of the training differs, that of the splits is the first one's: every shadow has the same D_f.
    scenario = dict(settings.scenario)
    scenario["scenario_settings"] = {**(scenario.get("scenario_settings") or {}), "seed": settings.seeds[0]}
    own = dataclasses.replace(
        settings, output_dir=str(Path(settings.output_dir) / "shadows"), scenario=scenario, seeds=(number,)
    )
    start = prepare_start(own, number)
    forget = start.tensors(("forget",), settings.data.get("image_column", "image"))["forget"]
    found: dict[str, list[float]] = {}
    trained, _ = confidences(start.model(), forget)
    unseen, target = confidences(start.model("retrained"), forget)
    found["trained"], found["retrained"] = trained.tolist(), unseen.tolist()
    for name, choice in chosen.items():
        unlearner = build_unlearner(own, start, number, name, choice["setting"], {"forget": forget}, {}, target)
        unlearner.train()
        found[name] = confidences(unlearner.model, forget)[0].tolist()
    return found


def main() -> None:
    (args,) = HfArgumentParser(ShadowArguments, description=__doc__).parse_args_into_dataclasses()
    logging.basicConfig(level=logging.INFO)
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    settings = read_settings(args.comparison)
    folder = Path(settings.output_dir)
    if not (folder / "results.json").exists():
        raise SystemExit(f"--comparison: {folder} has no results.json; run `hf-invwnn compare` with the file first.")
    methods = json.loads((folder / "results.json").read_text())["methods"]
    if unknown := sorted(set(args.methods) - set(methods)):
        raise SystemExit(f"--methods: {unknown} are not in the comparison, which has {', '.join(methods)}.")
    if settings.data.get("max_train_examples") is not None:
        raise SystemExit("--comparison: `max_train_examples` draws other images for every shadow; leave it out.")
    found = []
    for number in range(args.shadows):
        path = folder / "shadows" / f"{number}_{'_'.join(args.methods)}.json"
        if not path.exists():
            result = shadow(settings, number, {name: methods[name] for name in args.methods})
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(result))
        found.append(json.loads(path.read_text()))
        logging.info("shadow %d of %d", number + 1, args.shadows)
    unseen = np.array([one["retrained"] for one in found])
    rows = ["| model | AUC | accuracy | found at 1 % false alarms |", "| --- | ---: | ---: | ---: |"]
    for name in ("trained", *args.methods):
        attack = ulira(np.array([one[name] for one in found]), unseen)
        title = METHODS[name].title if name in METHODS else "trained, nothing forgotten"
        rows.append(f"| {title} | {attack.auc:.3f} | {attack.accuracy:.3f} | {100 * attack.tpr_at_fpr:.1f} % |")
    text = "\n".join(rows) + "\n"
    (folder / "ulira.md").write_text(text)
    logging.info("\n%s", text)


if __name__ == "__main__":
    main()

"""Compare predictors in use: unlearn one trained classifier with each of them, over a grid of settings.

    python recipes/predictor/compare_in_use.py --model outputs/cifar10_resnet/original \\
        --splits_dir outputs/cifar10_resnet/splits --image_column img --predictor linear \\
        --output_dir outputs/in_use/seed_0

`train.py` of `recipes/image_classification` makes model and splits. Each run is one JSON file with its whole curve, so
a sweep that was interrupted goes on where it stopped, and `--shard 0 2` and `--shard 1 2` share one. All runs have the
same budget. Settings are chosen with `--watch validation`; `summarize_in_use.py` makes the table.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm
from transformers import HfArgumentParser
from transformers.utils import logging as transformers_logging

from hf_invwnn import InvWNNUnlearner, UnlearningArguments
from hf_invwnn.files import write_json
from hf_invwnn.image_classification import load_classifier, split_datasets
from hf_invwnn.predictor import load_predictor
from hf_invwnn.scenarios import UnlearningSplits
from hf_invwnn.trainer.quiet import QUIET, without_printing


@dataclass
class SweepArguments:
    model: str = field(metadata={"help": "Folder of the trained model, with its image processor."})
    splits_dir: str = field(metadata={"help": "Folder of the splits that train.py saved."})
    output_dir: str = field(metadata={"help": "Folder of the JSON files, one for each run."})
    image_column: str = field(default="image", metadata={"help": "Column of the images in the splits."})
    predictor: str = field(default="base", metadata={"help": "'base', 'linear', or a folder or Hub id."})
    name: str | None = field(default=None, metadata={"help": "What to call it; the predictor by default."})
    learning_rates: list[float] = field(default_factory=lambda: [3e-4, 6e-4, 1e-3], metadata={"help": "Grid."})
    residual_scales: list[float] = field(default_factory=lambda: [0.15, 0.25, 0.4, 0.6], metadata={"help": "Grid."})
    tracked_parameters: str | None = field(default=None, metadata={"help": "As in UnlearningArguments."})
    watch: list[str] = field(
        default_factory=lambda: ["retain", "validation", "test"], metadata={"help": "Sets to evaluate beside D_f."}
    )
    num_rewinds: int = field(default=20, metadata={"help": "Budget: 14 epochs on the forget set each."})
    stop_at_ua: float = field(default=72.0, metadata={"help": "Beyond the last level of the table."})
    batch_size: int = field(default=256, metadata={"help": "Examples at once."})
    seed: int = field(default=0, metadata={"help": "Of the order of the batches."})
    shard: list[int] = field(default_factory=lambda: [0, 1], metadata={"help": "Which of how many processes."})


def run(args: SweepArguments, sets: Mapping[str, Any], rate: float, scale: float, target: Path) -> None:
    """One point of the grid."""
    settings = UnlearningArguments(
        output_dir=args.output_dir,
        num_rewinds=args.num_rewinds,
        learning_rate=rate,
        residual_scale=scale,
        recovery_steps=0,
        tracked_parameters=args.tracked_parameters,
        target_ua=args.stop_at_ua,
        ua_tolerance=100.0,  # the curve is what counts, not where it ends
        per_device_train_batch_size=args.batch_size,
        per_device_eval_batch_size=1000,
        seed=args.seed,
        **QUIET,
    )
    unlearner = InvWNNUnlearner(
        load_classifier(args.model)[0],
        settings,
        forget_dataset=sets["forget"],
        eval_dataset={name: sets[name] for name in args.watch},
        predictor=load_predictor(args.predictor),
    )
    without_printing(unlearner).train()
    record = {
        "predictor": args.name or args.predictor,
        "model": args.model,
        "learning_rate": rate,
        "residual_scale": scale,
        "tracked_parameters": args.tracked_parameters,
        "stopped": unlearner.stop_reason,
        "history": unlearner.history,
    }
    write_json(record, target)


def main() -> None:
    (args,) = HfArgumentParser(SweepArguments, description=__doc__).parse_args_into_dataclasses()
    logging.basicConfig(level=logging.INFO)
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    folder = Path(args.output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    splits = UnlearningSplits.load_from_disk(args.splits_dir)
    _, processor = load_classifier(args.model)
    sets = split_datasets(splits, processor, args.image_column, ("forget", *args.watch))
    name = (args.name or args.predictor).replace("/", "-")
    grid = list(itertools.product(args.learning_rates, args.residual_scales))
    for rate, scale in tqdm(grid[args.shard[0] :: args.shard[1]], desc=name):
        target = folder / f"{name}_lr{rate:g}_scale{scale:g}.json"
        if not target.exists():
            run(args, sets, rate, scale, target)


if __name__ == "__main__":
    main()

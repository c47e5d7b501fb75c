"""Turn a run of the demo into what the app shows: the model at every point of its way, and some of its examples.

    hf-invwnn demo --output_dir outputs/demo
    python recipes/space/build_bundle.py --run outputs/demo --output_dir outputs/space/digits

Repeats the unlearning of the run from its saved model, with its recorded arguments, and saves the model after every
rewind. The bundle holds forgotten examples, which the demo takes from scikit-learn's digits; build none from data that
may not be seen.
"""

from __future__ import annotations

import argparse
import json
import logging
import shutil
from dataclasses import fields
from pathlib import Path
from typing import Any

from datasets import Dataset, concatenate_datasets
from transformers import AutoImageProcessor, AutoModelForImageClassification, TrainerCallback

from hf_invwnn import InvWNNUnlearner, LinearPredictor, UnlearningArguments, UnlearningSplits
from hf_invwnn.audit.private import SPLITS, private_folder
from hf_invwnn.audit.record import read_record
from hf_invwnn.image_classification import ImageTensors
from hf_invwnn.predictor import load_predictor
from hf_invwnn.trainer.record import describe_predictor


EXAMPLES = 24


class KeepPoints(TrainerCallback):
    """Saves the model at every measured point of a run."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.points = folder, 0

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, model: Any = None, **kwargs: Any) -> None:
        if logs and "ua" in logs:
            model.save_pretrained(self.folder / f"{self.points:02d}")
            self.points += 1


def recorded(arguments: dict[str, Any], output_dir: Path) -> UnlearningArguments:
    """The arguments of a run, but for those that follow from others and those that say where things go."""
    own = {field.name for field in fields(UnlearningArguments)} - {field.name for field in fields(_BASE)}
    kept = {"learning_rate", "lr_scheduler_type", "max_grad_norm", "optim", "weight_decay", "seed", "adam_beta1"}
    kept |= {"adam_beta2", "per_device_train_batch_size", "per_device_eval_batch_size", "gradient_accumulation_steps"}
    chosen = {name: value for name, value in arguments.items() if name in own | kept}
    quiet = {"save_strategy": "no", "report_to": "none", "disable_tqdm": True, "dataloader_pin_memory": False}
    return UnlearningArguments(output_dir=str(output_dir), logging_strategy="no", **quiet, **chosen)


_BASE = UnlearningArguments.__mro__[1]


def recorded_predictor(described: dict[str, Any], named: str) -> Any:
    """The line of the record, or the predictor that is named, if it is the one of the record."""
    if described["name"] == "LinearPredictor":
        return LinearPredictor(described["config"]["scale"])
    predictor = load_predictor(named)
    if (describe_predictor(predictor) or {})["sha256"] != described["sha256"]:
        raise ValueError(f"`predictor` {named!r} is not the one of the run; its weights have another SHA-256.")
    return predictor


def some_examples(splits: UnlearningSplits) -> Dataset:
    """Forgotten and kept ones, spread evenly over their sets, as `image`, `label` and `forgotten`."""
    parts = []
    for forgotten, part in ((True, splits.forget), (False, splits.retain)):
        taken = part.select(range(0, len(part), max(1, len(part) // EXAMPLES))).select_columns(["image", "label"])
        taken = taken.select(range(min(EXAMPLES, len(taken))))
        parts.append(taken.add_column("forgotten", [forgotten] * len(taken)))
    return concatenate_datasets(parts)


def build_bundle(run: Path, output_dir: Path, predictor: str = "base") -> None:
    """
    Raises:
        ValueError: `predictor` is not the one of the run.
        FileNotFoundError: `run` is no finished run, or did not keep its splits and models.
        FileExistsError: There is something in `output_dir` already.
    """
    if output_dir.exists() and any(output_dir.iterdir()):
        raise FileExistsError(f"`output_dir` {output_dir} is not empty; choose another or remove it first.")
    record, private = read_record(run), private_folder(run)
    splits = UnlearningSplits.load_from_disk(private / SPLITS)
    processor = AutoImageProcessor.from_pretrained(private / "before", backend="pil")
    model = AutoModelForImageClassification.from_pretrained(private / "before", use_safetensors=True)
    sets = {name: ImageTensors.from_dataset(getattr(splits, name), processor) for name in ("forget", "retain", "test")}
    scratch = output_dir.with_name(f"{output_dir.name}.tmp")
    shutil.rmtree(scratch, ignore_errors=True)
    unlearner = InvWNNUnlearner(
        model,
        recorded(record["arguments"], scratch),
        sets["forget"],
        eval_dataset={name: sets[name] for name in ("retain", "test")},
        predictor=recorded_predictor(record["predictor"], predictor),
        callbacks=[KeepPoints(scratch / "points")],
    )
    unlearner.train()
    if abs(unlearner.history[-1]["ua"] - record["history"][-1]["ua"]) > 0.01:
        logging.warning("it went another way than the run did: UA %.2f at its end", unlearner.history[-1]["ua"])
    shutil.copytree(private / "oracle", scratch / "oracle")
    processor.save_pretrained(scratch)
    some_examples(splits).to_parquet(scratch / "examples.parquet")
    kept = [{name: point[name] for name in point if name != "seconds"} for point in unlearner.history]
    (scratch / "history.json").write_text(json.dumps(kept, indent=1) + "\n")
    scratch.rename(output_dir)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True, help="folder of a finished run of the demo")
    parser.add_argument("--output_dir", type=Path, required=True, help="folder of the bundle")
    parser.add_argument("--predictor", default="base", help="that of the run: 'base', or a folder or Hub id")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO)
    build_bundle(options.run, options.output_dir, options.predictor)


if __name__ == "__main__":
    main()

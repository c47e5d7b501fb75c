"""Build a bundle for the app from a run of the demo: the model at every point of the run, and some of its examples.

    hf-invwnn demo --output_dir outputs/demo
    python recipes/space/build_bundle.py --run outputs/demo --output_dir outputs/space/digits

Repeats the unlearning of the run from its saved original model, with its recorded arguments, and saves the model after
every round. A bundle contains forgotten examples, which in the demo come from scikit-learn's digits; do not build one
from private data.
"""

from __future__ import annotations

import argparse
import logging
import shutil
from dataclasses import fields
from pathlib import Path
from typing import Any

from datasets import Dataset, concatenate_datasets
from transformers import TrainerCallback, TrainingArguments

from hf_invwnn import InvWNNUnlearner, LinearPredictor, UnlearningArguments, UnlearningSplits
from hf_invwnn.audit.private import SPLITS, private_folder
from hf_invwnn.audit.record import read_whole_record
from hf_invwnn.files import write_json
from hf_invwnn.image_classification import load_classifier, split_datasets
from hf_invwnn.predictor import load_predictor
from hf_invwnn.trainer.quiet import QUIET
from hf_invwnn.trainer.record import describe_predictor


EXAMPLES = 24
# Arguments of the Trainer, beside those of `UnlearningArguments`, on which the weights of a run depend.
TRAINER_ARGUMENTS = {
    "adam_beta1",
    "adam_beta2",
    "gradient_accumulation_steps",
    "learning_rate",
    "lr_scheduler_type",
    "max_grad_norm",
    "optim",
    "per_device_eval_batch_size",
    "per_device_train_batch_size",
    "seed",
    "weight_decay",
}


class SavePoints(TrainerCallback):
    """Saves the model at every measured point of a run."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.points = folder, 0

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, model: Any = None, **kwargs: Any) -> None:
        if logs and "ua" in logs:
            model.save_pretrained(self.folder / f"{self.points:02d}")
            self.points += 1


def recorded_arguments(arguments: dict[str, Any], output_dir: Path) -> UnlearningArguments:
    """The recorded arguments on which the weights of a run depend, and no others."""
    own = {item.name for item in fields(UnlearningArguments)} - {item.name for item in fields(TrainingArguments)}
    chosen = {name: value for name, value in arguments.items() if name in own | TRAINER_ARGUMENTS}
    return UnlearningArguments(output_dir=str(output_dir), **{**QUIET, **chosen})


def recorded_predictor(described: dict[str, Any], source: str) -> Any:
    """The predictor of a run: the recorded `LinearPredictor`, or the one at `source` if it has the recorded hash."""
    if described["name"] == "LinearPredictor":
        return LinearPredictor(described["config"]["scale"])
    predictor = load_predictor(source)
    if (describe_predictor(predictor) or {})["sha256"] != described["sha256"]:
        raise ValueError(f"`predictor` {source!r} is not the one of the run: its weights have another SHA-256.")
    return predictor


def some_examples(splits: UnlearningSplits) -> Dataset:
    """Forgotten and retained examples, evenly spaced in their sets, as `image`, `label` and `forgotten`."""
    parts = []
    for forgotten, part in ((True, splits.forget), (False, splits.retain)):
        examples = part.select(range(0, len(part), max(1, len(part) // EXAMPLES))).select_columns(["image", "label"])
        examples = examples.select(range(min(EXAMPLES, len(examples))))
        parts.append(examples.add_column("forgotten", [forgotten] * len(examples)))
    return concatenate_datasets(parts)


def build_bundle(run: Path, output_dir: Path, predictor: str = "base") -> None:
    """
    Builds the bundle of a run.

    Args:
        run (`Path`): Folder of a finished run, saved by [`~hf_invwnn.evaluation.save_run`] with a retrained model.
        output_dir (`Path`): The folder to write; it must be empty or not exist.
        predictor (`str`, defaults to `"base"`): The predictor of the run: `"base"`, or a folder or Hub id.

    Raises:
        ValueError: `predictor` is not the one of the run.
        FileNotFoundError: `run` is not a finished run, or lacks its splits or a model.
        FileExistsError: `output_dir` is not empty.
    """
    if output_dir.exists() and any(output_dir.iterdir()):
        raise FileExistsError(f"`output_dir` {output_dir} is not empty; choose another or remove it first.")
    record, private = read_whole_record(run), private_folder(run)
    for name in (SPLITS, "original", "retrained"):
        if not (private / name).is_dir():
            raise FileNotFoundError(f"`run` {run} has no {name}: {private / name} does not exist.")
    splits = UnlearningSplits.load_from_disk(private / SPLITS)
    model, processor = load_classifier(private / "original")
    datasets = split_datasets(splits, processor)
    scratch = output_dir.with_name(f"{output_dir.name}.tmp")
    shutil.rmtree(scratch, ignore_errors=True)
    unlearner = InvWNNUnlearner(
        model,
        recorded_arguments(record["arguments"], scratch),
        datasets["forget"],
        eval_dataset={name: datasets[name] for name in ("retain", "test")},
        predictor=recorded_predictor(record["predictor"], predictor),
        callbacks=[SavePoints(scratch / "points")],
    )
    unlearner.train()
    if abs(unlearner.history[-1]["ua"] - record["history"][-1]["ua"]) > 0.01:
        logging.warning(
            "the repeated run differs from the recorded one: UA %.2f at the end, recorded %.2f",
            unlearner.history[-1]["ua"],
            record["history"][-1]["ua"],
        )
    shutil.copytree(private / "retrained", scratch / "retrained")
    processor.save_pretrained(scratch)
    some_examples(splits).to_parquet(scratch / "examples.parquet")
    points = [{name: value for name, value in point.items() if name != "seconds"} for point in unlearner.history]
    write_json(points, scratch / "history.json")
    scratch.rename(output_dir)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True, help="folder of a finished run of the demo")
    parser.add_argument("--output_dir", type=Path, required=True, help="folder of the bundle")
    parser.add_argument("--predictor", default="base", help="predictor of the run: 'base', or a folder or Hub id")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO)
    build_bundle(options.run, options.output_dir, options.predictor)


if __name__ == "__main__":
    main()

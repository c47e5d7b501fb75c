"""Train the classifier that will have something to forget, or its retrained twin.

    accelerate launch recipes/image_classification/train.py \\
        --config recipes/image_classification/configs/digits_vit_train.yaml
    accelerate launch recipes/image_classification/train.py \\
        --config recipes/image_classification/configs/digits_vit_train.yaml \\
        --train_on retain --output_dir outputs/digits_vit/retrained

The first also saves the splits in `splits_dir`, apart from the model: they hold the forget set and its indices, and
belong in no folder that is uploaded. The second loads them from there. Both write `trained_on.json` beside the model,
by which `unlearn.py` sees that model, twin and splits belong together.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from inspect import signature
from pathlib import Path
from typing import Any

from datasets import ClassLabel, Dataset
from recipe import DataArguments, load_images, write_trained_on
from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoModelForImageClassification,
    PreTrainedModel,
    Trainer,
    TrainingArguments,
    ViTImageProcessorPil,
    set_seed,
)

from hf_invwnn.accuracy import classification_accuracy, most_likely_class
from hf_invwnn.image_tensors import ImageTensors
from hf_invwnn.scenarios import SCENARIOS, UnlearningSplits
from hf_invwnn.yaml_arguments import parse_yaml_and_flags


@dataclass
class ModelArguments:
    model: str = field(
        default="vit", metadata={"help": "Hub id or folder of pretrained weights, or a model type for random ones."}
    )
    model_config: dict | None = field(default=None, metadata={"help": "Settings of a model with random weights."})
    image_size: int = field(default=32, metadata={"help": "Height and width, for a model with random weights."})


@dataclass
class ScenarioArguments:
    scenario: str = field(default="label_noise", metadata={"help": f"What is to be forgotten: {sorted(SCENARIOS)}."})
    scenario_settings: dict | None = field(default=None, metadata={"help": "Settings of the scenario."})
    splits_dir: str = field(
        default="outputs/splits", metadata={"help": "Private folder of the splits; new with train_on train."}
    )
    train_on: str = field(default="train", metadata={"help": "'train' (D_r and D_f) or 'retain' (the oracle)."})


def main() -> None:
    data, model_args, scenario, args = parse_yaml_and_flags(
        (DataArguments, ModelArguments, ScenarioArguments, TrainingArguments), __doc__
    )
    splits = load_splits(scenario) if scenario.train_on == "retain" else make_splits(data, scenario, args.seed)
    set_seed(args.seed)
    processor, model = make_model(model_args, number_of_classes(splits.train, splits.label_column))
    columns = (processor, data.image_column, splits.label_column)
    trainer = Trainer(
        model=model,
        args=args,
        train_dataset=ImageTensors.from_dataset(getattr(splits, scenario.train_on), *columns),
        eval_dataset={
            "forget": ImageTensors.from_dataset(splits.forget, *columns),
            "test": ImageTensors.from_dataset(splits.test, *columns),
        },
        compute_metrics=classification_accuracy,
        preprocess_logits_for_metrics=most_likely_class,
    )
    trainer.train()
    trainer.save_model()
    metrics = trainer.evaluate()
    trainer.log_metrics("eval", metrics)
    trainer.save_metrics("eval", metrics)
    if trainer.is_world_process_zero():
        processor.save_pretrained(args.output_dir)
        write_trained_on(args.output_dir, scenario.train_on, splits)
        if scenario.train_on == "train":
            splits.save_to_disk(scenario.splits_dir)


def make_splits(data: DataArguments, scenario: ScenarioArguments, seed: int) -> UnlearningSplits:
    if scenario.train_on != "train":
        raise SystemExit(f"--train_on must be 'train' or 'retain', got {scenario.train_on!r}.")
    if scenario.scenario not in SCENARIOS:
        raise SystemExit(f"--scenario must be one of {sorted(SCENARIOS)}, got {scenario.scenario!r}.")
    if Path(scenario.splits_dir).exists():
        raise SystemExit(f"--splits_dir: {scenario.splits_dir} exists already; remove it, or name another folder.")
    make = SCENARIOS[scenario.scenario]
    settings = {"label_column": data.label_column, **(scenario.scenario_settings or {})}
    taken = signature(make).parameters
    if unknown := sorted(settings.keys() - taken.keys()):
        raise SystemExit(f"--scenario_settings: {scenario.scenario} takes {', '.join([*taken][2:])}; got {unknown}.")
    if "seed" in taken:
        settings.setdefault("seed", seed)
    train, test = load_images(data, seed)
    return make(train, test, **settings)


def load_splits(scenario: ScenarioArguments) -> UnlearningSplits:
    try:
        return UnlearningSplits.load_from_disk(scenario.splits_dir)
    except FileNotFoundError as error:
        raise SystemExit(f"--splits_dir: {error} Train on everything first, with --train_on train.") from error


def number_of_classes(train: Dataset, label_column: str) -> int:
    feature = train.features[label_column]
    return feature.num_classes if isinstance(feature, ClassLabel) else max(train[label_column]) + 1


def make_model(args: ModelArguments, num_labels: int) -> tuple[Any, PreTrainedModel]:
    """The image processor and the model: pretrained with a new head, or with random weights."""
    if args.model_config is None:
        processor = AutoImageProcessor.from_pretrained(args.model, backend="pil")
        return processor, AutoModelForImageClassification.from_pretrained(
            args.model, num_labels=num_labels, ignore_mismatched_sizes=True, use_safetensors=True
        )
    size = {"height": args.image_size, "width": args.image_size}
    processor = ViTImageProcessorPil(size=size, image_mean=[0.5] * 3, image_std=[0.5] * 3)
    config = AutoConfig.for_model(args.model, num_labels=num_labels, **args.model_config)
    return processor, AutoModelForImageClassification.from_config(config)


if __name__ == "__main__":
    main()

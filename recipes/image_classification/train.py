"""Train the classifier that will have something to forget, or its retrained twin.

    accelerate launch recipes/image_classification/train.py \\
        --config recipes/image_classification/configs/digits_vit_train.yaml
    accelerate launch recipes/image_classification/train.py \\
        --config recipes/image_classification/configs/digits_vit_train.yaml \\
        --train_on retain --output_dir outputs/digits_vit/retrained

The first also saves the splits in `splits_dir`, apart from the model: they hold the forget set and its indices, and
belong in no folder that is uploaded. The second draws the same ones again, from the same seed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from recipe import DataArguments, load_images, parse_yaml_and_flags
from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoModelForImageClassification,
    Trainer,
    TrainingArguments,
    ViTImageProcessorPil,
    set_seed,
)

from hf_invwnn.accuracy import classification_accuracy, most_likely_class
from hf_invwnn.image_tensors import ImageTensors
from hf_invwnn.scenarios import SCENARIOS


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
    splits_dir: str = field(default="outputs/splits", metadata={"help": "New, private folder for the splits."})
    train_on: str = field(default="train", metadata={"help": "'train' (D_r and D_f) or 'retain' (the oracle)."})


def main() -> None:
    data, model_args, scenario, args = parse_yaml_and_flags(
        (DataArguments, ModelArguments, ScenarioArguments, TrainingArguments), __doc__
    )
    if scenario.train_on not in ("train", "retain"):
        raise SystemExit(f"--train_on must be 'train' or 'retain', got {scenario.train_on!r}.")
    if scenario.scenario not in SCENARIOS:
        raise SystemExit(f"--scenario must be one of {sorted(SCENARIOS)}, got {scenario.scenario!r}.")
    if scenario.train_on == "train" and Path(scenario.splits_dir).exists():
        raise SystemExit(f"--splits_dir: {scenario.splits_dir} exists already; remove it, or name another folder.")
    set_seed(args.seed)
    train, test = load_images(data, args.seed)
    settings = {"seed": args.seed, "label_column": data.label_column, **(scenario.scenario_settings or {})}
    splits = SCENARIOS[scenario.scenario](train, test, **settings)

    num_labels = len(set(train[data.label_column]))
    if model_args.model_config is None:
        processor = AutoImageProcessor.from_pretrained(model_args.model)
        model = AutoModelForImageClassification.from_pretrained(
            model_args.model, num_labels=num_labels, ignore_mismatched_sizes=True, use_safetensors=True
        )
    else:
        size = {"height": model_args.image_size, "width": model_args.image_size}
        processor = ViTImageProcessorPil(size=size, image_mean=[0.5] * 3, image_std=[0.5] * 3)
        config = AutoConfig.for_model(model_args.model, num_labels=num_labels, **model_args.model_config)
        model = AutoModelForImageClassification.from_config(config)

    columns = (processor, data.image_column, data.label_column)
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
        if scenario.train_on == "train":
            splits.save_to_disk(scenario.splits_dir)


if __name__ == "__main__":
    main()

"""Train the classifier to unlearn from, or its retrained twin.

    accelerate launch recipes/image_classification/train.py \\
        --config recipes/image_classification/configs/digits_vit_train.yaml
    accelerate launch recipes/image_classification/train.py \\
        --config recipes/image_classification/configs/digits_vit_train.yaml \\
        --train_on retain --output_dir outputs/digits_vit/retrained

The first command also saves the splits in `splits_dir`, apart from the model: they contain the forget set and its
indices, which must not be uploaded with it. The second loads them from there. Both write `trained_on.json` beside the
model, by which `unlearn.py` checks that model, twin and splits belong together. `--dataset FOLDER` replaces the Hub id
of a configuration by a local copy, a folder with `train*.parquet` and `test*.parquet`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from accelerate import PartialState
from recipe import write_trained_on
from transformers import Trainer, TrainingArguments, set_seed

from hf_invwnn.cli.parser import parse_yaml_and_flags
from hf_invwnn.image_classification import (
    CropAndFlip,
    DataArguments,
    ModelArguments,
    ScenarioArguments,
    make_model,
    make_splits,
    number_of_classes,
    process_images,
)
from hf_invwnn.scenarios import UnlearningSplits
from hf_invwnn.trainer.accuracy import classification_accuracy, most_likely_class


@dataclass
class RecipeArguments:
    splits_dir: str = field(
        default="outputs/splits",
        metadata={"help": "Private folder of the splits; must not exist yet with --train_on train."},
    )
    train_on: str = field(default="train", metadata={"help": "'train' (D_r and D_f) or 'retain' (D_r alone)."})


def main() -> None:
    data, model_args, scenario, recipe, args = parse_yaml_and_flags(
        (DataArguments, ModelArguments, ScenarioArguments, RecipeArguments, TrainingArguments), __doc__
    )
    splits = get_splits(data, scenario, recipe, args.seed)
    set_seed(args.seed)
    processor, model = make_model(model_args, number_of_classes(splits.train, splits.label_column))
    columns = (processor, data.image_column, splits.label_column)
    examples = process_images(getattr(splits, recipe.train_on), *columns)
    trainer = Trainer(
        model=model,
        args=args,
        train_dataset=CropAndFlip(examples) if data.augmentation else examples,
        eval_dataset={
            "forget": process_images(splits.forget, *columns),
            "test": process_images(splits.test, *columns),
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
        write_trained_on(args.output_dir, recipe.train_on, splits)
        if recipe.train_on == "train":
            splits.save_to_disk(recipe.splits_dir)


def get_splits(
    data: DataArguments, scenario: ScenarioArguments, recipe: RecipeArguments, seed: int
) -> UnlearningSplits:
    """New splits for a model; for its twin, the splits that were saved with the model."""
    if recipe.train_on not in ("train", "retain"):
        raise SystemExit(f"--train_on must be 'train' or 'retain', got {recipe.train_on!r}.")
    try:
        if recipe.train_on == "retain":
            return UnlearningSplits.load_from_disk(recipe.splits_dir)
        if Path(recipe.splits_dir).exists():
            raise SystemExit(f"--splits_dir: {recipe.splits_dir} exists already; remove it, or name another folder.")
        return make_splits(data, scenario, seed)
    except FileNotFoundError as error:
        raise SystemExit(f"--splits_dir: {error} Train on everything first, with --train_on train.") from error
    except ValueError as error:
        raise SystemExit(str(error)) from error


if __name__ == "__main__":
    main()
    PartialState().destroy_process_group()  # joins its threads, which may abort a program that ends before them

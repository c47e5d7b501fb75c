"""Train the classifier of the images that a DDPM generates. It is trained on real images only.

    accelerate launch recipes/ddpm/train_classifier.py --config recipes/ddpm/configs/mnist16_classifier.yaml

Augmentation is a random affine map near the identity, drawn in every epoch. Writes the accuracy on the test images to
`eval_results.json`.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

import numpy as np
import torch
from accelerate import PartialState
from transformers import Trainer, TrainingArguments, set_seed

from hf_invwnn.cli.parser import parse_yaml_and_flags
from hf_invwnn.diffusion import DiffusionImages, to_images
from hf_invwnn.image_classification import (
    DataArguments,
    ImageTensors,
    ModelArguments,
    load_images,
    make_model,
    number_of_classes,
)
from hf_invwnn.trainer.accuracy import classification_accuracy, most_likely_class


@dataclass
class RecipeArguments:
    generated_size: int | None = field(
        default=None, metadata={"help": "Height and width of generated images; by default those of the data set."}
    )
    distortion: float = field(default=0.1, metadata={"help": "Standard deviation of the affine maps; 0 for none."})


class Distorted(torch.utils.data.Dataset):
    """Images, each transformed by a random affine map near the identity."""

    def __init__(self, images: ImageTensors, spread: float) -> None:
        self.images, self.spread = images, spread

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        example = self.images[index]
        pixels = example["pixel_values"].unsqueeze(0)
        affine = torch.eye(2, 3) + self.spread * torch.randn(2, 3)
        grid = torch.nn.functional.affine_grid(affine.unsqueeze(0), list(pixels.shape), align_corners=False)
        moved = torch.nn.functional.grid_sample(pixels, grid, padding_mode="border", align_corners=False)
        return {**example, "pixel_values": moved.squeeze(0)}


def main() -> None:
    data, model_args, recipe, args = parse_yaml_and_flags(
        (DataArguments, ModelArguments, RecipeArguments, TrainingArguments), __doc__
    )
    logging.basicConfig(level=logging.INFO)
    train, test = load_images(data, args.seed)
    set_seed(args.seed)
    processor, model = make_model(model_args, number_of_classes(train, data.label_column))

    def examples(part: object) -> ImageTensors:
        # Images get the size, the 8 bits and the channels that generated images have.
        images = DiffusionImages.from_dataset(part, data.image_column, data.label_column, recipe.generated_size)
        pictures = [image.convert("RGB") for image in to_images(images.pixel_values)]
        pixels = np.asarray(processor(pictures, return_tensors="np")["pixel_values"], dtype=np.float32)
        return ImageTensors(torch.from_numpy(pixels), images.conditions["class_labels"])

    trainer = Trainer(
        model=model,
        args=args,
        train_dataset=Distorted(examples(train), recipe.distortion),
        eval_dataset=examples(test),
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


if __name__ == "__main__":
    main()
    PartialState().destroy_process_group()  # joins its threads, which may abort a program that ends before them

"""Train a DDPM, to unlearn from later: a UNet, the moving average of its weights, and a noise schedule.

    accelerate launch recipes/ddpm/train.py --config recipes/ddpm/configs/mnist16_train.yaml

Writes a pipeline to `pipeline_dir`, in the format of `DDPMPipeline.from_pretrained`. Its UNet holds the moving average
of the weights; the weights that training ended with are saved as the variant `non_ema`.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

from accelerate import PartialState
from diffusers import DDPMScheduler, UNet2DModel
from transformers import TrainingArguments, set_seed

from hf_invwnn.cli.parser import parse_yaml_and_flags
from hf_invwnn.diffusion import DiffusionImages, DiffusionTrainer
from hf_invwnn.image_classification import DataArguments, load_images


@dataclass
class DDPMArguments:
    pipeline_dir: str = field(metadata={"help": "Folder for the pipeline."})
    image_size: int = field(default=28, metadata={"help": "Height and width to resize the images to."})
    unet: dict = field(default_factory=dict, metadata={"help": "Settings of a UNet2DModel."})
    scheduler: dict = field(default_factory=dict, metadata={"help": "Settings of a DDPMScheduler."})
    ema_decay: float = field(default=0.999, metadata={"help": "Decay of the moving average of the weights."})
    resume: bool = field(default=False, metadata={"help": "Resume from the last checkpoint in output_dir."})


def main() -> None:
    data, recipe, args = parse_yaml_and_flags((DataArguments, DDPMArguments, TrainingArguments), __doc__)
    logging.basicConfig(level=logging.INFO)
    train, _ = load_images(data, args.seed)
    images = DiffusionImages.from_dataset(train, data.image_column, size=recipe.image_size)
    set_seed(args.seed)
    channels = images.pixel_values.shape[1]
    unet = UNet2DModel(sample_size=recipe.image_size, in_channels=channels, out_channels=channels, **recipe.unet)
    logging.info("%d images, a UNet of %d parameters", len(images), sum(p.numel() for p in unet.parameters()))
    trainer = DiffusionTrainer(
        unet, DDPMScheduler(**recipe.scheduler), args, train_dataset=images, ema_decay=recipe.ema_decay
    )
    trainer.train(resume_from_checkpoint=recipe.resume)
    if trainer.is_world_process_zero():
        trainer.save_pipeline(recipe.pipeline_dir)


if __name__ == "__main__":
    main()
    PartialState().destroy_process_group()  # joins its threads, which may abort a program that ends before them

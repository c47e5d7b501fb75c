"""What each model looks at in an image with a backdoor: Grad-CAM for the class it was made to say.

    python recipes/image_classification/class_activation.py \\
        --comparison recipes/image_classification/configs/compare/cifar10_small_badnets.yaml

Takes the models that `hf-invwnn compare` kept of its first seed and draws `class_activation.png` beside its results.
The picture shows forgotten images, so it is as private as they are.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path

import torch
from grad_cam import plot_class_activation
from transformers import AutoModelForImageClassification, HfArgumentParser

from hf_invwnn.benchmark import prepare_start, read_settings, unlearned_folder
from hf_invwnn.methods import METHODS


@dataclass
class ActivationArguments:
    comparison: str = field(metadata={"help": "YAML file of a comparison that has run."})
    images: int = field(default=4, metadata={"help": "How many forgotten images to show."})


def main() -> None:
    (args,) = HfArgumentParser(ActivationArguments, description=__doc__).parse_args_into_dataclasses()
    logging.basicConfig(level=logging.INFO)
    settings = read_settings(args.comparison)
    names = [method.name for method in settings.methods if unlearned_folder(settings, method.name).exists()]
    if not names:
        raise SystemExit(f"--comparison: {settings.output_dir} has no unlearned model; run `hf-invwnn compare` first.")
    start = prepare_start(settings, settings.seeds[0])
    models = {"trained": start.model()} | ({"retrained": start.model("retrained")} if start.has_oracle else {})
    for name in names:
        folder = unlearned_folder(settings, name)
        models[METHODS[name].title] = AutoModelForImageClassification.from_pretrained(folder, use_safetensors=True)

    image_column = settings.data.get("image_column", "image")
    forget = start.tensors(("forget",), image_column)["forget"]
    # Spread over the set, so that they are of several classes.
    taken = torch.linspace(0, len(forget) - 1, args.images).long().tolist()
    examples = [forget[index] for index in taken]
    pictures = [start.splits.forget[index][image_column] for index in taken]
    feature = start.splits.forget.features[start.splits.label_column]
    target = Path(settings.output_dir) / "class_activation.png"
    plot_class_activation(
        models,
        pictures,
        torch.stack([example["pixel_values"] for example in examples]),
        torch.stack([example["labels"] for example in examples]),
        target,
        titles=getattr(feature, "names", None) or (),
    )
    logging.info("%s", target)


if __name__ == "__main__":
    main()

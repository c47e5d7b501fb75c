"""Where models look in images with a backdoor: Grad-CAM for the class that the backdoor made the model predict.

    python recipes/image_classification/class_activation.py \\
        --comparison recipes/image_classification/configs/compare/cifar10_small_badnets.yaml

Loads the models that `hf-invwnn compare` saved for its first seed and writes `class_activation.png` beside its
results. The picture contains forgotten images, so it is private.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path

import torch
from grad_cam import plot_class_activation
from recipe import ComparisonArguments, read_comparison
from transformers import HfArgumentParser

from hf_invwnn.benchmark import prepare_start, unlearned_folder
from hf_invwnn.image_classification import load_classifier


@dataclass
class ActivationArguments(ComparisonArguments):
    images: int = field(default=4, metadata={"help": "Number of forgotten images."})


def main() -> None:
    (args,) = HfArgumentParser(ActivationArguments, description=__doc__).parse_args_into_dataclasses()
    logging.basicConfig(level=logging.INFO)
    settings, _ = read_comparison(args)
    start = prepare_start(settings, settings.seeds[0])
    models = {"original": start.model()} | ({"retrained": start.model("retrained")} if start.has_retrained else {})
    for method in settings.methods:
        folder = unlearned_folder(settings, method.name)
        if folder.exists():
            models[method.title], _ = load_classifier(folder)
        else:
            logging.warning("%s has no model: it did not reach the target UA", method.name)

    forget = start.datasets(("forget",))["forget"]
    # Evenly spaced, so that they are of several classes.
    indices = torch.linspace(0, len(forget) - 1, args.images).long().tolist()
    examples = [forget[index] for index in indices]
    images = [start.splits.forget[index][start.image_column] for index in indices]
    feature = start.splits.forget.features[start.splits.label_column]
    target = Path(settings.output_dir) / "class_activation.png"
    plot_class_activation(
        models,
        images,
        torch.stack([example["pixel_values"] for example in examples]),
        torch.stack([example["labels"] for example in examples]),
        target,
        class_names=getattr(feature, "names", None) or (),
    )
    logging.info("%s", target)


if __name__ == "__main__":
    main()

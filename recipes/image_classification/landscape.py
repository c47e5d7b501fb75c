"""Paths of the methods in weight space, on a plane of test and forget accuracy (figure 7 of the paper).

    python recipes/image_classification/landscape.py \\
        --comparison recipes/image_classification/configs/compare/cifar10_small_label_noise.yaml

Repeats the runs of the settings that `hf-invwnn compare` chose, on its first seed, collects the weights after every
round, and writes `landscape.png` beside the comparison's results: a panel for test accuracy and one for accuracy on
D_f.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from recipe import ComparisonArguments, check_methods, read_comparison
from tqdm import tqdm
from transformers import HfArgumentParser, TrainerCallback
from weight_plane import landscape, plot_landscape

from hf_invwnn.benchmark import ComparisonSettings, Run, StartingPoint, build_unlearner, prepare_start
from hf_invwnn.image_classification import predict


@dataclass
class LandscapeArguments(ComparisonArguments):
    methods: list[str] = field(
        default_factory=lambda: ["invwnn", "task_vector", "random_label", "salun", "neg_grad"],
        metadata={"help": "Methods to draw."},
    )
    resolution: int = field(default=15, metadata={"help": "Points along an axis."})
    examples: int = field(default=500, metadata={"help": "Examples of each set to measure a point on."})


def weights_of(model: torch.nn.Module) -> np.ndarray:
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()]).numpy()


class CollectWeights(TrainerCallback):
    """Collects the weights at every point of the history."""

    def __init__(self) -> None:
        self.path: list[np.ndarray] = []

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, model: Any = None, **kwargs: Any) -> None:
        if logs and "ua" in logs:
            self.path.append(weights_of(model))


def path_of(
    settings: ComparisonSettings,
    start: StartingPoint,
    target_ua: float,
    method: str,
    setting: Mapping[str, Any],
) -> list[np.ndarray]:
    """Weights of the original model and after every round up to the target UA."""
    run = Run(settings, settings.seeds[0], method, setting, target_ua)
    unlearner = build_unlearner(run, start, start.datasets(("forget",)), {})
    collected = CollectWeights()
    unlearner.add_callback(collected)
    unlearner.train()
    return collected.path


def main() -> None:
    (args,) = HfArgumentParser(LandscapeArguments, description=__doc__).parse_args_into_dataclasses()
    logging.basicConfig(level=logging.INFO)
    settings, results = read_comparison(args)
    check_methods(args.methods, results)
    seed = settings.seeds[0]
    start = prepare_start(settings, seed)
    chosen = {name: results["methods"][name] for name in args.methods}
    paths = {
        method["title"]: path_of(settings, start, results["target"], method["method"], method["setting"])
        for method in chosen.values()
    }

    model = start.model().to(memory_format=torch.contiguous_format)
    generator = np.random.default_rng(0)
    samples = {
        name: torch.utils.data.Subset(dataset, generator.permutation(len(dataset))[: args.examples].tolist())
        for name, dataset in start.datasets(("test", "forget")).items()
    }
    bar = tqdm(total=2 * args.resolution**2, desc="plane")

    def accuracy(name: str, weights: np.ndarray) -> float:
        torch.nn.utils.vector_to_parameters(torch.from_numpy(weights).float(), model.parameters())
        logits, labels = predict(model, samples[name], args.examples)
        bar.update()
        return 100 * float((logits.argmax(axis=1) == labels).mean())

    measures = {
        "the test set": lambda weights: accuracy("test", weights),
        "D_f, as labelled": lambda weights: accuracy("forget", weights),
    }
    plane = landscape(paths, measures, resolution=args.resolution)
    target = Path(settings.output_dir) / "landscape.png"
    plot_landscape(plane, target, settings.title)
    logging.info("%s; the plane holds %.0f %% of the displacements", target, 100 * plane.explained)


if __name__ == "__main__":
    main()

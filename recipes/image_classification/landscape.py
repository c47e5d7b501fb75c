"""Where each method goes: accuracy on the plane of weights that holds most of every path (figure 7 of the paper).

    python recipes/image_classification/landscape.py \\
        --comparison recipes/image_classification/configs/compare/cifar10_small_label_noise.yaml

Runs the settings that `hf-invwnn compare` chose once more on its first seed, keeps the weights of every turn, and
draws `landscape.png` beside the comparison's results: one panel for test accuracy, one for accuracy on D_f.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm
from transformers import HfArgumentParser
from weight_plane import landscape, plot_landscape

from hf_invwnn.benchmark import ComparisonSettings, StartingPoint, build_unlearner, prepare_start, read_settings
from hf_invwnn.image_classification import predict


@dataclass
class LandscapeArguments:
    comparison: str = field(metadata={"help": "YAML file of a comparison that has run."})
    methods: list[str] = field(
        default_factory=lambda: ["invwnn", "task_vector", "random_label", "salun", "neg_grad"],
        metadata={"help": "Whose paths are drawn."},
    )
    resolution: int = field(default=15, metadata={"help": "Points along an axis."})
    examples: int = field(default=500, metadata={"help": "Examples of each set that a point is measured on."})


def weights_of(model: torch.nn.Module) -> np.ndarray:
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()]).numpy()


def path_of(settings: ComparisonSettings, start: StartingPoint, method: str, setting: dict[str, Any]) -> list[np.ndarray]:
    """Weights at the start and after every turn up to the target."""
    results = json.loads((Path(settings.output_dir) / "results.json").read_text())
    stop_at = results["target_ua"]
    seed = settings.seeds[0]
    if stop_at == "oracle":
        stop_at = results["references"][str(seed)]["retrained"]["UA"]
    tensors = start.tensors(("forget",), settings.data.get("image_column", "image"))
    unlearner = build_unlearner(settings, start, seed, method, setting, tensors, {}, float(stop_at))
    path: list[np.ndarray] = []
    report = unlearner.unlearning.report

    def keep(point: dict[str, float]) -> None:
        path.append(weights_of(unlearner.model))
        report(point)

    unlearner.unlearning.report = keep
    unlearner.train()
    return path


def main() -> None:
    (args,) = HfArgumentParser(LandscapeArguments, description=__doc__).parse_args_into_dataclasses()
    logging.basicConfig(level=logging.INFO)
    settings = read_settings(args.comparison)
    folder = Path(settings.output_dir)
    if not (folder / "results.json").exists():
        raise SystemExit(f"--comparison: {folder} has no results.json; run `hf-invwnn compare` with the file first.")
    methods = json.loads((folder / "results.json").read_text())["methods"]
    if unknown := sorted(set(args.methods) - set(methods)):
        raise SystemExit(f"--methods: {unknown} are not in the comparison, which has {', '.join(methods)}.")
    start = prepare_start(settings, settings.seeds[0])
    paths = {methods[name]["title"]: path_of(settings, start, name, methods[name]["setting"]) for name in args.methods}

    model = start.model().to(memory_format=torch.contiguous_format)
    sets = start.tensors(("test", "forget"), settings.data.get("image_column", "image"))
    drawn = np.random.default_rng(0)
    some = {
        name: torch.utils.data.Subset(part, drawn.permutation(len(part))[: args.examples].tolist())
        for name, part in sets.items()
    }
    bar = tqdm(total=2 * args.resolution**2, desc="plane")

    def measure(name: str, weights: np.ndarray) -> float:
        torch.nn.utils.vector_to_parameters(torch.from_numpy(weights).float(), model.parameters())
        logits, labels = predict(model, some[name], args.examples)
        bar.update()
        return 100 * float((logits.argmax(axis=1) == labels).mean())

    measures = {
        "the test set": lambda weights: measure("test", weights),
        "D_f, as labelled": lambda weights: measure("forget", weights),
    }
    found = landscape(paths, measures, resolution=args.resolution)
    plot_landscape(found, folder / "landscape.png", settings.title)
    logging.info("%s; the plane holds %.0f %% of the way", folder / "landscape.png", 100 * found.explained)


if __name__ == "__main__":
    main()

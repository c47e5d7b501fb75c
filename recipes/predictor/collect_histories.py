"""Collect weight histories of many small models into parquet files that `datasets` loads as one dataset.

    torchrun --nproc_per_node 2 recipes/predictor/collect_histories.py --output_dir outputs/histories \\
        --sources digits data/mnist10k data/tiny_imagenet32 --image_sizes 8 14 16

A source is `digits` (scikit-learn's, no download) or a folder with `train*.parquet`, such as a local copy of MNIST or
Tiny-ImageNet. Each run is one file, written when it is complete, so a collection that was interrupted resumes where it
stopped. Several processes share the runs. A run whose weights were not finite is dropped: its file ends in `.dropped`,
and the count is logged.
"""

from __future__ import annotations

import logging
import os
import time
from dataclasses import dataclass, field
from pathlib import Path

import torch
from accelerate import PartialState
from datasets.utils import disable_progress_bars
from tqdm import tqdm
from transformers import HfArgumentParser
from transformers.utils import logging as transformers_logging

from hf_invwnn.files import atomic_file
from hf_invwnn.histories import ImageSource, RunSpec, draw_plan, draw_subset, record_counterfactual, record_run
from hf_invwnn.histories.small_models import SMALL_MODELS


@dataclass
class CollectArguments:
    output_dir: str = field(metadata={"help": "Folder of the parquet files, one for each run."})
    sources: list[str] = field(default_factory=lambda: ["digits"], metadata={"help": "'digits', Hub ids or folders."})
    image_sizes: list[int] = field(default_factory=lambda: [8], metadata={"help": "One for each source."})
    architectures: list[str] = field(default_factory=lambda: list(SMALL_MODELS), metadata={"help": "Those to train."})
    ordinary: int = field(default=4, metadata={"help": "Ordinary runs of each architecture on each source."})
    counterfactual: int = field(default=2, metadata={"help": "Counterfactual runs of each."})
    epochs: int = field(default=50, metadata={"help": "Epochs of each run."})
    examples: list[int] = field(default_factory=lambda: [300, 900], metadata={"help": "Least and most images."})
    num_snapshots: int = field(default=15, metadata={"help": "K, of the trajectories of counterfactual runs."})
    weights_per_parameter: int = field(default=128, metadata={"help": "Weights kept of each parameter."})
    seed: int = field(default=0, metadata={"help": "Draws the settings of the runs."})


def load_source(name: str, image_size: int) -> ImageSource:
    if name == "digits":
        return ImageSource.digits()
    is_folder = Path(name).is_dir() or name.startswith((".", "/", "~")) or name.count("/") > 1
    return (ImageSource.from_parquet if is_folder else ImageSource.from_hub)(name, image_size)


def load_sources(args: CollectArguments) -> dict[str, ImageSource]:
    if len(args.sources) != len(args.image_sizes):
        raise SystemExit(f"--image_sizes: give one for each of {args.sources}, got {args.image_sizes}.")
    loaded = [load_source(name, size) for name, size in zip(args.sources, args.image_sizes, strict=True)]
    return {source.name: source for source in loaded}


def collect(spec: RunSpec, source: ImageSource, folder: Path, args: CollectArguments) -> None:
    data = draw_subset(source, spec)
    if spec.run_type == "counterfactual":
        histories = record_counterfactual(spec, *data, args.weights_per_parameter, args.num_snapshots)
    else:
        histories = record_run(spec, *data, args.weights_per_parameter)
    target = folder / (f"{spec.run_id}.parquet" if len(histories) else f"{spec.run_id}.dropped")
    with atomic_file(target) as temporary:
        histories.to_parquet(str(temporary))


def main() -> None:
    (args,) = HfArgumentParser(CollectArguments).parse_args_into_dataclasses()
    logging.basicConfig(level=logging.INFO)
    transformers_logging.set_verbosity_error()
    disable_progress_bars()
    state = PartialState(cpu=not torch.cuda.is_available())
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // state.num_processes))
    folder = Path(args.output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    sources = load_sources(args)
    plan = draw_plan(
        {name: source.num_classes for name, source in sources.items()},
        args.architectures,
        args.ordinary,
        args.counterfactual,
        args.epochs,
        (args.examples[0], args.examples[-1]),
        args.seed,
    )
    start = time.monotonic()
    own = plan[state.process_index :: state.num_processes]
    for spec in tqdm(own, desc="runs", disable=not state.is_main_process):
        if not any((folder / f"{spec.run_id}.{end}").exists() for end in ("parquet", "dropped")):
            collect(spec, sources[spec.dataset], folder, args)
    state.wait_for_everyone()
    if state.is_main_process:
        num_recorded, num_dropped = (len(list(folder.glob(f"*.{end}"))) for end in ("parquet", "dropped"))
        logging.info("%d runs kept, %d dropped, %.0f seconds", num_recorded, num_dropped, time.monotonic() - start)


if __name__ == "__main__":
    main()

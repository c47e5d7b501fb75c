"""Two processes against one on the same cores: a whole rewind, the prediction in it, and what each process records.

    python recipes/benchmarks/two_processes.py
    python recipes/benchmarks/two_processes.py --width 480 --batch_size 8 --snapshot_steps 1

Makes a ViT forget random images with one process that has all cores and with two that have half of them each, in turn
and several times; the batch over all processes is the same. Prints the ratios of the shortest times.
"""

from __future__ import annotations

import argparse
import json
import logging
import multiprocessing
import os
import socket
import tempfile
import time
from pathlib import Path
from typing import Any

import transformers
from accelerate import PartialState
from accelerate.utils import convert_bytes
from unlearning_overhead import SNAPSHOTS, Images, make_model

from hf_invwnn import InvWNNUnlearner, UnlearningArguments
from hf_invwnn.files import read_json_object, write_json
from hf_invwnn.trainer.quiet import QUIET, without_printing
from hf_invwnn.trajectory.memory import trajectory_bytes


def unlearn(rank: int, world: int, port: int, options: argparse.Namespace, folder: str) -> None:
    """The run of one process; the first process writes its measurements."""
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(world)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "ACCELERATE_USE_CPU": "true"}
    transformers.utils.logging.set_verbosity_error()
    PartialState(cpu=True)
    args = UnlearningArguments(
        folder, num_rewinds=options.rewinds, snapshot_strategy="steps", snapshot_steps=options.snapshot_steps,
        per_device_train_batch_size=options.batch_size // world, learning_rate=1e-5, use_cpu=True,
        ddp_find_unused_parameters=False, accelerator_config={"dispatch_batches": False}, recovery_steps=0, **QUIET,
    )  # fmt: skip
    model = make_model(options.width, options.layers, options.image_size)
    unlearner = without_printing(InvWNNUnlearner(model, args, Images(options.image_size)))
    update_weights, predicting = unlearner.update_weights, 0.0

    def timed() -> None:
        nonlocal predicting
        start = time.perf_counter()
        update_weights()
        predicting += time.perf_counter() - start

    unlearner.update_weights = timed  # type: ignore[method-assign]
    start = time.perf_counter()
    unlearner.train()
    measured = {
        "seconds": time.perf_counter() - start,
        "predicting": predicting,
        "trajectory": trajectory_bytes(unlearner.tracked.shards, SNAPSHOTS, "float32"),
        "weights": sum(parameter.numel() for parameter in model.parameters()),
    }
    if rank == 0:
        write_json(measured, Path(folder) / "measured.json")


def measure(world: int, options: argparse.Namespace) -> dict[str, Any]:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    # Read when a child imports torch: the threads of autograd follow it, and not `torch.set_num_threads`.
    os.environ["OMP_NUM_THREADS"] = str(max(1, options.cores // world))
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        processes = [
            context.Process(target=unlearn, args=(rank, world, port, options, folder)) for rank in range(world)
        ]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        if any(process.exitcode for process in processes):
            raise SystemExit(f"One of {world} process(es) failed; its error is above.")
        return read_json_object(Path(folder) / "measured.json")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=240, help="hidden size of the ViT")
    parser.add_argument("--layers", type=int, default=7)
    parser.add_argument("--image_size", type=int, default=64)
    parser.add_argument("--batch_size", type=int, default=32, help="over all processes")
    parser.add_argument("--snapshot_steps", type=int, default=4, help="optimizer steps of an interval")
    parser.add_argument("--rewinds", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--cores", type=int, default=os.cpu_count() or 2)
    options = parser.parse_args()
    if options.batch_size % 2:
        parser.error(f"--batch_size: two processes need an even one, got {options.batch_size}.")
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    runs: dict[int, list[dict[str, Any]]] = {1: [], 2: []}
    for _ in range(options.repeats):
        for world, results in runs.items():
            results.append(measure(world, options))
    best = {
        world: {name: min(result[name] for result in results) for name in ("seconds", "predicting", "trajectory")}
        for world, results in runs.items()
    }
    logging.info("%.2fM weights, K = %d, %d cores", runs[1][0]["weights"] / 1e6, SNAPSHOTS, options.cores)
    for world, result in best.items():
        logging.info(
            "%d process(es): %.1f s, of which last snapshot and rewind %.2f s; trajectory %s each",
            world, result["seconds"], result["predicting"], convert_bytes(result["trajectory"]),
        )  # fmt: skip
    ratios = {name: best[2][name] / best[1][name] for name in best[1]}
    logging.info("two against one: " + ", ".join(f"{name} {ratio:.3f}" for name, ratio in ratios.items()))
    logging.info(json.dumps(best))


if __name__ == "__main__":
    main()

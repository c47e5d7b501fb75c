"""How many weights a second a predictor predicts, beside a plain loop over the network as trained.

    python recipes/benchmarks/predictor_throughput.py --threads 2
    python recipes/benchmarks/predictor_throughput.py --threads 2 --predictor FOLDER --golden FILE.npz

Three paths are timed in turn in every repeat, and the table has their medians:

- `predict_past`: what a user calls, with factored matrices where they are exact enough;
- `exact network`: what `predict_past` falls back to where they are not;
- `plain loop`: the network as trained, over blocks of 4,096 weights.

The ratio is to the plain loop of the same repeat. The share of the ceiling counts the multiplications that are left,
times two, against the fastest float32 matrix product of the same run. The extra memory is the rise of the peak of the
process while it predicts (Linux) or of the allocator (GPU); residuals and past weights take 8 bytes a weight of it.
The error is that of the residual, root mean square over root mean square: to the network in float64, or, with
`--golden`, to the residuals in a file with trajectories and residuals as `Conv_traj`, `Conv_residual` and so on.
FOLDER is what `hf-invwnn convert-keras` writes.
"""

from __future__ import annotations

import copy
import ctypes
import functools
import logging
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import HfArgumentParser

from hf_invwnn.audit.tables import markdown_table
from hf_invwnn.predictor import PARAMETER_KINDS, InvWNNModel, load_predictor
from hf_invwnn.predictor.inference import Workspace
from hf_invwnn.predictor.prediction import PredictionNetwork


GOLDEN_NAMES = {"conv": "Conv", "linear": "FC", "bias": "Bias"}
PLAIN_BLOCK_SIZE = 4096
Predict = Callable[[torch.Tensor, str], torch.Tensor]


@dataclass
class BenchmarkArguments:
    predictor: str = field(default="base", metadata={"help": "'base', or the folder or Hub id of an InvWNNModel."})
    weights: int = field(default=1_000_000, metadata={"help": "Number of weights of each kind."})
    repeats: int = field(default=5, metadata={"help": "Number of timings of each path."})
    threads: int | None = field(default=None, metadata={"help": "Number of CPU threads; PyTorch's default if None."})
    device: str = field(default="cpu", metadata={"help": "'cpu' or 'cuda'."})
    golden: str | None = field(default=None, metadata={"help": "File of true residuals to measure the error on."})


def seconds_of(run: Callable[[], Any], device: str) -> float:
    start = time.perf_counter()
    run()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def gemm_ceiling(device: str, repeats: int, size: int = 2048) -> float:
    """Floating-point operations a second of a float32 matrix product."""
    one, other = (torch.randn(size, size, device=device) for _ in range(2))
    return 2 * size**3 / min(seconds_of(lambda: one @ other, device) for _ in range(repeats + 1))


def peak_memory(run: Callable[[], Any], device: str) -> float | None:
    """Bytes by which the peak rises while `run` runs; `None` where the system does not tell."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        run()
        return torch.cuda.max_memory_allocated() - before
    try:
        ctypes.CDLL(None).malloc_trim(0)  # gives freed memory back, so that using it again counts
        Path("/proc/self/clear_refs").write_text("5")
        before = _resident("VmRSS")
        run()
        return _resident("VmHWM") - before
    except (OSError, AttributeError):
        return None


def _resident(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith(name)).split()[1])


def trajectories(count: int, num_snapshots: int) -> torch.Tensor:
    """Weights as in a trained model, that drift and jitter as in fine-tuning, `(K, count)`."""
    generator = torch.Generator().manual_seed(0)
    weight = 0.1 * torch.randn(count, generator=generator)
    steps = 1e-3 * torch.randn(num_snapshots, count, generator=generator)
    return weight + (steps + 1e-3 * torch.randn(count, generator=generator)).cumsum(dim=0)


@torch.no_grad()
def plain_loop(model: InvWNNModel, trajectory: torch.Tensor, kind: str) -> torch.Tensor:
    """Residuals by the network as trained, block after block."""
    return torch.cat([model(block, kind).residual for block in trajectory.T.split(PLAIN_BLOCK_SIZE)])


def make_paths(model: InvWNNModel) -> dict[str, tuple[Predict, dict[str, int]]]:
    """Path -> function from trajectories `(K, N)` to residuals, and number of multiplications for each kind."""
    exact = {}
    for kind in PARAMETER_KINDS:
        start = time.perf_counter()
        workspace = Workspace(model.device, model.dtype)
        network = PredictionNetwork(model.networks[kind], model.config, model.device, model.dtype, workspace)
        seconds = time.perf_counter() - start
        logging.info("%s: %s in %.3f s", kind, "factored" if network.factored else "not factored", seconds)
        exact[kind] = network
    chosen = {kind: (network.factored or network.exact).multiplications for kind, network in exact.items()}
    for network in exact.values():
        network.factored = None
    as_trained = {
        kind: sum(value.numel() for value in model.networks[kind].parameters() if value.ndim == 2)
        for kind in PARAMETER_KINDS
    }
    return {
        "`predict_past`": (model.predict_residual, chosen),
        "exact network": (
            lambda trajectory, kind: exact[kind](trajectory, model.block_size),
            {kind: network.exact.multiplications for kind, network in exact.items()},
        ),
        "plain loop": (lambda trajectory, kind: plain_loop(model, trajectory, kind), as_trained),
    }


def true_residual(model: InvWNNModel, trajectory: torch.Tensor, kind: str) -> torch.Tensor:
    """Of the network in float64."""
    return plain_loop(copy.deepcopy(model).double(), trajectory.double(), kind)


def main() -> None:
    (args,) = HfArgumentParser(BenchmarkArguments, description=__doc__).parse_args_into_dataclasses()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if args.threads:
        torch.set_num_threads(args.threads)
    model: InvWNNModel = load_predictor(args.predictor).to(args.device)
    paths = make_paths(model)
    ceiling = gemm_ceiling(args.device, args.repeats)
    where = torch.cuda.get_device_name() if args.device == "cuda" else f"{torch.get_num_threads()} CPU threads"
    logging.info("%s; float32 matrix products: %.0f GFLOP/s\n", where, ceiling / 1e9)
    data = trajectories(args.weights, model.num_snapshots).to(args.device)
    rows = [["kind", "path", "million/s", "ratio", "of ceiling", "extra MiB", "multiplications", "error"]]
    for kind in PARAMETER_KINDS:
        runs = {
            name: functools.partial(lambda residual, kind: data[0] + residual(data, kind), residual, kind)
            for name, (residual, _) in paths.items()
        }
        # Memory first: buffers stay with the model, and a second run would not raise the peak.
        memory = {name: peak_memory(run, args.device) for name, run in runs.items()}
        sample = data[:, :20_000]
        truth = true_residual(model, sample, kind)
        if args.golden:
            golden = np.load(args.golden)
            sample = torch.from_numpy(golden[f"{GOLDEN_NAMES[kind]}_traj"]).T.contiguous().to(args.device)
            truth = torch.from_numpy(golden[f"{GOLDEN_NAMES[kind]}_residual"]).double().to(args.device)
        seconds = {name: [] for name in runs}
        for _ in range(args.repeats):
            for name, run in runs.items():
                seconds[name].append(seconds_of(run, args.device))
        for name, (residual, multiplications) in paths.items():
            rate = args.weights / statistics.median(seconds[name])
            ratios = [loop / own for loop, own in zip(seconds["plain loop"], seconds[name], strict=True)]
            error = (residual(sample, kind).double() - truth).norm() / truth.norm()
            extra = memory[name]
            rows.append(
                [
                    kind,
                    name,
                    f"{rate / 1e6:.2f}",
                    f"{statistics.median(ratios):.1f}",
                    f"{200 * multiplications[kind] * rate / ceiling:.0f} %",
                    "" if extra is None else f"{extra / 2**20:.0f}",
                    f"{multiplications[kind]:,}",
                    f"{error:.1e}",
                ]
            )
    logging.info("%s", markdown_table(rows, text_columns=2))


if __name__ == "__main__":
    main()

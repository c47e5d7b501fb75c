"""How many weights a second a predictor predicts: compressed, exact, as trained, and as tests/reference.py does it.

    python recipes/benchmarks/predictor_throughput.py --predictor FOLDER [--golden FILE.npz]

One table, from one run on one machine. The share of the ceiling counts the multiplications that are left, times two,
against the fastest float32 matrix product the machine did in the same run. The extra memory is the rise of the
process's peak while it predicts (Linux) or the allocator's (GPU). With `--golden`, trajectories and residuals as
`Conv_traj` and `Conv_residual` and so on, the relative L2 error of each is printed too.
"""

from __future__ import annotations

import importlib.util
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from transformers import HfArgumentParser

from hf_invwnn.predictor import PARAMETER_KINDS, FastInvWNN, InvWNNModel, load_predictor


ROOT = Path(__file__).parents[2]
GOLDEN_NAMES = {"conv": "Conv", "linear": "FC", "bias": "Bias"}
Predict = Callable[[torch.Tensor, str], torch.Tensor]


@dataclass
class BenchmarkArguments:
    predictor: str = field(default="base", metadata={"help": "'base', or the folder or Hub id of an InvWNNModel."})
    weights: int = field(default=2_000_000, metadata={"help": "Weights of each kind."})
    plain_weights: int = field(default=20_000, metadata={"help": "Weights for the plain implementation."})
    repeats: int = field(default=5, metadata={"help": "The best of so many counts."})
    threads: int | None = field(default=None, metadata={"help": "CPU threads; PyTorch's default if not given."})
    device: str = field(default="cpu", metadata={"help": "'cpu' or 'cuda'."})
    golden: str | None = field(default=None, metadata={"help": "File of true residuals to measure the error on."})


def best_seconds(run: Callable[[], Any], repeats: int, device: str) -> float:
    run()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        if device == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def gemm_ceiling(device: str, repeats: int, size: int = 2048) -> float:
    """Floating-point operations a second of a float32 matrix product."""
    one, other = (torch.randn(size, size, device=device) for _ in range(2))
    return 2 * size**3 / best_seconds(lambda: one @ other, repeats, device)


def peak_memory(run: Callable[[], Any], device: str) -> float | None:
    """Bytes by which the peak rises while it runs; `None` where that cannot be had."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        run()
        return torch.cuda.max_memory_allocated() - before
    try:
        Path("/proc/self/clear_refs").write_text("5")
        before = _resident("VmRSS")
        run()
        return _resident("VmHWM") - before
    except OSError:
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


def plain(model: InvWNNModel) -> Predict:
    """The implementation in tests/reference.py, in float64."""
    spec = importlib.util.spec_from_file_location("reference", ROOT / "tests" / "reference.py")
    assert spec is not None and spec.loader is not None
    reference = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(reference)

    def predict(trajectory: torch.Tensor, kind: str) -> torch.Tensor:
        weights = {name: value.cpu().numpy() for name, value in model.networks[kind].state_dict().items()}
        return torch.from_numpy(reference.invwnn_residual(weights, trajectory.T.cpu().numpy()))

    return predict


def as_trained(model: InvWNNModel) -> Predict:
    """`forward`, as in training but without gradients, in blocks of the size that it is fastest with."""

    @torch.no_grad()
    def predict(trajectory: torch.Tensor, kind: str) -> torch.Tensor:
        return torch.cat([model(block, kind).residual for block in trajectory.T.split(8192)])

    return predict


def multiplications(model: InvWNNModel, fast: FastInvWNN, kind: str) -> tuple[int, int | None]:
    """Per weight: of the exact and of the compressed network."""
    exact = sum(value.numel() for value in model.networks[kind].parameters() if value.ndim == 2)
    return exact, fast.compressed[kind].multiplications if kind in fast.compressed else None


def relative_error(predict: Predict, golden: Any, kind: str, device: str) -> float:
    name = GOLDEN_NAMES[kind]
    truth = golden[f"{name}_residual"].astype(np.float64)
    found = predict(torch.from_numpy(golden[f"{name}_traj"]).T.contiguous().to(device), kind)
    return float(np.linalg.norm(found.double().cpu().numpy() - truth) / np.linalg.norm(truth))


def main() -> None:
    (args,) = HfArgumentParser(BenchmarkArguments, description=__doc__).parse_args_into_dataclasses()
    logging.basicConfig(level=logging.INFO)
    if args.threads:
        torch.set_num_threads(args.threads)
    model: InvWNNModel = load_predictor(args.predictor).to(args.device)
    start = time.perf_counter()
    fast = FastInvWNN(model)
    logging.info("compressed in %.1f s: %s", time.perf_counter() - start, sorted(fast.compressed) or "no kind")
    ceiling = gemm_ceiling(args.device, args.repeats)
    golden = np.load(args.golden) if args.golden else None
    where = torch.cuda.get_device_name() if args.device == "cuda" else f"{torch.get_num_threads()} CPU threads"
    table = Table(title=f"{where}; float32 GEMM {ceiling / 1e9:.0f} GFLOP/s")
    for column in ("kind", "path", "million/s", "of ceiling", "extra MB", "multiplications", "relative L2 error"):
        table.add_column(column, justify="left" if column in ("kind", "path") else "right")
    whole = trajectories(args.weights, model.num_snapshots).to(args.device)
    for kind in PARAMETER_KINDS:
        counts = multiplications(model, fast, kind)
        paths: list[tuple[str, Predict, torch.Tensor, int | None]] = [
            ("compressed", fast.predict_residual, whole, counts[1]),
            ("exact", model.predict_residual, whole, counts[0]),
            ("as trained", as_trained(model), whole, counts[0]),
        ]
        if model.config.trajectory_scale == "none":
            paths.append(("plain", plain(model), whole[:, : args.plain_weights], counts[0]))
        for name, predict, data, count in paths:
            # Memory first: what was freed may stay with the process, and a second run would not raise the peak.
            memory = peak_memory(lambda: predict(data, kind), args.device)  # noqa: B023
            seconds = best_seconds(lambda: predict(data, kind), args.repeats, args.device)  # noqa: B023
            rate = data.shape[1] / seconds
            table.add_row(
                kind,
                name,
                f"{rate / 1e6:.2f}",
                "" if count is None else f"{200 * count * rate / ceiling:.0f} %",
                "" if memory is None else f"{memory / 2**20:.0f}",
                "" if count is None else f"{count:,}",
                "" if golden is None else f"{relative_error(predict, golden, kind, args.device):.1e}",
            )
    Console().print(table)


if __name__ == "__main__":
    main()

"""What the processes of the tests do."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from helpers import Examples, build_model, build_predictor, build_unlearner
from safetensors.torch import save_file
from sklearn.datasets import load_digits
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor

from hf_invwnn import InvWNNUnlearner
from hf_invwnn.trajectory import sharding as parts_module


# Over all processes.
GLOBAL_BATCH = 4

# What DeepSpeed has to be told of a group of one.
ALONE = {
    "RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0",
}  # fmt: skip


def digits() -> Examples:
    data = load_digits()
    pixels = torch.tensor(data.images / 8 - 1, dtype=torch.float32).unsqueeze(1)
    return Examples(pixel_values=pixels, labels=torch.tensor(data.target))


def unlearner(
    output_dir: Path, world: int, architecture: str = "vit", shard: bool = False, examples: int = 16, **options: Any
) -> InvWNNUnlearner:
    """The same run for any number of processes: the same batches, as long as their order is not shuffled."""
    torch.set_num_threads(1)
    if "deepspeed" in options:
        # It makes the group by itself; accelerate's own word for a CPU would keep it from doing so.
        os.environ.pop("ACCELERATE_USE_CPU", None)
        os.environ |= {"DS_ACCELERATOR": "cpu", "ACCELERATE_USE_DEEPSPEED": "true"}
        os.environ |= {name: os.environ.get(name, value) for name, value in ALONE.items()}
    else:
        PartialState(cpu=True)
    model: Any = build_model(architecture)
    if shard:
        for block in model.vit.layers:
            fully_shard(block)
        fully_shard(model)
        # As a model that `from_pretrained` has loaded in shards says of itself: the Trainer does not wrap it again.
        model._is_distributed_loading_by_transformers = True
    data = digits()
    defaults: dict[str, Any] = {
        "predictor": build_predictor(trajectory_scale="weight"),
        "eval_dataset": data.part(900, 932),
        "per_device_train_batch_size": GLOBAL_BATCH // world,
        "train_sampling_strategy": "sequential",
        "learning_rate": 3e-3,
        "residual_scale": 0.5,
        "output_dir": output_dir,
    }
    return build_unlearner(model, data.part(0, examples), **{**defaults, **options})


def train_and_save(
    rank: int, output: Path, world: int, architecture: str, options: dict[str, Any], resume: bool = False
) -> None:
    """Runs to the end and saves the weights that this process ends with, whole."""
    trainer = unlearner(output / "run", world, architecture, **options)
    trainer.train(resume_from_checkpoint=resume)
    save_whole(trainer, output / f"weights_{rank}.safetensors")
    (output / f"reason_{rank}.txt").write_text(f"{trainer.stop_reason}\n{trainer.tracked.shards.layout}\n")


def write_identity(rank: int, output: Path, world: int, shard: bool) -> None:
    """With frozen parameters, which are part of it."""
    trainer = unlearner(output / "run", world, shard=shard, tracked_parameters="classifier")
    (output / f"identity_{rank}.json").write_text(json.dumps(trainer.identity()))


def save_whole(trainer: InvWNNUnlearner, path: Path) -> None:
    model: Any = trainer.accelerator.unwrap_model(trainer.model)
    whole = {
        name: (value.full_tensor() if isinstance(value, DTensor) else value).detach().clone()
        for name, value in model.state_dict().items()
    }
    save_file(whole, path)


def exchange_in_rounds(rank: int, output: Path) -> None:
    """Each process marks its own weights; afterwards all have those of all, however small the rounds are."""
    state = PartialState(cpu=True)
    assert state.num_processes == 3
    for size in (8, 52, 10**6):
        parts_module.GATHER_BYTES = size
        tensors = {
            "conv": torch.zeros(2, 3, 4, 5).to(memory_format=torch.channels_last),
            "linear": torch.zeros(7, 3),
            "bias": torch.zeros(1),
            "half": torch.zeros(11, dtype=torch.bfloat16),
        }
        parts = parts_module.LocalShards(tensors)
        for _, local in parts.items():
            local.fill_(rank + 1)
        parts.exchange()
        save_file({name: value.contiguous() for name, value in tensors.items()}, output / f"{size}_{rank}.safetensors")


class KilledAt:
    """
    Counts the calls that the package and those who write files for it make, and kills its process at one of them: a
    moment that is the same however busy the machine is.
    """

    def __init__(self, event: int) -> None:
        self.event, self.count = event, 0

    def __call__(self, frame: Any, what: str, argument: Any) -> None:
        if what in ("call", "c_call") and any(part in frame.f_code.co_filename for part in WATCHED):
            self.count += 1
            if self.count == self.event:
                os.kill(os.getpid(), signal.SIGKILL)


WATCHED = ("/hf_invwnn/", "/safetensors/", "/torch/serialization", "/shutil.py")

# 12 steps, and a checkpoint after every second: in the warm-up, in recordings and after rewinds.
KILLED_RUN: dict[str, Any] = {
    "examples": 8,
    "warmup_intervals": 1,
    "num_snapshots": 3,
    "predictor": build_predictor(3, trajectory_scale="weight"),
    "save_strategy": "steps",
    "save_steps": 2,
    "save_total_limit": 2,
}


def train_until_killed(rank: int, output: Path, world: int, event: int, victim: int) -> None:
    """Goes on from the last checkpoint, if there is one; `event` 0 kills nobody."""
    trainer = unlearner(output / "run", world, **KILLED_RUN)
    resume = any((output / "run").glob("checkpoint-*"))
    counter = KilledAt(event if rank == victim else 0)
    sys.setprofile(counter)
    trainer.train(resume_from_checkpoint=resume)
    sys.setprofile(None)
    save_whole(trainer, output / f"weights_{rank}.safetensors")
    (output / f"calls_{rank}.txt").write_text(str(counter.count))

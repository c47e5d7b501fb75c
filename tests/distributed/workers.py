"""The functions that the test processes run."""

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

from hf_invwnn import InvWNNUnlearner, errors
from hf_invwnn.trainer import checkpoint
from hf_invwnn.trajectory import sharding


# Batch size summed over all processes.
GLOBAL_BATCH = 4

# The environment variables that DeepSpeed needs for a single process.
SINGLE_PROCESS = {
    "RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0",
}  # fmt: skip


def digits() -> Examples:
    data = load_digits()
    pixels = torch.tensor(data.images / 8 - 1, dtype=torch.float32).unsqueeze(1)
    return Examples(pixel_values=pixels, labels=torch.tensor(data.target))


def unlearner(
    output_dir: Path, world: int, architecture: str = "vit", shard: bool = False, examples: int = 16, **options: Any
) -> InvWNNUnlearner:
    """An unlearner whose global batches are the same for any number of processes."""
    torch.set_num_threads(1)
    if "deepspeed" in options:
        # DeepSpeed initializes the process group itself, but not if `ACCELERATE_USE_CPU` is set.
        os.environ.pop("ACCELERATE_USE_CPU", None)
        os.environ |= {"DS_ACCELERATOR": "cpu", "ACCELERATE_USE_DEEPSPEED": "true"}
        os.environ |= {name: os.environ.get(name, value) for name, value in SINGLE_PROCESS.items()}
    else:
        PartialState(cpu=True)
    model: Any = build_model(architecture)
    if shard:
        for block in model.vit.layers:
            fully_shard(block)
        fully_shard(model)
        # The mark of a model that `from_pretrained` has sharded: the Trainer does not wrap it again.
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
    """Trains, and saves the final weights of this process as whole tensors, the stop reason and the layout."""
    trainer = unlearner(output / "run", world, architecture, **options)
    trainer.train(resume_from_checkpoint=resume)
    save_whole(trainer, output / f"weights_{rank}.safetensors")
    (output / f"reason_{rank}.txt").write_text(f"{trainer.stop_reason}\n{trainer.tracked.shards.layout}\n")


def look_for_a_checkpoint(rank: int, output: Path, world: int, problems: list[str | None]) -> None:
    """Writes which checkpoint is found, or the error, where the check of checkpoint-8 raises `problems[rank]`."""
    trainer = unlearner(output / "run", world)

    def check(folder: str, *arguments: Any) -> None:
        if problems[rank] is not None and folder.endswith("-8"):
            raise getattr(errors, str(problems[rank]))(f"{folder} is refused")

    checkpoint.check_checkpoint = check
    checkpoint.load_state = lambda folder: {"identity": trainer.cached_fingerprint(), "run_id": None}
    try:
        found = Path(str(checkpoint.find_checkpoint(trainer, True))).name
    except errors.CorruptCheckpointError as error:
        found = type(error).__name__
    (output / f"found_{rank}.txt").write_text(found)


def write_fingerprint(rank: int, output: Path, world: int, shard: bool) -> None:
    """Writes the fingerprint of a run that freezes all parameters but the classifier."""
    trainer = unlearner(output / "run", world, shard=shard, tracked_parameters="classifier")
    (output / f"fingerprint_{rank}.json").write_text(json.dumps(trainer.fingerprint()))


def save_whole(trainer: InvWNNUnlearner, path: Path) -> None:
    """Saves the weights of the model as whole tensors, also if they are sharded."""
    model: Any = trainer.accelerator.unwrap_model(trainer.model)
    whole = {
        name: (value.full_tensor() if isinstance(value, DTensor) else value).detach().clone()
        for name, value in model.state_dict().items()
    }
    save_file(whole, path)


def gather_in_rounds(rank: int, output: Path) -> None:
    """Sets the local weights to rank + 1, gathers in rounds of three sizes, and saves all weights after each."""
    state = PartialState(cpu=True)
    assert state.num_processes == 3
    for size in (8, 52, 10**6):
        sharding.GATHER_BYTES = size
        tensors = {
            "conv": torch.zeros(2, 3, 4, 5).to(memory_format=torch.channels_last),
            "linear": torch.zeros(7, 3),
            "bias": torch.zeros(1),
            "half": torch.zeros(11, dtype=torch.bfloat16),
        }
        shards = sharding.LocalShards(tensors)
        for _, local in shards.items():
            local.fill_(rank + 1)
        shards.all_gather()
        save_file({name: value.contiguous() for name, value in tensors.items()}, output / f"{size}_{rank}.safetensors")


class KilledAt:
    """
    A profiling function that counts the calls in the package and in the libraries that write its files, and kills its
    process at one of them. Unlike a timer, it does not depend on the load of the machine.
    """

    def __init__(self, event: int) -> None:
        self.event, self.count = event, 0

    def __call__(self, frame: Any, kind: str, argument: Any) -> None:
        if kind in ("call", "c_call") and any(part in frame.f_code.co_filename for part in WATCHED):
            self.count += 1
            if self.count == self.event:
                os.kill(os.getpid(), signal.SIGKILL)


WATCHED = ("/hf_invwnn/", "/safetensors/", "/torch/serialization", "/shutil.py")

# 12 steps with a checkpoint after every second one: in the warm-up, while recording and after rewinds.
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
    """Trains from the last checkpoint, if any; process `victim` is killed at call `event`, none if that is 0."""
    trainer = unlearner(output / "run", world, **KILLED_RUN)
    resume = any((output / "run").glob("checkpoint-*"))
    counter = KilledAt(event if rank == victim else 0)
    sys.setprofile(counter)
    trainer.train(resume_from_checkpoint=resume)
    sys.setprofile(None)
    save_whole(trainer, output / f"weights_{rank}.safetensors")
    (output / f"calls_{rank}.txt").write_text(str(counter.count))

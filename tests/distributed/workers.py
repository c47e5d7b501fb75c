"""The functions that the test processes run."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel
from helpers import Examples, build_model, build_predictor, build_unlearner
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file
from sklearn.datasets import load_digits
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from transformers import TrainerCallback

from hf_invwnn import InvWNNUnlearner, LinearPredictor, UnlearningArguments, errors
from hf_invwnn.diffusion import DiffusionImages, FixedNoise, diffusion_unlearner
from hf_invwnn.diffusion.own_samples import OwnSamples
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


def texts() -> Examples:
    """The same digits as sequences of 16 token ids."""
    patches = load_digits().images.reshape(-1, 4, 2, 4, 2).mean(axis=(2, 4)).reshape(-1, 16)
    ids = torch.tensor(patches.round() + 1, dtype=torch.long)
    return Examples(input_ids=ids, attention_mask=torch.ones_like(ids), labels=torch.tensor(load_digits().target))


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
    if options.pop("adapter", False):
        torch.manual_seed(1)  # a new adapter is part of the start of a run
        model = get_peft_model(
            model, LoraConfig(target_modules=["query", "value"], r=2, modules_to_save=["classifier"])
        )
    data = texts() if architecture == "bert" else digits()
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


class StopAt(TrainerCallback):
    """Ends the training after a step, as a callback of the user's."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        control.should_training_stop = control.should_training_stop or state.global_step == self.step


def train_and_save(
    rank: int, output: Path, world: int, architecture: str, options: dict[str, Any], resume: bool = False
) -> None:
    """Trains, and saves the final weights of this process as whole tensors, the stop reason and the layout."""
    stop_at = options.pop("stop_at", None)
    trainer = unlearner(output / "run", world, architecture, **options)
    if stop_at is not None:
        trainer.add_callback(StopAt(stop_at))
    trainer.train(resume_from_checkpoint=resume)
    save_whole(trainer, output / f"weights_{rank}.safetensors")
    (output / f"reason_{rank}.txt").write_text(f"{trainer.stop_reason}\n{trainer.tracked.shards.layout}\n")


def save_and_load_shards(rank: int, output: Path, world: int) -> None:
    """
    Writes the state of a sharded run, changes all weights, and reads it again. The Trainer neither checkpoints nor
    saves a model that was sharded before it, and shards none on a CPU, so only the part of this package is called.
    """
    trainer = unlearner(output / "run", world, shard=True, num_rewinds=1, **{"optim": "sgd", "learning_rate": 0.1})
    trainer.train()
    save_whole(trainer, output / f"trained_{rank}.safetensors")
    checkpoint.save_run(trainer, output / "checkpoint-9")
    trainer.accelerator.wait_for_everyone()
    with torch.no_grad():
        for value in trainer.tracked.local_tensors().values():
            value.add_(1)
    trainer.load_run(str(output / "checkpoint-9"))
    save_whole(trainer, output / f"weights_{rank}.safetensors")


def train_diffusion(rank: int, output: Path, world: int, recovery_steps: int = 0) -> None:
    """Makes a DDPM forget 16 digits whose noise is fixed, so that it does not depend on the number of processes."""
    torch.set_num_threads(1)
    PartialState(cpu=True)
    torch.manual_seed(0)
    blocks = {"down_block_types": ("DownBlock2D",) * 2, "up_block_types": ("UpBlock2D",) * 2}
    unet = UNet2DModel(
        sample_size=8, in_channels=1, out_channels=1, block_out_channels=(4, 8), norm_num_groups=2,
        layers_per_block=1, add_attention=False, **blocks,
    )  # fmt: skip
    images = digits().columns["pixel_values"][:16]
    noisy = FixedNoise(DiffusionImages(images), 10)
    args = UnlearningArguments(
        str(output / "run"), num_rewinds=2, num_snapshots=3, optim="sgd", learning_rate=0.05, use_cpu=True,
        per_device_train_batch_size=GLOBAL_BATCH // world, train_sampling_strategy="sequential", save_strategy="no",
        report_to="none", disable_tqdm=True, logging_strategy="no", recovery_steps=recovery_steps,
    )  # fmt: skip
    trainer = diffusion_unlearner(
        DDPMPipeline(unet, DDPMScheduler(num_train_timesteps=10)), args, noisy, predictor=LinearPredictor(),
        surrogates=OwnSamples(count=8),
    )  # fmt: skip
    trainer.train()
    save_whole(trainer, output / f"weights_{rank}.safetensors")


class FailsAt(TrainerCallback):
    """Raises in one process, as a full disk or a lost connection would."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == self.step:
            raise OSError("no space left on device")


def train_until_it_fails(rank: int, output: Path, world: int) -> None:
    """Fails in all processes after step 7, with a checkpoint after every second step, and writes what is logged."""
    trainer = unlearner(output / "run", world, save_strategy="steps", save_steps=2, callbacks=[FailsAt(7)])
    before = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    records: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: records.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("hf_invwnn").addHandler(handler)
    try:
        trainer.train()
        found = "no error"
    except OSError as error:
        found = str(error)
    moved = any(not torch.equal(value, before[name]) for name, value in trainer.model.state_dict().items())
    (output / f"failed_{rank}.json").write_text(json.dumps({"error": found, "moved": moved, "log": records}))


def look_for_a_checkpoint(rank: int, output: Path, world: int, problems: list[str | None]) -> None:
    """Writes which checkpoint is found, or the error, where the check of checkpoint-8 raises `problems[rank]`."""
    trainer = unlearner(output / "run", world)

    def check(folder: str, *arguments: Any) -> None:
        if problems[rank] is not None and folder.endswith("-8"):
            raise getattr(errors, str(problems[rank]))(f"{folder} is refused")

    trainer.cached_fingerprint()  # of all processes together
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

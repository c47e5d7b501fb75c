"""A run that `accelerate launch` starts on GPUs: arguments are a folder, the options of the run and its checkpoint."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from helpers import Examples, build_model, build_predictor, build_unlearner
from safetensors.torch import save_file
from sklearn.datasets import load_digits
from torch.distributed.tensor import DTensor
from transformers import TrainerCallback


class StopAt(TrainerCallback):
    """Ends the training after a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        control.should_training_stop = control.should_training_stop or state.global_step == self.step


def main(folder: Path, options: dict[str, Any], resume: bool) -> None:
    data = load_digits()
    pixels = torch.tensor(data.images / 8 - 1, dtype=torch.float32).unsqueeze(1)
    digits = Examples(pixel_values=pixels, labels=torch.tensor(data.target))
    stop_at = options.pop("stop_at", None)
    trainer = build_unlearner(
        build_model("vit"), digits.part(0, 16), predictor=build_predictor(trajectory_scale="weight"),
        eval_dataset=digits.part(900, 932), train_sampling_strategy="sequential", learning_rate=3e-3,
        residual_scale=0.5, output_dir=folder / "run", use_cpu=False, **options,
    )  # fmt: skip
    if stop_at is not None:
        trainer.add_callback(StopAt(stop_at))
    trainer.train(resume_from_checkpoint=resume)
    trainer.save_model(str(folder / "saved"))
    model: Any = trainer.accelerator.unwrap_model(trainer.model)
    whole = {
        name: (value.full_tensor() if isinstance(value, DTensor) else value).detach().cpu().clone()
        for name, value in model.state_dict().items()
    }
    if trainer.is_world_process_zero():
        save_file(whole, folder / "weights.safetensors")
        facts = {"layout": trainer.tracked.shards.layout, "reason": trainer.stop_reason}
        (folder / "facts.json").write_text(json.dumps(facts))


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(sys.argv[2]), sys.argv[3] == "resume")

"""Train a past-weight predictor on weight histories and measure its skill on an architecture it has not seen.

    python recipes/predictor/train_predictor.py --histories outputs/histories --held_out convnext \\
        --output_dir outputs/predictor --num_train_epochs 4 --per_device_train_batch_size 512 --learning_rate 2e-3 \\
        --lr_scheduler_type cosine --warmup_steps 100 --save_strategy no --report_to none

This is how the predictor in the package was made. The held-out architecture judges; with `--held_out none` all of the
histories train and none judges.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from datasets import load_dataset
from transformers import HfArgumentParser, TrainingArguments, set_seed

from hf_invwnn import InvWNNConfig, InvWNNModel
from hf_invwnn.histories import measure_skill, train_predictor, windows_of
from hf_invwnn.predictor import PARAMETER_KINDS


@dataclass
class PredictorArguments:
    histories: str = field(metadata={"help": "Folder of parquet files from collect_histories.py."})
    held_out: str = field(default="convnext", metadata={"help": "Architecture that only judges; 'none' for none."})
    num_snapshots: int = field(default=15, metadata={"help": "K."})
    rewind_epochs: int = field(default=8, metadata={"help": "U."})
    trajectory_scale: str = field(default="weight", metadata={"help": "'none' as in the paper, or 'weight'."})
    residual_range: float = field(default=4.0, metadata={"help": "Largest residual, in units of the scale."})
    bias_penalty: float = field(default=1e-4, metadata={"help": "L1 penalty of the network's biases (paper: 0.1)."})


def main() -> None:
    predictor_args, args = HfArgumentParser((PredictorArguments, TrainingArguments)).parse_args_into_dataclasses()
    histories = load_dataset("parquet", data_files=f"{predictor_args.histories}/*.parquet", split="train")
    is_held_out = [name == predictor_args.held_out for name in histories["architecture"]]
    training = histories.select([index for index, held in enumerate(is_held_out) if not held])
    judging = histories.select([index for index, held in enumerate(is_held_out) if held])

    set_seed(args.seed)
    config = InvWNNConfig(
        num_snapshots=predictor_args.num_snapshots,
        rewind_epochs=predictor_args.rewind_epochs,
        trajectory_scale=predictor_args.trajectory_scale,
        residual_range=predictor_args.residual_range,
        bias_penalty=predictor_args.bias_penalty,
    )
    lengths = (predictor_args.num_snapshots, predictor_args.rewind_epochs)
    scale_free = config.trajectory_scale != "none"
    windows = {kind: windows_of(training, kind, *lengths, normalized=scale_free) for kind in PARAMETER_KINDS}
    model = train_predictor(InvWNNModel(config), windows, args)
    model.save_pretrained(args.output_dir)

    if len(judging):
        skill = [
            measure_skill(model, windows[kind], windows_of(judging, kind, *lengths, normalized=scale_free))
            for kind in PARAMETER_KINDS
        ]
        report = json.dumps([asdict(kind) for kind in skill], indent=2)
        Path(args.output_dir, "skill.json").write_text(report + "\n")


if __name__ == "__main__":
    main()

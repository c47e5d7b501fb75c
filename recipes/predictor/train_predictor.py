"""Train a past-weight predictor on weight histories, and measure its skill on families it has never seen.

    python recipes/predictor/train_predictor.py --config recipes/predictor/configs/base.yaml

Families (architecture x dataset) are parted in three: those that train, those that say when to stop (`validation`)
and those that judge (`test`). Writes the predictor, `skill.json`, and `skill.md` and `trained_on.md`, which
`hf-invwnn push` puts into its card. `--compare NAME=FOLDER` puts other predictors beside it, such as the authors'
weights converted by `hf-invwnn convert-keras`.
"""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass, field
from pathlib import Path

from datasets import load_dataset
from transformers import TrainingArguments, set_seed

from hf_invwnn import InvWNNConfig, InvWNNModel, LinearPredictor
from hf_invwnn.audit.tables import markdown_table
from hf_invwnn.cli.parser import parse_yaml_and_flags
from hf_invwnn.files import write_json
from hf_invwnn.histories import (
    Skill,
    Windows,
    best_linear_scale,
    cosine,
    counterfactual_windows,
    relative_l1,
    residuals_of,
    split_by_family,
    train_predictor,
    windows_of,
)
from hf_invwnn.predictor import PARAMETER_KINDS, PastWeightPredictor, load_predictor


@dataclass
class PredictorArguments:
    histories: str = field(metadata={"help": "Folder of parquet files from collect_histories.py."})
    validation: list[str] = field(metadata={"help": "Families to stop by, such as 'vit x digits'; * is anything."})
    test: list[str] = field(metadata={"help": "Families to report on."})
    compare: list[str] = field(default_factory=list, metadata={"help": "NAME=FOLDER of other predictors."})
    windows_per_family: int = field(default=20_000, metadata={"help": "Most windows of a family, for each kind."})
    num_snapshots: int = field(default=15, metadata={"help": "K."})
    rewind_epochs: int = field(default=8, metadata={"help": "U."})
    target: str = field(default="past", metadata={"help": "'past' or 'counterfactual'."})
    trajectory_scale: str = field(default="weight", metadata={"help": "'none' as in the paper, 'weight' or 'tensor'."})
    hidden_size: int = field(default=128, metadata={"help": "Width of a stream's first layers."})
    activation_size: int = field(default=8, metadata={"help": "Width inside the activation network."})
    stream_size: int = field(default=64, metadata={"help": "Width of a stream's last layer."})
    training_jitter: dict | None = field(default=None, metadata={"help": "Kind: noise on trajectories in training."})
    residual_range: float = field(default=4.0, metadata={"help": "Largest residual, in units of the scale."})
    kernel_penalty: float = field(default=1e-6, metadata={"help": "L1 penalty of the network's kernels."})
    bias_penalty: float = field(default=1e-4, metadata={"help": "L1 penalty of the network's biases (paper: 0.1)."})
    patience: int = field(default=3, metadata={"help": "Epochs without a better validation loss before stopping."})


SplitWindows = dict[str, dict[str, Windows]]


def load_windows(args: PredictorArguments, target: str) -> SplitWindows:
    """Part -> kind -> windows."""
    histories = load_dataset("parquet", data_files=f"{args.histories}/*.parquet", split="train")
    parts = split_by_family(histories, args.validation, args.test)

    def cut(rows, kind: str) -> Windows:  # type: ignore[no-untyped-def]
        if target == "counterfactual":
            windows = counterfactual_windows(rows, kind, args.num_snapshots).at_most(args.windows_per_family)
        else:
            windows = windows_of(
                rows, kind, args.num_snapshots, args.rewind_epochs, per_family=args.windows_per_family
            )
        windows.normalized = args.trajectory_scale != "none"
        return windows

    return {part: {kind: cut(rows, kind) for kind in PARAMETER_KINDS} for part, rows in parts.items()}


def lines(training: dict[str, Windows]) -> LinearPredictor:
    """The best line for each kind."""
    return LinearPredictor({kind: max(0.0, best_linear_scale(windows)) for kind, windows in training.items()})


def measure(parts: SplitWindows, predictors: dict[str, PastWeightPredictor], target: str) -> list[Skill]:
    skills = []
    for kind in PARAMETER_KINDS:
        windows = parts["test"][kind]
        residuals = {name: residuals_of(predictor, windows) for name, predictor in predictors.items()}
        skills += (relative_l1 if target == "past" else cosine)(residuals, windows)
    return skills


def table(skills: dict[str, list[Skill]]) -> str:
    """Markdown: a row for each measure, kind and predictor."""
    rows = [["measure", "kind", "predictor", "mean over families", "95 % interval"]]
    for measure_name, measured in skills.items():
        for skill in measured:
            interval = f"{skill.low:.3f} to {skill.high:.3f}"
            rows.append([measure_name, skill.kind, skill.predictor, f"{skill.value:.3f}", interval])
    return markdown_table(rows, text_columns=3) + "\n"


def trained_on(parts: SplitWindows, args: PredictorArguments) -> str:
    """Markdown: how many windows, and which families were kept out."""
    counts = ", ".join(f"{len(windows):,} windows of {kind} weights" for kind, windows in parts["train"].items())
    return (
        f"Weight histories: {counts}; at most {args.windows_per_family:,} of each family (architecture x dataset). "
        f"Kept out to say when to stop: {', '.join(args.validation)}. "
        f"Kept out for the table: {', '.join(args.test)}.\n"
    )


def main() -> None:
    args, training = parse_yaml_and_flags((PredictorArguments, TrainingArguments), __doc__)
    logging.basicConfig(level=logging.INFO)
    others = dict(pair.split("=", 1) for pair in args.compare)
    predictors = {name: load_predictor(folder) for name, folder in others.items()}
    windows = {target: load_windows(args, target) for target in ("past", "counterfactual")}
    set_seed(training.seed)
    names = ("num_snapshots", "rewind_epochs", "target", "trajectory_scale", "hidden_size", "activation_size")
    names += ("stream_size", "training_jitter", "residual_range", "kernel_penalty", "bias_penalty")
    model = InvWNNModel(InvWNNConfig(**{name: getattr(args, name) for name in names}))
    parts = windows[args.target]
    train_predictor(model, parts["train"], training, parts["validation"], args.patience)
    model.save_pretrained(training.output_dir)

    skills = {}
    for target, measure_name in (("past", "relative L1, past"), ("counterfactual", "cosine, counterfactual")):
        line = lines(windows[target]["train"])
        compared = {"ours": model, "best line": line, **predictors}
        skills[measure_name] = measure(windows[target], compared, target)
    report = {name: [asdict(skill) for skill in measured] for name, measured in skills.items()}
    write_json(report, Path(training.output_dir, "skill.json"))
    Path(training.output_dir, "skill.md").write_text(table(skills))
    Path(training.output_dir, "trained_on.md").write_text(trained_on(parts, args))
    logging.info("\n%s", table(skills))


if __name__ == "__main__":
    main()

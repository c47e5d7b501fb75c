"""`UnlearningArguments`: how to rewind, and when it is enough."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

from transformers import SchedulerType, TrainingArguments
from transformers.trainer_utils import HubStrategy

from .storage import STORAGES
from .trajectory import TRAJECTORY_DTYPES


SNAPSHOT_STRATEGIES = ("epoch", "steps")


@dataclass
class UnlearningArguments(TrainingArguments):
    r"""
    [`~transformers.TrainingArguments`] for unlearning. The number of epochs or steps follows from the rewinds:
    `num_rewinds * (warmup_intervals + num_snapshots - 1)` intervals.

    Only what unlearning adds, or takes another default for, is listed here.

    Args:
        num_rewinds (`int`, defaults to 10): T, how often to fine-tune and rewind at the most.
        num_snapshots (`int`, defaults to 15): K, snapshots in a trajectory; that of the predictor. At least 2.
        snapshot_strategy (`str`, defaults to `"epoch"`): An interval between snapshots is one epoch on the forget set
            (`"epoch"`, as in the paper) or `snapshot_steps` optimizer steps (`"steps"`).
        snapshot_steps (`int`, defaults to 1): Optimizer steps of an interval, with `snapshot_strategy="steps"`.
        warmup_intervals (`int`, defaults to 0): Intervals of fine-tuning before each recording (the authors' code has
            2 for ResNet).
        residual_scale (`float`, defaults to 0.5): Share of the predicted residual that a rewind takes, in (0, 10];
            1.0 is the paper's full step; above it a rewind goes further than was predicted. Many short rewinds
            forget with less harm than few full ones. This and `learning_rate` did best of twelve pairs with the
            predictor in the package (its card tells how); with `LinearPredictor`, 0.15 did.
        tracked_parameters (`str`, *optional*): Regular expression, searched for in parameter names. Parameters that do
            not match, or do not require grad, stay as they are.
        freeze_normalization (`bool`, defaults to `True`): Keep running statistics bitwise as they are.
        reset_optimizer (`bool`, defaults to `False`): Start each recording with a fresh optimizer state.
        trajectory_dtype (`str`, defaults to `"float32"`): `"float32"`, or `"bfloat16"` for differences in half the
            memory.
        trajectory_storage (`str`, defaults to `"cpu"`): Where snapshots live: `"cpu"` (pinned where the model is on an
            accelerator), `"model"` for beside the parameters, or `"disk"` for memory-mapped safetensors.
        trajectory_folder (`str`, *optional*): Where on disk; `_trajectory` in `output_dir` by default.
        save_every_rewinds (`int`, defaults to 0): Save a checkpoint after every n-th rewind, when it is smallest; 0
            leaves saving to `save_strategy`.
        target_ua (`float`, *optional*): Stop at this UA, in percent of the forget set.
        ua_tolerance (`float`, defaults to 0.5): How near, in points; one example where that is more.
        stop_at_unseen_loss (`bool`, defaults to `False`): Stop where the loss on the forget set meets that on the
            evaluation set `"held_out"`.
        min_utility (`float`, *optional*): Stop before `utility_metric` falls below this.
        utility_metric (`str`, defaults to `"eval_held_out_accuracy"`): A metric of an evaluation set.
        max_forget_steps (`int`, *optional*): Budget of optimizer steps on the forget set; a recording that would not
            finish is not begun.
        max_seconds (`float`, *optional*): Budget of time; the last good weights are kept.
        hub_strategy (`str`, defaults to `"end"`): Nothing else goes with `push_to_hub=True`; whatever is uploaded
            earlier still knows the forget set.
        learning_rate (`float`, defaults to 1e-3): For models trained from nothing; a large pretrained one wants a rate
            like that of its fine-tuning.
        lr_scheduler_type (`str`, defaults to `"constant"`), max_grad_norm (`float`, defaults to 0.0): As in
            [`~transformers.TrainingArguments`]. A decaying rate or clipped gradients would make the snapshots unevenly
            spaced.

    Raises:
        ValueError: A value, or two together, cannot work; the message says which and what would do.
    """

    num_rewinds: int = field(default=10, metadata={"help": "How often to fine-tune and rewind at the most."})
    num_snapshots: int = field(default=15, metadata={"help": "Snapshots in a trajectory (K of the predictor)."})
    snapshot_strategy: str = field(
        default="epoch", metadata={"help": "An interval between snapshots: 'epoch', or 'steps' (snapshot_steps)."}
    )
    snapshot_steps: int = field(default=1, metadata={"help": "Optimizer steps of an interval, with 'steps'."})
    warmup_intervals: int = field(default=0, metadata={"help": "Unrecorded intervals before each recording."})
    residual_scale: float = field(default=0.5, metadata={"help": "Share of the residual, in (0, 10]; 1: the paper."})
    tracked_parameters: str | None = field(
        default=None, metadata={"help": "Regular expression for the parameters to rewind; all trainable by default."}
    )
    freeze_normalization: bool = field(default=True, metadata={"help": "Keep running statistics bitwise unchanged."})
    reset_optimizer: bool = field(default=False, metadata={"help": "Fresh optimizer state after each rewind."})
    trajectory_dtype: str = field(default="float32", metadata={"help": "'float32' or 'bfloat16' (differences)."})
    trajectory_storage: str = field(default="cpu", metadata={"help": "Where snapshots live: 'cpu', 'model', 'disk'."})
    trajectory_folder: str | None = field(default=None, metadata={"help": "Where on disk; in output_dir by default."})
    save_every_rewinds: int = field(
        default=0, metadata={"help": "Checkpoint after every n-th rewind; 0: only as save_strategy says."}
    )
    target_ua: float | None = field(default=None, metadata={"help": "Stop at this UA (percent of the forget set)."})
    ua_tolerance: float = field(default=0.5, metadata={"help": "How near to target_ua, in points."})
    stop_at_unseen_loss: bool = field(
        default=False, metadata={"help": "Stop where the forget loss meets the loss on the 'held_out' set."}
    )
    min_utility: float | None = field(default=None, metadata={"help": "Stop before utility_metric falls below."})
    utility_metric: str = field(default="eval_held_out_accuracy", metadata={"help": "Metric of min_utility."})
    max_forget_steps: int | None = field(default=None, metadata={"help": "Budget of optimizer steps."})
    max_seconds: float | None = field(default=None, metadata={"help": "Budget of seconds."})

    learning_rate: float = field(default=1e-3, metadata={"help": "The initial learning rate."})
    lr_scheduler_type: SchedulerType | str = field(
        default="constant", metadata={"help": "The learning rate scheduler type to use."}
    )
    max_grad_norm: float = field(default=0.0, metadata={"help": "Max gradient norm; 0 does not clip."})
    hub_strategy: HubStrategy | str = field(
        default="end", metadata={"help": "With push_to_hub, only 'end': what is uploaded earlier still knows D_f."}
    )

    def __post_init__(self) -> None:
        self._check_rewinding()
        self._check_stopping()
        self._derive_length()
        super().__post_init__()
        if self.load_best_model_at_end:
            raise ValueError(
                "`load_best_model_at_end` must stay False, got True: stopping rules choose the point to end at "
                "(`target_ua`, `stop_at_unseen_loss`, `min_utility`)."
            )
        if self.push_to_hub and self.hub_strategy != HubStrategy.END:
            raise ValueError(
                f"`hub_strategy` must be 'end', got '{HubStrategy(self.hub_strategy).value}': a checkpoint holds the "
                "trajectory, and a model that has just learned the forget set once more."
            )

    @property
    def intervals_per_rewind(self) -> int:
        """Intervals of fine-tuning for one rewind, the unrecorded ones among them."""
        return self.warmup_intervals + self.num_snapshots - 1

    @property
    def trajectory_path(self) -> Path:
        """The folder for what is kept on disk while a run goes on."""
        return Path(self.trajectory_folder or Path(str(self.output_dir)) / "_trajectory")

    def _check_rewinding(self) -> None:
        for name, least in (
            ("num_rewinds", 1),
            ("num_snapshots", 2),
            ("snapshot_steps", 1),
            ("warmup_intervals", 0),
            ("save_every_rewinds", 0),
        ):
            if not isinstance(getattr(self, name), int) or getattr(self, name) < least:
                raise ValueError(f"`{name}` must be a whole number of at least {least}, got {getattr(self, name)}.")
        if not 0 < self.residual_scale <= 10:
            raise ValueError(
                f"`residual_scale` must lie in (0, 10], got {self.residual_scale}; 1.0 is the paper's, 0.25 gentle."
            )
        for name, choices in (
            ("snapshot_strategy", SNAPSHOT_STRATEGIES),
            ("trajectory_dtype", tuple(TRAJECTORY_DTYPES)),
            ("trajectory_storage", STORAGES),
        ):
            if getattr(self, name) not in choices:
                raise ValueError(f"`{name}` must be one of {choices}, got {getattr(self, name)!r}.")

    def _check_stopping(self) -> None:
        if self.target_ua is not None and not 0 <= self.target_ua <= 100:
            raise ValueError(f"`target_ua` is in percent and must lie in 0..100, got {self.target_ua}.")
        if not self.ua_tolerance > 0:
            raise ValueError(f"`ua_tolerance` must be positive (points of UA), got {self.ua_tolerance}.")
        if self.min_utility is not None and not math.isfinite(self.min_utility):
            raise ValueError(f"`min_utility` must be a finite number, got {self.min_utility}.")
        if not self.utility_metric.startswith("eval_") or self.utility_metric.count("_") < 2:
            raise ValueError(
                f"`utility_metric` must be named like 'eval_held_out_accuracy' (set and metric), got "
                f"{self.utility_metric!r}."
            )
        for name in ("max_forget_steps", "max_seconds"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise ValueError(f"`{name}` must be positive, or None for no limit, got {value}.")

    def _derive_length(self) -> None:
        """The Trainer's own length follows from the rewinds, so that progress bars and schedulers know it."""
        intervals = self.num_rewinds * self.intervals_per_rewind
        if self.snapshot_strategy == "epoch":
            epochs, steps = float(intervals), -1
        else:
            epochs, steps = 3.0, intervals * self.snapshot_steps
        for name, given, derived, default in (
            ("num_train_epochs", self.num_train_epochs, epochs, 3.0),
            ("max_steps", self.max_steps, steps, -1),
        ):
            if given not in (derived, default):
                raise ValueError(
                    f"`{name}` follows from `num_rewinds`, `num_snapshots`, `warmup_intervals` and "
                    f"`snapshot_strategy` ({derived:g} here), got {given}; set those, or `max_forget_steps`."
                )
        self.num_train_epochs, self.max_steps = epochs, steps


__all__ = ["UnlearningArguments"]

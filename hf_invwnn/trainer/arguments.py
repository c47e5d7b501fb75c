"""`UnlearningArguments`: the settings of an unlearning run."""

from __future__ import annotations

import math
import numbers
from dataclasses import dataclass, field, fields
from pathlib import Path

from transformers import SchedulerType, TrainingArguments
from transformers.trainer_utils import HubStrategy

from ..trajectory.storage import STORAGES
from ..trajectory.trajectory import TRAJECTORY_DTYPES


SNAPSHOT_STRATEGIES = ("epoch", "steps")
RECOVERY_STARTS = ("rewound", "original")
RECOVERY_SCHEDULES = ("cosine", "constant")


class DerivedEpochs(float):
    """A number of epochs that follows from other arguments, so that `dataclasses.replace` may change those."""


class DerivedSteps(int):
    """A number of steps that follows from other arguments."""


@dataclass
class UnlearningArguments(TrainingArguments):
    r"""
    [`~transformers.TrainingArguments`] for unlearning. The number of epochs or steps follows from the rewinds:
    `num_rewinds * (warmup_intervals + num_snapshots - 1)` intervals.

    Only additional arguments and changed defaults are listed here.

    Args:
        num_rewinds (`int`, defaults to 10): Maximum number of rounds, which for InvWNN are rewinds (T in the paper).
        num_snapshots (`int`, defaults to 15): Snapshots in a trajectory (K in the paper); must be that of the
            predictor. At least 2.
        snapshot_strategy (`str`, defaults to `"epoch"`): The interval between two snapshots: one epoch on the forget
            set (`"epoch"`, as in the paper) or `snapshot_steps` optimizer steps (`"steps"`).
        snapshot_steps (`int`, defaults to 1): Optimizer steps of an interval, with `snapshot_strategy="steps"`.
        warmup_intervals (`int`, defaults to 0): Intervals of fine-tuning before each recording (2 for ResNet in the
            authors' code).
        residual_scale (`float`, defaults to 0.5): Factor of the predicted residual in each rewind, in (0, 10]; 1.0 is
            the full step of the paper. Many short rewinds harm a model less than few full ones. The defaults of this
            and of `learning_rate` were the best of twelve pairs for the predictor in the package (see its card); for
            `LinearPredictor` the best scale was 0.15.
        tracked_parameters (`str`, *optional*): Regular expression, searched for in parameter names. Parameters that do
            not match, or do not require grad, are not changed.
        freeze_normalization (`bool`, *optional*): Keep the running statistics of BatchNorm bitwise unchanged. By
            default `True`, but `False` for methods that train on retained examples, as they were published. In a
            recovery they never change.
        reset_optimizer (`bool`, defaults to `False`): Clear the optimizer state after each rewind.
        trajectory_dtype (`str`, defaults to `"float32"`): `"float32"`, or `"bfloat16"` for about half the memory.
        trajectory_storage (`str`, defaults to `"cpu"`): Where snapshots are stored: `"cpu"` (pinned if the model is on
            CUDA), `"model"` (on the device of the parameters) or `"disk"` (a memory-mapped file).
        trajectory_folder (`str`, *optional*): Folder of that file; `_trajectory` in `output_dir` by default.
        recovery_steps (`int`, *optional*): Optimizer steps of recovery after rewinding, see [`Recovery`]; with 0 the
            algorithm is that of the paper. By default 600 for InvWNN, but at most half of `max_forget_steps`, and 0
            for other methods, for fewer than 10 examples and where it is not possible, which a warning says.
        recovery_weight (`float`, defaults to 1.0): Weight of what is kept (the answers to surrogates) against what is
            forgotten (the answers to the forget set).
        recovery_temperature (`float`, defaults to 1.0): Temperature of both terms.
        recovery_learning_rate (`float`, *optional*): Highest learning rate of recovery; `learning_rate` by default.
        recovery_schedule (`str`, defaults to `"cosine"`): `"cosine"`, which ends at 0, or `"constant"`.
        recovery_start (`str`, defaults to `"rewound"`): The weights it starts from: `"rewound"` or `"original"`.
        recovery_without_labels (`bool`, defaults to `False`): Take the label of an example out of what the original
            model answers to its surrogates: for a class, a backdoor or wrong labels, which surrogates show too; not
            for examples whose labels are to stay true of others like them. For images of one class each.
        recovery_cycles (`int`, defaults to 1): Number of recoveries; with more than one they alternate with rewinding.
        recovery_overshoot (`float`, defaults to 0.2): How far beyond its goal a run rewinds, because recovery gives
            some of it back: a share of the points from `target_ua` to 100, or of the unseen loss. In [0, 1].
        save_every_rewinds (`int`, defaults to 0): Save a checkpoint after every n-th rewind, when it is smallest; 0
            saves according to `save_strategy` only.
        target_ua (`float`, *optional*): Stop at this UA, in percent of the forget set.
        ua_tolerance (`float`, defaults to 0.5): Tolerance of `target_ua` in points; at least one example.
        stop_at_unseen_loss (`bool`, defaults to `False`): Stop where the loss on the forget set reaches the loss that
            the original model has on the evaluation set `"unseen"`.
        max_unseen_loss_rise (`float`, defaults to 0.25): With an evaluation set `"unseen"`, the run ends before the
            loss on it rises by more than this share (or, where accuracy is measured, by 0.2 if that is more).
        max_unseen_accuracy_drop (`float`, defaults to 0.1): The same for its accuracy, as a share of the examples.
        min_utility (`float`, *optional*): Stop before `utility_metric` falls below this value.
        utility_metric (`str`, defaults to `"eval_unseen_accuracy"`): A metric of an evaluation set.
        max_forget_steps (`int`, *optional*): Budget of optimizer steps; a round that would exceed it is not begun.
        max_seconds (`float`, *optional*): Budget of time; when it is used up, the last good weights are restored.
        hub_strategy (`str`, defaults to `"end"`): The only value allowed with `push_to_hub=True`: earlier uploads
            would still contain the forget set.
        learning_rate (`float`, defaults to 1e-3): The default suits models trained from scratch. For a pretrained
            model start from its fine-tuning learning rate.
        lr_scheduler_type (`str`, defaults to `"constant"`), max_grad_norm (`float`, defaults to 0.0): As in
            [`~transformers.TrainingArguments`]. A decaying rate or gradient clipping would space the snapshots
            unevenly.

    Raises:
        ValueError: A value, or a combination of two, cannot work; the message names both and a value that would.
    """

    num_rewinds: int = field(default=10, metadata={"help": "Maximum number of rounds (rewinds; T)."})
    num_snapshots: int = field(default=15, metadata={"help": "Snapshots in a trajectory (K of the predictor)."})
    snapshot_strategy: str = field(
        default="epoch", metadata={"help": "Interval between snapshots: 'epoch' or 'steps'."}
    )
    snapshot_steps: int = field(default=1, metadata={"help": "Optimizer steps of an interval, with 'steps'."})
    warmup_intervals: int = field(default=0, metadata={"help": "Unrecorded intervals before each recording."})
    residual_scale: float = field(default=0.5, metadata={"help": "Factor of the residual, in (0, 10]; 1: the paper."})
    tracked_parameters: str | None = field(
        default=None, metadata={"help": "Regular expression for the parameters to track; all trainable by default."}
    )
    freeze_normalization: bool | None = field(
        default=None, metadata={"help": "Keep BatchNorm statistics unchanged; by default, if D_f alone is trained on."}
    )
    reset_optimizer: bool = field(default=False, metadata={"help": "Clear the optimizer state after each rewind."})
    recovery_steps: int | None = field(
        default=None, metadata={"help": "Steps of recovery after rewinding; 0: none (the paper); InvWNN: 600."}
    )
    recovery_weight: float = field(default=1.0, metadata={"help": "Weight of what recovery keeps."})
    recovery_temperature: float = field(default=1.0, metadata={"help": "Temperature of the terms of recovery."})
    recovery_learning_rate: float | None = field(
        default=None, metadata={"help": "Highest learning rate of recovery; learning_rate by default."}
    )
    recovery_schedule: str = field(default="cosine", metadata={"help": "Its schedule: 'cosine' or 'constant'."})
    recovery_start: str = field(default="rewound", metadata={"help": "Where it starts: 'rewound' or 'original'."})
    recovery_without_labels: bool = field(
        default=False, metadata={"help": "Take forgotten labels out of what recovery keeps (class, backdoor, noise)."}
    )
    recovery_cycles: int = field(default=1, metadata={"help": "Recoveries, which alternate with rewinding."})
    recovery_overshoot: float = field(
        default=0.2, metadata={"help": "How far beyond its goal a run rewinds before recovery, as a share."}
    )
    trajectory_dtype: str = field(default="float32", metadata={"help": "'float32' or 'bfloat16'."})
    trajectory_storage: str = field(
        default="cpu", metadata={"help": "Where snapshots are stored: 'cpu', 'model', 'disk'."}
    )
    trajectory_folder: str | None = field(
        default=None, metadata={"help": "Folder with 'disk'; in output_dir by default."}
    )
    save_every_rewinds: int = field(
        default=0, metadata={"help": "Checkpoint after every n-th rewind; 0: save_strategy only."}
    )
    target_ua: float | None = field(default=None, metadata={"help": "Stop at this UA (percent of the forget set)."})
    ua_tolerance: float = field(default=0.5, metadata={"help": "Tolerance of target_ua, in points."})
    stop_at_unseen_loss: bool = field(
        default=False, metadata={"help": "Stop where the forget loss reaches the loss on the 'unseen' set."}
    )
    max_unseen_loss_rise: float = field(
        default=0.25, metadata={"help": "End before the loss on 'unseen' rises by more than this share."}
    )
    max_unseen_accuracy_drop: float = field(
        default=0.1, metadata={"help": "End before the accuracy on 'unseen' falls by more than this share."}
    )
    min_utility: float | None = field(default=None, metadata={"help": "Stop before utility_metric falls below."})
    utility_metric: str = field(default="eval_unseen_accuracy", metadata={"help": "Metric of min_utility."})
    max_forget_steps: int | None = field(default=None, metadata={"help": "Budget of optimizer steps."})
    max_seconds: float | None = field(default=None, metadata={"help": "Budget of seconds."})

    learning_rate: float = field(default=1e-3, metadata={"help": "The initial learning rate."})
    lr_scheduler_type: SchedulerType | str = field(
        default="constant", metadata={"help": "The learning rate scheduler type to use."}
    )
    max_grad_norm: float = field(default=0.0, metadata={"help": "Max gradient norm; 0 does not clip."})
    hub_strategy: HubStrategy | str = field(
        default="end", metadata={"help": "With push_to_hub, only 'end': earlier uploads would contain D_f."}
    )

    def __post_init__(self) -> None:
        self._check_numbers()
        self._check_rewinding()
        self._check_stopping()
        self.derive_length()
        super().__post_init__()
        if self.load_best_model_at_end:
            raise ValueError(
                "`load_best_model_at_end` must stay False, got True: stopping rules choose the point to end at "
                "(`target_ua`, `stop_at_unseen_loss`, `min_utility`)."
            )
        if self.push_to_hub and self.hub_strategy != HubStrategy.END:
            raise ValueError(
                f"`hub_strategy` must be 'end', got '{HubStrategy(self.hub_strategy).value}': a checkpoint holds the "
                "trajectory and a model that was just fine-tuned on the forget set."
            )

    @property
    def intervals_per_rewind(self) -> int:
        """Intervals of fine-tuning in one round, including the unrecorded ones."""
        return self.warmup_intervals + self.num_snapshots - 1

    @property
    def trajectory_path(self) -> Path:
        """Folder of the files that exist only during a run."""
        return Path(self.trajectory_folder or Path(str(self.output_dir)) / "_trajectory")

    def _check_numbers(self) -> None:
        """Checks the types of all numbers, those of [`~transformers.TrainingArguments`] included."""
        for item in fields(self):
            value = getattr(self, item.name)
            kind = (item.type.__name__ if isinstance(item.type, type) else str(item.type)).replace(" ", "")
            if value is None or "str" in kind or "dict" in kind or "list" in kind:
                continue
            takes_float, takes_int = "float" in kind, kind in ("int", "int|None", "Optional[int]")
            if not (takes_float or takes_int):
                continue
            whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
            if takes_int and not whole:
                raise ValueError(f"`{item.name}` must be a whole number, got {value!r}.")
            if isinstance(value, bool) or not isinstance(value, numbers.Real) or not math.isfinite(value):
                raise ValueError(f"`{item.name}` must be a finite number, got {value!r}.")

    def _check_rewinding(self) -> None:
        for name, least in (
            ("num_rewinds", 1),
            ("num_snapshots", 2),
            ("snapshot_steps", 1),
            ("warmup_intervals", 0),
            ("recovery_steps", 0),
            ("recovery_cycles", 1),
            ("save_every_rewinds", 0),
        ):
            value = getattr(self, name)
            if value is None and name == "recovery_steps":
                continue
            if not isinstance(value, int) or value < least:
                raise ValueError(f"`{name}` must be a whole number of at least {least}, got {value}.")
        if not 0 < self.residual_scale <= 10:
            raise ValueError(
                f"`residual_scale` must lie in (0, 10], got {self.residual_scale}; 1.0 is the full step of the paper."
            )
        if self.recovery_weight < 0:
            raise ValueError(f"`recovery_weight` must be 0 or above, got {self.recovery_weight}.")
        for name in ("recovery_temperature", "recovery_learning_rate"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"`{name}` must be positive, got {value}.")
        if not 0 <= self.recovery_overshoot <= 1:
            raise ValueError(f"`recovery_overshoot` is a share and must lie in [0, 1], got {self.recovery_overshoot}.")
        for name, choices in (
            ("recovery_start", RECOVERY_STARTS),
            ("recovery_schedule", RECOVERY_SCHEDULES),
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
        for name in ("max_unseen_loss_rise", "max_unseen_accuracy_drop"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"`{name}` must be a positive share, such as 0.1, got {getattr(self, name)}.")
        if not self.utility_metric.startswith("eval_") or self.utility_metric.count("_") < 2:
            raise ValueError(
                f"`utility_metric` must be named like 'eval_unseen_accuracy' (set and metric), got "
                f"{self.utility_metric!r}."
            )
        if self.min_utility is not None:
            self._check_utility()
        if not self.eval_do_concat_batches:
            raise ValueError(
                "`eval_do_concat_batches` must stay True, got False: accuracies are computed over all batches."
            )
        for name in ("max_forget_steps", "max_seconds"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise ValueError(f"`{name}` must be positive, or None for no limit, got {value}.")

    def _check_utility(self) -> None:
        kind, value = self.utility_metric.rpartition("_")[2], self.min_utility
        if kind in ("loss", "perplexity", "kid", "ratio", "runtime"):
            raise ValueError(
                f"`utility_metric` must be a metric of which more is better, got {self.utility_metric!r}; "
                "`max_unseen_loss_rise` limits the loss on unseen examples."
            )
        if kind == "accuracy" and not 0 <= value <= 1:  # type: ignore[operator]
            raise ValueError(
                f"`min_utility` of {self.utility_metric} is a share in 0..1, got {value}; {value}% is {value / 100:g}."  # type: ignore[operator]
            )

    def derive_length(self) -> None:
        """
        Derives epochs or steps from the rounds, so that progress bars and schedulers know them; called again when the
        arguments were changed. `num_train_epochs=3`, its default, cannot be told from none.

        Raises:
            ValueError: `num_train_epochs` or `max_steps` was set to another value.
        """
        intervals = self.num_rewinds * self.intervals_per_rewind
        if self.snapshot_strategy == "epoch":
            epochs, steps = float(intervals), -1
        else:
            epochs, steps = 3.0, intervals * self.snapshot_steps
        for name, value, derived, default in (
            ("num_train_epochs", self.num_train_epochs, epochs, 3.0),
            ("max_steps", self.max_steps, steps, -1),
        ):
            if value not in (derived, default) and not isinstance(value, (DerivedEpochs, DerivedSteps)):
                raise ValueError(
                    f"`{name}` follows from `num_rewinds`, `num_snapshots`, `warmup_intervals` and "
                    f"`snapshot_strategy` ({derived:g} here), got {value}; set those, or `max_forget_steps`."
                )
        self.num_train_epochs, self.max_steps = DerivedEpochs(epochs), DerivedSteps(steps)


__all__ = ["UnlearningArguments"]

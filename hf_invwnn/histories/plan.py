"""The settings of a history run, and plans of many runs."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from .small_models import SMALL_MODELS


RUN_TYPES = ("ordinary", "counterfactual")
OPTIMIZERS = ("sgd", "adam", "adamw")
SCHEDULES = ("constant", "cosine", "one-cycle")
# Learning rates are drawn log-uniformly between these.
LEARNING_RATES = {"sgd": (3e-3, 1e-1), "adam": (3e-4, 3e-3), "adamw": (3e-4, 3e-3)}


@dataclass(frozen=True)
class RunSpec:
    """
    The settings of one history run.

    Args:
        dataset (`str`): Name of the data set.
        architecture (`str`): One of `SMALL_MODELS`.
        optimizer (`str`, defaults to `"adamw"`): `"sgd"` (with momentum 0.9), `"adam"` or `"adamw"`.
        learning_rate (`float`, defaults to 1e-3): Maximum of the schedule.
        schedule (`str`, defaults to `"constant"`): `"constant"`, `"cosine"` (to zero) or `"one-cycle"`.
        label_noise (`float`, defaults to 0.0): Share of labels that are replaced by another class.
        seed (`int`, defaults to 0): Seed of the subset, the noise, the initialisation and the order.
        epochs (`int`, defaults to 50), batch_size (`int`, defaults to 64): Length and batch size of the training.
        num_classes (`int`, *optional*), examples (`int`, *optional*): Size of the random subset; all by default.
        run_type (`str`, defaults to `"ordinary"`): `"ordinary"` training, or `"counterfactual"`, see
            [`record_counterfactual`].

    Raises:
        ValueError: A value is not one of the choices, or out of range.
    """

    dataset: str
    architecture: str
    optimizer: str = "adamw"
    learning_rate: float = 1e-3
    schedule: str = "constant"
    label_noise: float = 0.0
    seed: int = 0
    epochs: int = 50
    batch_size: int = 64
    num_classes: int | None = None
    examples: int | None = None
    run_type: str = "ordinary"

    def __post_init__(self) -> None:
        for name, choices in (
            ("architecture", sorted(SMALL_MODELS)),
            ("optimizer", OPTIMIZERS),
            ("schedule", SCHEDULES),
            ("run_type", RUN_TYPES),
        ):
            if getattr(self, name) not in choices:
                raise ValueError(f"`{name}` must be one of {choices}, got {getattr(self, name)!r}.")
        if not 0 <= self.label_noise < 1:
            raise ValueError(f"`label_noise` must lie in [0, 1), got {self.label_noise}.")
        for name in ("epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be at least 1, got {getattr(self, name)}.")
        if not self.learning_rate > 0:
            raise ValueError(f"`learning_rate` must be positive, got {self.learning_rate}.")

    @property
    def run_id(self) -> str:
        """Name of the file of the run, made of all settings, so that no two runs share one."""
        return "_".join(f"{value:.4g}" if isinstance(value, float) else str(value) for value in asdict(self).values())

    @property
    def family(self) -> str:
        """Architecture and data set, by which runs are split into training and test."""
        return f"{self.architecture} x {self.dataset}"


def draw_plan(
    num_classes: Mapping[str, int],
    architectures: Sequence[str] = tuple(SMALL_MODELS),
    ordinary: int = 4,
    counterfactual: int = 2,
    epochs: int = 50,
    examples: tuple[int, int] = (300, 900),
    seed: int = 0,
) -> list[RunSpec]:
    """
    Runs of every architecture on every data set, each with its own settings.

    The first run of every family comes before the second of any, so that a shortened plan is diverse, too.

    Args:
        num_classes (`dict[str, int]`): Number of classes of each dataset.
        architectures (`Sequence[str]`): Out of `SMALL_MODELS`; all by default.
        ordinary (`int`, defaults to 4), counterfactual (`int`, defaults to 2): Runs of each type in a family.
        epochs (`int`, defaults to 50): Epochs of ordinary runs.
        examples (`tuple[int, int]`, defaults to `(300, 900)`): Minimum and maximum number of training examples.
        seed (`int`, defaults to 0): Seed of the settings.
    """
    types = [*["ordinary"] * ordinary, *["counterfactual"] * counterfactual]
    families = list(itertools.product(num_classes, architectures))
    return [
        _draw(
            np.random.default_rng([seed, number]), number, dataset, architecture, num_classes, epochs, examples, kind
        )
        for number, (kind, (dataset, architecture)) in enumerate(itertools.product(types, families))
    ]


def _draw(
    generator: np.random.Generator,
    number: int,
    dataset: str,
    architecture: str,
    num_classes: Mapping[str, int],
    epochs: int,
    examples: tuple[int, int],
    run_type: str,
) -> RunSpec:
    optimizer = str(generator.choice(OPTIMIZERS))
    low, high = LEARNING_RATES[optimizer]
    classes = num_classes[dataset]
    return RunSpec(
        dataset=dataset,
        architecture=architecture,
        optimizer=optimizer,
        learning_rate=float(np.exp(generator.uniform(np.log(low), np.log(high)))),
        schedule=str(generator.choice(SCHEDULES)),
        label_noise=float(generator.choice([0.0, 0.2])),
        seed=number,
        epochs=epochs,
        num_classes=int(generator.integers(min(3, classes), min(classes, 20) + 1)),
        examples=int(generator.integers(examples[0], examples[1] + 1)),
        run_type=run_type,
    )


__all__ = ["LEARNING_RATES", "OPTIMIZERS", "RUN_TYPES", "SCHEDULES", "RunSpec", "draw_plan"]

"""Who is forgotten in an experiment."""

from __future__ import annotations

from dataclasses import dataclass, field
from inspect import signature

from ..scenarios import SCENARIOS, UnlearningSplits
from .data import DataArguments, load_images


@dataclass
class ScenarioArguments:
    scenario: str = field(default="label_noise", metadata={"help": f"What is to be forgotten: {sorted(SCENARIOS)}."})
    scenario_settings: dict | None = field(default=None, metadata={"help": "Settings of the scenario."})


def make_splits(data: DataArguments, scenario: ScenarioArguments, seed: int) -> UnlearningSplits:
    """
    Loads the images and parts them.

    Args:
        data ([`DataArguments`]), scenario ([`ScenarioArguments`]): Which images, and who is forgotten.
        seed (`int`): Of every draw, unless the settings of the scenario have one.

    Raises:
        ValueError: There is no such scenario, or it does not take one of its settings.
    """
    if scenario.scenario not in SCENARIOS:
        raise ValueError(f"`scenario` must be one of {sorted(SCENARIOS)}, got {scenario.scenario!r}.")
    make = SCENARIOS[scenario.scenario]
    taken = signature(make).parameters
    settings = {"label_column": data.label_column, **(scenario.scenario_settings or {})}
    if unknown := sorted(settings.keys() - taken.keys()):
        raise ValueError(f"`scenario_settings`: {scenario.scenario} takes {', '.join([*taken][2:])}; got {unknown}.")
    if "seed" in taken:
        settings.setdefault("seed", seed)
    if "image_column" in taken:
        settings.setdefault("image_column", data.image_column)
    train, test = load_images(data, seed)
    return make(train, test, **settings)


__all__ = ["ScenarioArguments", "make_splits"]

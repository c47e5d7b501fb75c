"""What is compared: one YAML file, checked before anything runs."""

from __future__ import annotations

import dataclasses
import hashlib
import inspect
import itertools
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from ..baselines import find_method
from ..image_classification import DataArguments, ModelArguments, ScenarioArguments
from ..training_args import UnlearningArguments


# What a comparison sets itself, the same for every method.
_FIXED = ("output_dir", "num_rewinds", "seed", "target_ua", "snapshot_strategy", "snapshot_steps")


@dataclass(frozen=True)
class MethodSweep:
    """
    The settings that a method is tried with.

    Args:
        name (`str`): One of [`~hf_invwnn.baselines.METHODS`].
        grid (`dict[str, list]`): Name of an argument -> values; fields of [`UnlearningArguments`], or parameters of
            the method itself. Every combination is tried.
    """

    name: str
    grid: Mapping[str, list[Any]]

    def settings(self) -> list[dict[str, Any]]:
        """Every combination."""
        return [dict(zip(self.grid, values, strict=True)) for values in itertools.product(*self.grid.values())]


@dataclass(frozen=True)
class ComparisonSettings:
    """
    One comparison.

    Args:
        title (`str`): What tables and pictures are called.
        output_dir (`str`): Where models, runs and results go; it holds forget sets and is private.
        data (`dict`), model (`dict`), scenario (`dict`): Fields of [`DataArguments`], [`ModelArguments`],
            [`ScenarioArguments`].
        training (`dict`): Fields of `TrainingArguments`, of the starting point and of the oracle.
        methods (`list[MethodSweep]`): What is compared.
        unlearning (`dict`, *optional*): Fields of [`UnlearningArguments`] that all methods share.
        budget_steps (`int`, defaults to 1120): Optimizer steps that a run may take at the most.
        interval_steps (`int`, *optional*): Steps between two snapshots of a method that rewinds; an epoch on the
            forget set by default.
        measure_steps (`int`, defaults to 28): Steps between two measurements of a method that does not rewind.
        levels (`list[float]`): UA, in percent, at which curves are read off.
        target_ua (`float` or `"oracle"`, defaults to `"oracle"`): UA, in percent, of the main table.
        seeds (`list[int]`): Settings are chosen with the first.
    """

    title: str
    output_dir: str
    data: Mapping[str, Any]
    model: Mapping[str, Any]
    scenario: Mapping[str, Any]
    training: Mapping[str, Any]
    methods: tuple[MethodSweep, ...]
    unlearning: Mapping[str, Any] = field(default_factory=dict)
    budget_steps: int = 1120
    interval_steps: int | None = None
    measure_steps: int = 28
    levels: tuple[float, ...] = (25.0, 50.0, 70.0)
    target_ua: float | str = "oracle"
    seeds: tuple[int, ...] = (0,)

    def __post_init__(self) -> None:
        if not self.methods:
            raise ValueError("`methods` is empty; name at least one.")
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"`seeds` must be different from each other, and at least one, got {list(self.seeds)}.")
        if isinstance(self.target_ua, str) and self.target_ua != "oracle":
            raise ValueError(f"`target_ua` must be a number in percent or 'oracle', got {self.target_ua!r}.")
        if any(not 0 < level <= 100 for level in self.levels):
            raise ValueError(f"`levels` are in percent and must lie in (0, 100], got {list(self.levels)}.")
        if self.target_ua == "oracle" and self.scenario.get("scenario") == "overfitting":
            raise ValueError(
                "`target_ua` must be a number: in overfitting nothing is retained, so there is no oracle."
            )
        for name in ("budget_steps", "measure_steps", "interval_steps"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise ValueError(f"`{name}` must be at least 1, got {getattr(self, name)}.")
        for sweep in self.methods:
            _check_grid(sweep)

    @property
    def sweep_levels(self) -> tuple[float, ...]:
        """UA, in percent, at which settings are chosen: the levels, and the target where it is known beforehand."""
        return self.levels if isinstance(self.target_ua, str) else tuple(sorted({*self.levels, float(self.target_ua)}))

    def start_hash(self, seed: int) -> str:
        """Names the starting point and the oracle of a seed: whatever could change them changes it."""
        return _hash([dict(part) for part in (self.data, self.model, self.scenario, self.training)], seed)

    def run_hash(self, method: str, setting: Mapping[str, Any], seed: int) -> str:
        """Names a run."""
        pace = self.interval_steps if find_method(method).rewinds else self.measure_steps
        shared = [dict(self.unlearning), self.budget_steps, pace, list(self.sweep_levels)]
        return _hash([self.start_hash(seed), method, dict(setting), *shared], seed)


def read_settings(path: str | os.PathLike) -> ComparisonSettings:
    """
    Reads and checks a YAML file.

    Args:
        path (`str` or `os.PathLike`): Keys are the fields of [`ComparisonSettings`]; `methods` maps names to grids.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is no YAML mapping, has an unknown or lacks a necessary key, or a value cannot work.
    """
    source = Path(path)
    if not source.is_file():
        raise FileNotFoundError(f"`config`: there is no file {str(source)!r}.")
    try:
        given = yaml.safe_load(source.read_text())
    except yaml.YAMLError as error:
        raise ValueError(f"`config`: {source} is no YAML: {error}") from error
    if not isinstance(given, dict):
        raise ValueError(f"`config`: {source} must hold `name: value` lines.")
    fields = {item.name: item for item in dataclasses.fields(ComparisonSettings)}
    if unknown := sorted(given.keys() - fields.keys()):
        raise ValueError(f"`config`: {source} has unknown keys {unknown}; there are {', '.join(fields)}.")
    needed = [n for n, item in fields.items() if item.default is item.default_factory is dataclasses.MISSING]
    if missing := [name for name in needed if name not in given]:
        raise ValueError(f"`config`: {source} lacks {missing}.")
    for name, kind in (("data", DataArguments), ("model", ModelArguments), ("scenario", ScenarioArguments)):
        known = {item.name for item in dataclasses.fields(kind)}
        if unknown := sorted(given[name].keys() - known):
            raise ValueError(f"`{name}` has unknown keys {unknown}; there are {', '.join(sorted(known))}.")
    methods = tuple(MethodSweep(name, grid or {}) for name, grid in (given.pop("methods") or {}).items())
    for name in ("levels", "seeds"):
        if name in given:
            given[name] = tuple(given[name])
    return ComparisonSettings(methods=methods, **given)


def own_parameters(method: str) -> set[str]:
    """Parameters of a method's own, beside the arguments that all share."""
    unlearner: Any = find_method(method).unlearner
    named: set[str] = set()
    for kind in unlearner.__mro__:
        if kind.__module__.startswith(f"{__package__.rpartition('.')[0]}.baselines."):
            named |= {
                name
                for name, parameter in inspect.signature(
                    vars(kind).get("__init__", object.__init__)
                ).parameters.items()
                if parameter.kind is parameter.KEYWORD_ONLY and name != "retain_dataset"
            }
    return named | ({"predictor"} if method == "invwnn" else set())


def _check_grid(sweep: MethodSweep) -> None:
    known = {item.name for item in dataclasses.fields(UnlearningArguments)} - set(_FIXED)
    own = own_parameters(sweep.name)
    for name, values in sweep.grid.items():
        if name not in known | own:
            raise ValueError(
                f"`methods`: {sweep.name} has no parameter {name!r} that a sweep could set; its own are {sorted(own)}."
            )
        if not isinstance(values, list) or not values:
            raise ValueError(f"`methods`: {name} of {sweep.name} must be a list of values, got {values!r}.")


def _hash(parts: Any, seed: int) -> str:
    return hashlib.sha256(json.dumps([parts, seed], sort_keys=True).encode()).hexdigest()[:16]


__all__ = ["ComparisonSettings", "MethodSweep", "own_parameters", "read_settings"]

"""Settings of a comparison: one YAML file, checked before anything runs."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..files import read_yaml_mapping
from ..image_classification import DataArguments, ModelArguments, ScenarioArguments
from ..methods import find_method
from ..trainer.arguments import UnlearningArguments
from ..trainer.identity import own_parameters
from ..trainer.unlearner import Unlearner


# Arguments that a comparison sets itself, the same for every method.
_FIXED = ("output_dir", "num_rewinds", "seed", "target_ua", "snapshot_strategy", "snapshot_steps")
# Version of the result files of runs; part of their names, so that files of another version are not read.
_RUN_VERSION = 3


@dataclass(frozen=True)
class MethodSweep:
    """
    The settings to try for a row of a comparison.

    Args:
        name (`str`): The row; the name of its method if `method` is not given.
        grid (`dict[str, list]` or a list of them): Name of an argument -> values; fields of [`UnlearningArguments`],
            or parameters of the method itself. Every combination is tried; of several grids, every combination of
            each, such as one for SGD and one for AdamW.
        method (`str`, *optional*): One of [`~hf_invwnn.methods.method_names`], for a method in several rows, such as
            with recovery and without.
    """

    name: str
    grid: Mapping[str, list[Any]] | Sequence[Mapping[str, list[Any]]]
    method: str | None = None

    @property
    def grids(self) -> list[Mapping[str, list[Any]]]:
        """The grids, also if there is one."""
        return [self.grid] if isinstance(self.grid, Mapping) else list(self.grid)

    @property
    def kind(self) -> type[Unlearner]:
        """The class of the method."""
        return find_method(self.method or self.name)

    @property
    def title(self) -> str:
        """What tables call the row."""
        return self.name if self.method else self.kind.title

    def settings(self) -> list[dict[str, Any]]:
        """Every combination."""
        return [
            dict(zip(grid, values, strict=True)) for grid in self.grids for values in itertools.product(*grid.values())
        ]


@dataclass(frozen=True)
class ComparisonSettings:
    """
    One comparison.

    Args:
        title (`str`): Title of tables and pictures.
        output_dir (`str`): Folder for models, runs and results; it holds forget sets and is private.
        data (`dict`), model (`dict`), scenario (`dict`): Fields of [`DataArguments`], [`ModelArguments`],
            [`ScenarioArguments`].
        training (`dict`): Fields of `TrainingArguments`, for the original and the retrained model.
        methods (`list[MethodSweep]`): The methods and their grids.
        unlearning (`dict`, *optional*): Fields of [`UnlearningArguments`] that all methods share.
        budget_steps (`int`, defaults to 1120): Maximum number of optimizer steps of a run.
        interval_steps (`int`, *optional*): Steps between two snapshots of a method that records trajectories; an epoch
            on the forget set by default.
        measure_steps (`int`, defaults to 28): Steps between two measurements of the other methods.
        patience (`int`, defaults to 10): A run that goes on beyond the target ends after this many measurements
            without a better validation accuracy.
        widenings (`int`, defaults to 2): How often the grids of all methods get two further settings each, as long as
            a chosen value lies at the edge of its grid.
        levels (`list[float]`, *optional*): UA, in percent, at which curves are read off. Without any, the test and
            retain sets are evaluated at the end of a run only.
        target_ua (`float` or `"retrained"`, defaults to `"retrained"`): UA, in percent, at which methods are compared;
            `"retrained"` is the mean UA of the retrained models of the reported seeds.
        seeds (`list[int]`): The seeds that are reported.
        forget_sets (`int`, defaults to 1): Forget sets of each starting model. A random subset can be drawn again
            without training; the retrained model has the first.
        compared_with (`str`, *optional*): The row that the others are compared with; `invwnn` by default.
        chosen_with (`int`, *optional*): The seed that settings are chosen with, best one that is not reported; the
            first of `seeds` by default.
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
    patience: int = 10
    widenings: int = 2
    levels: tuple[float, ...] = ()
    target_ua: float | str = "retrained"
    seeds: tuple[int, ...] = (0,)
    forget_sets: int = 1
    chosen_with: int | None = None
    compared_with: str = "invwnn"

    def __post_init__(self) -> None:
        if not self.methods:
            raise ValueError("`methods` is empty; name at least one.")
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"`seeds` must be different from each other, and at least one, got {list(self.seeds)}.")
        if isinstance(self.target_ua, str) and self.target_ua != "retrained":
            raise ValueError(f"`target_ua` must be a number in percent or 'retrained', got {self.target_ua!r}.")
        if any(not 0 < level <= 100 for level in self.levels):
            raise ValueError(f"`levels` are in percent and must lie in (0, 100], got {list(self.levels)}.")
        if self.target_ua == "retrained" and self.scenario.get("scenario") == "overfitting":
            raise ValueError(
                "`target_ua` must be a number: in overfitting nothing is retained, so there is no retrained model."
            )
        for name in ("budget_steps", "measure_steps", "interval_steps", "patience", "forget_sets"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise ValueError(f"`{name}` must be at least 1, got {getattr(self, name)}.")
        if self.widenings < 0:
            raise ValueError(f"`widenings` must be at least 0, got {self.widenings}.")
        if self.forget_sets > 1 and self.scenario.get("scenario") != "random_subset":
            raise ValueError(
                f"`forget_sets` must be 1 in the scenario {self.scenario.get('scenario')!r}, got {self.forget_sets}: "
                "only a random subset can be drawn again for the same model."
            )
        names = [sweep.name for sweep in self.methods]
        if self.compared_with != "invwnn" and self.compared_with not in names:
            raise ValueError(f"`compared_with` must be one of {', '.join(names)}, got {self.compared_with!r}.")
        for sweep in self.methods:
            _check_grid(sweep)

    @property
    def choosing_seed(self) -> int:
        """The seed that settings are chosen with."""
        return self.seeds[0] if self.chosen_with is None else self.chosen_with

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """The reported pairs of a seed and the number of a forget set."""
        return [(seed, number) for seed in self.seeds for number in range(self.forget_sets)]

    @property
    def dataset(self) -> str:
        """Folder or Hub id of the images."""
        return DataArguments(**self.data).dataset

    def results_hash(self) -> str:
        """Name of the results of this comparison: a hash of everything that determines them, wherever the data lie."""
        values = {item.name: getattr(self, item.name) for item in dataclasses.fields(self)}
        del values["output_dir"]
        values["data"] = {name: value for name, value in self.data.items() if name != "dataset"}
        values["methods"] = [[sweep.name, sweep.method, sweep.grids] for sweep in self.methods]
        return _hash([_RUN_VERSION, values], 0)

    def start_hash(self, seed: int) -> str:
        """Name of the starting point of a seed: a hash of everything that determines it."""
        return _hash([dict(part) for part in (self.data, self.model, self.scenario, self.training)], seed)

    def run_hash(self, method: str, setting: Mapping[str, Any], seed: int, forget_set: int, target_ua: float) -> str:
        """Name of a run: a hash of everything that determines it."""
        records = find_method(method).records_trajectory
        pace = [self.interval_steps] if records else [self.measure_steps, self.patience]
        shared = [_RUN_VERSION, dict(self.unlearning), self.budget_steps, pace, bool(self.levels), target_ua]
        return _hash([self.start_hash(seed), forget_set, method, dict(setting), *shared], seed)


def read_settings(path: str | os.PathLike, dataset: str | None = None) -> ComparisonSettings:
    """
    Reads and checks a YAML file.

    Args:
        path (`str` or `os.PathLike`): Keys are the fields of [`ComparisonSettings`]; `methods` maps names to grids.
        dataset (`str`, *optional*): Folder or Hub id that replaces `dataset` of `data`, such as a local copy.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: The file is not a YAML mapping, has an unknown key or lacks a required one, or a value cannot work.
    """
    values = read_yaml_mapping(path)
    fields = {item.name: item for item in dataclasses.fields(ComparisonSettings)}
    if unknown := sorted(values.keys() - fields.keys()):
        raise ValueError(f"`config`: {path} has unknown keys {unknown}; there are {', '.join(fields)}.")
    needed = [n for n, item in fields.items() if item.default is item.default_factory is dataclasses.MISSING]
    if missing := [name for name in needed if name not in values]:
        raise ValueError(f"`config`: {path} lacks {missing}.")
    for name, kind in (("data", DataArguments), ("model", ModelArguments), ("scenario", ScenarioArguments)):
        known = {item.name for item in dataclasses.fields(kind)}
        if not isinstance(values[name], dict):
            raise ValueError(f"`{name}` must hold `name: value` lines, got {values[name]!r}.")
        if unknown := sorted(values[name].keys() - known):
            raise ValueError(f"`{name}` has unknown keys {unknown}; there are {', '.join(sorted(known))}.")
    if dataset is not None:
        values["data"] = {**values["data"], "dataset": dataset}
    if not isinstance(values.get("methods") or {}, dict):
        raise ValueError(f"`methods` must hold `name: value` lines, got {values['methods']!r}.")
    for name in ("training", "unlearning"):
        if not isinstance(values.get(name) or {}, dict):
            raise ValueError(f"`{name}` must hold `name: value` lines, got {values[name]!r}.")
    methods = tuple(_sweep(name, grid or {}) for name, grid in (values.pop("methods") or {}).items())
    for name in ("levels", "seeds"):
        if name in values and not isinstance(values[name], list):
            raise ValueError(f"`{name}` must be a list, got {values[name]!r}.")
        if name in values:
            values[name] = tuple(values[name])
    return ComparisonSettings(methods=methods, **values)


def _sweep(name: str, grid: Any) -> MethodSweep:
    grids = grid if isinstance(grid, list) else [grid]
    if not grids or not all(isinstance(one, dict) for one in grids):
        raise ValueError(f"`methods`: {name} must hold `name: values` lines, or a list of such, got {grid!r}.")
    if len(methods := {str(one.get("method")) for one in grids}) > 1:
        raise ValueError(f"`methods`: all grids of {name} must have the same `method`, got {sorted(methods)}.")
    rest = [{key: values for key, values in one.items() if key != "method"} for one in grids]
    return MethodSweep(name, rest if isinstance(grid, list) else rest[0], grids[0].get("method"))


def _check_grid(sweep: MethodSweep) -> None:
    known = {item.name for item in dataclasses.fields(UnlearningArguments)} - set(_FIXED)
    own = own_parameters(sweep.kind) | {"surrogates"}
    for name, values in ((name, values) for grid in sweep.grids for name, values in grid.items()):
        if name not in known | own:
            raise ValueError(
                f"`methods`: {sweep.name} has no parameter {name!r} that a sweep could set; its own are {sorted(own)}."
            )
        if not isinstance(values, list) or not values:
            raise ValueError(f"`methods`: {name} of {sweep.name} must be a list of values, got {values!r}.")


def _hash(parts: Any, seed: int) -> str:
    return hashlib.sha256(json.dumps([parts, seed], sort_keys=True).encode()).hexdigest()[:16]


__all__ = ["ComparisonSettings", "MethodSweep", "read_settings"]

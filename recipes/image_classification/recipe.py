"""Shared by the recipes of this folder: the splits a model was trained on, the results of a finished comparison."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hf_invwnn.audit.private import make_private_folder, private_folder
from hf_invwnn.benchmark import ComparisonSettings, read_results, read_settings
from hf_invwnn.files import read_json_object, write_json
from hf_invwnn.scenarios import UnlearningSplits


TRAINED_ON = "trained_on.json"


@dataclass
class ComparisonArguments:
    comparison: str = field(metadata={"help": "YAML file of a finished comparison."})
    dataset: str | None = field(
        default=None, metadata={"help": "The folder or Hub id that `hf-invwnn compare --dataset` was run with."}
    )


def read_comparison(args: ComparisonArguments) -> tuple[ComparisonSettings, dict[str, Any]]:
    """The settings and the results of a comparison; ends the recipe if it has not run, or has run on other data."""
    settings = read_settings(args.comparison, args.dataset)
    path = Path(settings.output_dir) / "results.json"
    if not path.exists():
        raise SystemExit(f"--comparison: there is no {path}; run `hf-invwnn compare` with the file first.")
    results = read_results(path)
    if results["starts"] != {str(seed): settings.start_hash(seed) for seed in settings.seeds}:
        raise SystemExit(
            f"--dataset: {path} has results of other starting points than those of {settings.dataset!r}; name the "
            "data set of the comparison, or run it again."
        )
    return settings, results


def check_methods(names: Sequence[str], results: dict[str, Any]) -> None:
    """Ends the recipe if a method is not in the comparison."""
    if unknown := sorted(set(names) - set(results["methods"])):
        raise SystemExit(f"--methods: {unknown} are not in the comparison, which has {', '.join(results['methods'])}.")


def write_trained_on(model: str, train_on: str, splits: UnlearningSplits) -> None:
    """Writes the part and the hash of the splits that a model was trained on into its private folder."""
    write_json(_trained_on(train_on, splits), make_private_folder(model) / TRAINED_ON, mode=0o600)


def check_trained_on(argument: str, model: str, train_on: str, splits: UnlearningSplits) -> None:
    """Ends the recipe if the model was trained on something else; logs a warning if it has no record of that."""
    path = private_folder(model) / TRAINED_ON
    if not path.is_file():
        logging.warning("--%s: %s has no %s, so its training data is unknown", argument, model, TRAINED_ON)
        return
    expected = _trained_on(train_on, splits)
    record = read_json_object(path)
    if differing := sorted(name for name in expected if record.get(name) != expected[name]):
        raise SystemExit(
            f"--{argument}: {model} does not fit the splits; {TRAINED_ON} has "
            + ", ".join(f"{name} {record.get(name)} for {expected[name]}" for name in differing)
            + "."
        )


def _trained_on(train_on: str, splits: UnlearningSplits) -> dict[str, Any]:
    return {"train_on": train_on, "seed": splits.seed, "sha256": splits.sha256, **splits.summary()}

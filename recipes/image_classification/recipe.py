"""What the recipes of this folder share: the record of what a model was trained on."""

from __future__ import annotations

import json
import logging
from pathlib import Path

from hf_invwnn.scenarios import UnlearningSplits


TRAINED_ON = "trained_on.json"


def write_trained_on(model: str, train_on: str, splits: UnlearningSplits) -> None:
    """Writes beside a model which part of which splits it has seen; no index and no example of them."""
    record = {"train_on": train_on, **splits.summary()}
    (Path(model) / TRAINED_ON).write_text(json.dumps(record, indent=2) + "\n")


def check_trained_on(argument: str, model: str, train_on: str, splits: UnlearningSplits) -> None:
    """Ends the recipe if the model was trained on something else; a model without a record gets a warning."""
    path = Path(model) / TRAINED_ON
    if not path.is_file():
        logging.warning("--%s: %s has no %s, so nothing says what it was trained on", argument, model, TRAINED_ON)
        return
    expected = {"train_on": train_on, **splits.summary()}
    found = json.loads(path.read_text())
    if differing := sorted(name for name in expected if found.get(name) != expected[name]):
        raise SystemExit(
            f"--{argument}: {model} does not fit the splits; {TRAINED_ON} has "
            + ", ".join(f"{name} {found.get(name)} for {expected[name]}" for name in differing)
            + "."
        )

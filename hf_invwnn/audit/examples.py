"""Results of single examples in a report: in full for the holder, in bands that identify none for anybody else."""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..metrics.catalogue import MODELS
from .private import PER_EXAMPLE, SALT, private_folder
from .public import is_small


# Upper ends of the bands of confidence.
BANDS = (0.25, 0.5, 0.75, 1.0)
BAND_NAMES = ("0 to 0.25", "0.25 to 0.5", "0.5 to 0.75", "0.75 to 1")
# A combination of bands that fewer examples share is not shown: whoever computes the bands of all candidates cannot
# tell a shown example from at least so many others.
LEAST_SHARED = 5
# A report has at most this many examples.
ROWS_SHOWN = 1000


def shown_examples(run: str | os.PathLike, record: Mapping[str, Any], show_ids: bool) -> dict[str, Any] | None:
    """
    What a report shows of single examples; `None` if no results were saved, or the forget set is too small.

    Without `show_ids` each example has a keyed hash and, for each model, the band of its confidence in the label.
    Whoever has the data and the models can compute these bands of every candidate; so a combination of bands that
    fewer than `LEAST_SHARED` examples of the forget set share is left out, labels and predictions are not shown, and
    no example can be told from four others. That the examples of D_f are those that a model is no longer sure of, the
    models themselves show.

    Args:
        run (`str` or `os.PathLike`): The folder of the run.
        record (`dict`): Its record.
        show_ids (`bool`): Show rows, labels, predictions and confidences, for the holder.

    Returns:
        `dict` with `count`, `models`, `bands` (model -> number of examples in each band; `None` for fewer than
        `LEAST_SHARED`), and `rows`, of which there are at most `ROWS_SHOWN`: those that the unlearned model is surest
        of first.

    Raises:
        ValueError: The file of the results is damaged, or holds another number of examples.
    """
    path = private_folder(run) / PER_EXAMPLE
    count = record["forget"]["count"]
    if not path.is_file() or path.is_symlink() or (is_small(count) and not show_ids):
        return None
    columns = _read(path)
    rows = columns["row"]
    if len(rows) != count:
        raise ValueError(f"`{path}` holds {len(rows)} examples, but the record counts {count}.")
    models = [name for name in MODELS if f"{name}_confidence" in columns]
    if not models or not len(rows):
        return None
    bands = np.stack([np.digitize(columns[f"{name}_confidence"], BANDS[:-1], right=True) for name in models], axis=1)
    key = (private_folder(run) / SALT).read_bytes()
    chosen = _order(columns, models, bands, show_ids)[:ROWS_SHOWN]
    shown = [_full(columns, models, row) if show_ids else _in_bands(rows, bands, models, key, row) for row in chosen]
    return {
        "count": len(rows),
        "models": models,
        "bands": {name: _histogram(bands[:, column]) for column, name in enumerate(models)},
        # In the order of the rows, the position of a hash would reveal its row.
        "rows": shown if show_ids else sorted(shown, key=lambda example: example["id"]),
    }


def hidden_id(row: int, key: bytes) -> str:
    """Identifier of an example that reveals its row only to holders of the key (HMAC-SHA-256)."""
    return hmac.new(key, str(row).encode(), hashlib.sha256).hexdigest()[:12]


def shared(bands: np.ndarray) -> np.ndarray:
    """
    Whether at least `LEAST_SHARED` examples have the same bands under all models, `(N,)`.

    Args:
        bands (`np.ndarray` of shape `(N, M)`): The band of each example under each model.
    """
    _, inverse, counts = np.unique(bands, axis=0, return_inverse=True, return_counts=True)
    enough: np.ndarray = counts[inverse.reshape(-1)] >= LEAST_SHARED
    return enough


def _read(path: Any) -> dict[str, np.ndarray]:
    from pyarrow import ArrowInvalid
    from pyarrow.parquet import read_table

    try:
        table = read_table(path)
    except (ArrowInvalid, OSError) as error:
        raise ValueError(f"`{path}` is damaged ({error}).") from error
    if "row" not in table.column_names:
        raise ValueError(f"`{path}` has no column of rows.")
    return {name: table.column(name).to_numpy() for name in table.column_names}


def _order(columns: Mapping[str, np.ndarray], models: list[str], bands: np.ndarray, show_ids: bool) -> np.ndarray:
    """Positions of the examples to show, those that the unlearned model is surest of first."""
    name = "unlearned" if "unlearned" in models else models[-1]
    if show_ids:
        order: np.ndarray = np.argsort(-columns[f"{name}_confidence"], kind="stable")
        return order
    positions = np.flatnonzero(shared(bands))
    by_band: np.ndarray = positions[np.argsort(-bands[positions, models.index(name)], kind="stable")]
    return by_band


def _in_bands(rows: np.ndarray, bands: np.ndarray, models: list[str], key: bytes, position: int) -> dict[str, Any]:
    named = {name: BAND_NAMES[bands[position, column]] for column, name in enumerate(models)}
    return {"id": hidden_id(int(rows[position]), key), **named}


def _full(columns: Mapping[str, np.ndarray], models: list[str], position: int) -> dict[str, Any]:
    kinds = ("prediction", "confidence", "loss")
    return {
        "id": str(int(columns["row"][position])),
        "label": int(columns["label"][position]),
        **{name: {kind: columns[f"{name}_{kind}"][position].item() for kind in kinds} for name in models},
    }


def _histogram(bands: np.ndarray) -> list[int | None]:
    counts = np.bincount(bands, minlength=len(BANDS))
    return [int(count) if count == 0 or count >= LEAST_SHARED else None for count in counts]


__all__ = ["BAND_NAMES", "LEAST_SHARED", "ROWS_SHOWN", "hidden_id", "shared", "shown_examples"]

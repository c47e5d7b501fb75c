"""Recorded histories as rows of a `datasets.Dataset`, each with the settings of its run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import nn

from ..predictor import parameter_kind
from .plan import RunSpec


if TYPE_CHECKING:
    import datasets

# A row is one weight. `history` and `counterfactual` are added to these.
HISTORY_FEATURES = {
    "run_id": "string",
    "run_type": "string",
    "dataset": "string",
    "architecture": "string",
    "optimizer": "string",
    "learning_rate": "float32",
    "schedule": "string",
    "label_noise": "float32",
    "seed": "int32",
    "parameter": "string",
    "kind": "string",
    "fan_in": "int32",
    "tensor_scale": "float32",
}


def history_dataset(
    spec: RunSpec,
    model: nn.Module,
    histories: Mapping[str, np.ndarray],
    counterfactual: Mapping[str, np.ndarray] | None = None,
) -> datasets.Dataset:
    """
    The rows of one run; none if any of its weights was ever not finite.

    Args:
        spec ([`RunSpec`]): The run.
        model (`nn.Module`): The trained model, for kind, fan-in and scale (root mean square) of each tensor.
        histories (`dict[str, np.ndarray]`): Parameter name -> `(weights, snapshots)`, oldest first.
        counterfactual (`dict[str, np.ndarray]`, *optional*): Parameter name -> `(weights,)`, each weight without
            training on the forget set.

    Returns:
        `datasets.Dataset` with `HISTORY_FEATURES`, `history` (float32 list) and `counterfactual` (float32, null in
        ordinary runs).
    """
    from datasets import Dataset, Features, List, Value

    described = {name: Value(dtype) for name, dtype in HISTORY_FEATURES.items()}
    features = Features({**described, "history": List(Value("float32")), "counterfactual": Value("float32")})
    finite = all(np.isfinite(values).all() for values in [*histories.values(), *(counterfactual or {}).values()])
    rows = list(_rows(spec, model, histories, counterfactual)) if finite else []
    return Dataset.from_dict({name: [row[name] for row in rows] for name in features}, features=features)


def _rows(
    spec: RunSpec,
    model: nn.Module,
    histories: Mapping[str, np.ndarray],
    counterfactual: Mapping[str, np.ndarray] | None,
) -> Iterator[dict[str, Any]]:
    run = {name: value for name, value in asdict(spec).items() if name in HISTORY_FEATURES}
    for name, parameter in model.named_parameters():
        if name not in histories:
            continue
        shared = {
            "run_id": spec.run_id,
            **run,
            "parameter": name,
            "kind": parameter_kind(parameter.shape),
            "fan_in": int(parameter[0].numel()) if parameter.ndim > 1 else 1,
            "tensor_scale": float(parameter.detach().square().mean().sqrt()),
        }
        without = counterfactual[name] if counterfactual is not None else [None] * len(histories[name])
        for history, answer in zip(histories[name], without, strict=True):
            yield {**shared, "history": history, "counterfactual": answer}


__all__ = ["HISTORY_FEATURES", "history_dataset"]

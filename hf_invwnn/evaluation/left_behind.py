"""What a model may still hold of its forget set, beyond what its answers say: rounding, probes, weight space."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from ..audit.tables import markdown_table
from ..image_classification import predict
from ..metrics import MODELS
from .probe import features_of, probes
from .quantization import changed_buckets, quantized
from .weight_space import barrier, weight_distance


BITS = (8, 4)
# Retained examples that the loss of a barrier is measured on.
_MOST_EXAMPLES = 2000
# Key of the results -> heading of its column.
_COLUMNS = {
    "ua_8_bits": "UA in 8 bits",
    "ua_4_bits": "UA in 4 bits",
    "changed_in_4_bits": "weights changed in 4 bits (%)",
    "nearest_mean": "nearest mean (%)",
    "linear": "linear probe (%)",
    "relative": "distance",
    "barrier": "barrier",
}


def left_behind(model: nn.Module, datasets: Mapping[str, Any], original: nn.Module | None = None) -> dict[str, float]:
    """
    UA after rounding to 8 and 4 bits, in percent ([`quantized`]), accuracies of probes on D_f, in percent
    ([`probes`]), and with the original model the share of weights that 4 bits tell apart, the relative distance and
    the barrier in mean loss on retained examples ([`weight_distance`], [`barrier`]).

    Args:
        model (`nn.Module`): An image classifier; not changed.
        datasets (`dict[str, Dataset]`): `"forget"` and `"retain"`.
        original (`nn.Module`, *optional*): The model before unlearning.
    """
    found: dict[str, float] = {}
    for bits in BITS:
        logits, labels = predict(quantized(model, bits), datasets["forget"], 500)
        found[f"ua_{bits}_bits"] = 100 * float((logits.argmax(axis=1) != labels).mean())
    found |= probes(features_of(model, datasets["retain"]), features_of(model, datasets["forget"]))
    if original is None:
        return found
    few = torch.utils.data.Subset(datasets["retain"], range(min(_MOST_EXAMPLES, len(datasets["retain"]))))
    return {
        **found,
        "changed_in_4_bits": changed_buckets(original, model, 4),
        "relative": weight_distance(original, model)["relative"],
        "barrier": barrier(original, model, lambda between: _loss(between, few)),
    }


def left_behind_table(results: Mapping[str, Any]) -> str:
    """
    Markdown: what each model of [`~hf_invwnn.evaluation.evaluate_pair`] holds.

    Args:
        results (`dict`): Name of a model -> a `dict` with `left_behind`, the result of [`left_behind`].
    """
    models = {name: results[name]["left_behind"] for name in MODELS if name in results}
    columns = {key: title for key, title in _COLUMNS.items() if any(key in found for found in models.values())}
    rows = [["model", *columns.values()]]
    for name, found in models.items():
        digits = {key: 3 if key in ("relative", "barrier") else 1 for key in columns}
        rows.append([name, *(f"{found[key]:.{digits[key]}f}" if key in found else "" for key in columns)])
    return markdown_table(rows)


def _loss(model: Any, dataset: Any) -> float:
    logits, labels = predict(model, dataset, 500)
    values = torch.from_numpy(np.asarray(logits)).float()
    return float(nn.functional.cross_entropy(values, torch.from_numpy(np.asarray(labels)).long()))


__all__ = ["left_behind", "left_behind_table"]

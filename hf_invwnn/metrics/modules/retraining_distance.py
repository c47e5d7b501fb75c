"""Average gap and tug-of-war for `evaluate`."""

from __future__ import annotations

from typing import Any

import datasets
import evaluate

from hf_invwnn.metrics.retraining_distance import retraining_distance


class RetrainingDistance(evaluate.Metric):
    """`compute` takes the arguments of [`~hf_invwnn.metrics.retraining_distance`] and returns the same."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="Distance of an unlearned from a retrained model: average gap in points, and tug-of-war.",
            citation="",
            inputs_description=retraining_distance.__doc__ or "",
            features=datasets.Features(
                {
                    "predictions": datasets.Value("float64"),
                    "references": datasets.Value("float64"),
                    "names": datasets.Value("string"),
                }
            ),
        )

    def _compute(self, predictions: Any, references: Any, names: Any) -> dict[str, float]:
        return retraining_distance(predictions, references, names)

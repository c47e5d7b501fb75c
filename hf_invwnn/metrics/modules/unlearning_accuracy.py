"""UA, RA and TA for `evaluate`."""

from __future__ import annotations

from typing import Any

import datasets
import evaluate

from hf_invwnn.metrics.unlearning_accuracy import unlearning_accuracy


class UnlearningAccuracy(evaluate.Metric):
    """`compute` takes the arguments of [`~hf_invwnn.metrics.unlearning_accuracy`] and returns the same."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="Accuracy on the retain and the test set and 100 - accuracy on the forget set, in percent.",
            citation="",
            inputs_description=unlearning_accuracy.__doc__ or "",
            features=datasets.Features(
                {
                    "predictions": datasets.Value("int64"),
                    "references": datasets.Value("int64"),
                    "splits": datasets.Value("string"),
                }
            ),
        )

    def _compute(self, predictions: Any, references: Any, splits: Any) -> dict[str, float]:
        return unlearning_accuracy(predictions, references, splits)

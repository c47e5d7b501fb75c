"""The two-sided loss AUC for `evaluate`."""

from __future__ import annotations

from typing import Any

import datasets
import evaluate

from hf_invwnn.metrics.loss_auc import loss_auc


class LossAUC(evaluate.Metric):
    """`compute` takes the arguments of [`~hf_invwnn.metrics.loss_auc`] and returns the same."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="AUC of the loss, forget set against test set, with a bootstrap interval; 0.5 is the goal.",
            citation="",
            inputs_description=loss_auc.__doc__ or "",
            features=datasets.Features(
                {
                    "losses": datasets.Value("float64"),
                    "splits": datasets.Value("string"),
                }
            ),
        )

    def _compute(
        self, losses: Any, splits: Any, num_bootstrap: int = 1000, confidence: float = 0.95, seed: int = 0
    ) -> dict[str, float]:
        return loss_auc(losses, splits, num_bootstrap=num_bootstrap, confidence=confidence, seed=seed)

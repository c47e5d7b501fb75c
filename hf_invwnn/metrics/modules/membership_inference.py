"""MIA for `evaluate`."""

from __future__ import annotations

from typing import Any

import datasets
import evaluate

from hf_invwnn.metrics.membership_inference import membership_inference


class MembershipInference(evaluate.Metric):
    """`compute` takes the arguments of [`~hf_invwnn.metrics.membership_inference`] and returns the same."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="Share of the forget set, in percent, that a membership inference attack calls non-member.",
            citation=(
                "Jang, Kim and Youn, Learning to Rewind via Iterative Prediction of Past Weights for Practical "
                "Unlearning, AAAI 2025"
            ),
            inputs_description=membership_inference.__doc__ or "",
            features=datasets.Features(
                {
                    "confidences": datasets.Value("float64"),
                    "splits": datasets.Value("string"),
                }
            ),
        )

    def _compute(self, confidences: Any, splits: Any, seed: int = 0) -> dict[str, float]:
        return membership_inference(confidences, splits, seed=seed)

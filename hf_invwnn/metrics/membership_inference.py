"""MIA: the share of the forget set that a membership inference attack takes for data the model never saw."""

from __future__ import annotations

from typing import Any

import numpy as np

from .arrays import finite_array, split_masks


def membership_inference(confidences: Any, splits: Any, seed: int = 0) -> dict[str, float]:
    """
    The membership inference attack of the InvWNN paper (Jang, Kim and Youn, AAAI 2025).

    The attack is a support vector classifier (RBF kernel, C = 3, gamma "auto") on one feature, the softmax probability
    of the true label. It is fitted on members, which are as many retain examples as there are test examples (or all,
    if there are fewer), and on non-members, which are the test examples; then it classifies D_f.

    MIA is the percentage of D_f classified as *non-member*. Unlearning raises it; the goal is the value of a model
    retrained without D_f, not the maximum. If TA is measured on the same test set, a report should state it.

    Args:
        confidences (`Sequence[float]` of length `N`): Softmax probability of the true label, in 0..1.
        splits (`Sequence[str]` of length `N`): `"forget"`, `"retain"` or `"test"`; each must occur.
        seed (`int`, *optional*, defaults to 0): Seed of the draw of the members from D_r.

    Returns:
        `{"MIA": float}`, in percent.

    Raises:
        ValueError: A confidence is not in 0..1, lengths differ, a split has another name, or a split has no example.
    """
    probability = finite_array(confidences, "confidences")
    masks = split_masks(splits, len(probability), "confidences", required=("forget", "retain", "test"))
    if probability.min() < 0 or probability.max() > 1:
        raise ValueError(
            f"`confidences` must be probabilities in 0..1, got {probability.min()}..{probability.max()}; "
            "`per_example` computes them from logits."
        )
    from sklearn.svm import SVC

    retain, test, forget = (probability[masks[name]] for name in ("retain", "test", "forget"))
    if len(retain) > len(test):
        retain = np.random.default_rng(seed).choice(retain, size=len(test), replace=False)
    features = np.concatenate([retain, test]).reshape(-1, 1)
    is_member = np.concatenate([np.ones(len(retain), dtype=int), np.zeros(len(test), dtype=int)])
    attack = SVC(C=3, gamma="auto", kernel="rbf").fit(features, is_member)
    return {"MIA": 100 * float(np.mean(attack.predict(forget.reshape(-1, 1)) == 0))}


__all__ = ["membership_inference"]

"""U-LiRA separates forgotten from unseen examples as far as their confidences differ, and no further."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from hf_invwnn.metrics import ulira


def probabilities(mean: float, seed: int, models: int = 12, examples: int = 400) -> np.ndarray:
    generator = np.random.default_rng(seed)
    of_example = generator.normal(size=examples) * 3  # some examples are easy, which must not change the result
    of_example = np.random.default_rng(99).normal(size=examples) * 3
    return 1 / (1 + np.exp(-(mean + of_example + generator.normal(size=(models, examples)))))


def test_equal_distributions_cannot_be_separated() -> None:
    attack = ulira(probabilities(0.0, 1), probabilities(0.0, 2))
    assert attack.auc == pytest.approx(0.5, abs=0.02)
    assert attack.accuracy == pytest.approx(0.5, abs=0.02)
    assert attack.tpr_at_fpr < 0.03


def test_the_attack_reaches_the_accuracy_of_the_optimal_classifier() -> None:
    """For means two standard deviations apart, the optimal accuracy is Phi(1)."""
    attack = ulira(probabilities(2.0, 1, models=60), probabilities(0.0, 2, models=60))
    assert attack.accuracy == pytest.approx(norm.cdf(1), abs=0.02)
    assert attack.auc == pytest.approx(norm.cdf(np.sqrt(2)), abs=0.02)
    assert attack.examples.shape == (400,)
    assert attack.examples.mean() == pytest.approx(attack.accuracy)


def test_the_interval_is_that_of_models_and_not_of_examples() -> None:
    """With few models it is wide, however many examples there are; it holds the value."""
    few, many = (ulira(probabilities(0.7, 1, models=count), probabilities(0.0, 2, models=count)) for count in (4, 60))
    for attack in (few, many):
        assert attack.auc_low <= attack.auc <= attack.auc_high
    assert few.auc_high - few.auc_low > 1.5 * (many.auc_high - many.auc_low)
    assert many.auc_low > 0.5


def test_scores_equal_an_independent_computation() -> None:
    unlearned, unseen = probabilities(1.0, 3, models=5, examples=4), probabilities(0.0, 4, models=4, examples=4)
    phi, psi = (np.log(p / (1 - p)) for p in (unlearned, unseen))
    right = np.zeros(4)
    for example in range(4):
        for values, others, is_unlearned in ((phi, psi, True), (psi, phi, False)):
            for model in range(len(values)):
                rest = np.delete(values[:, example], model)
                own = norm(rest.mean(), np.sqrt(rest.var(ddof=1) + 1e-2)).logpdf(values[model, example])
                spread = np.sqrt(others[:, example].var(ddof=1) + 1e-2)
                other = norm(others[:, example].mean(), spread).logpdf(values[model, example])
                score = own - other if is_unlearned else other - own
                right[example] += ((score > 0) == is_unlearned) / len(values) / 2
    np.testing.assert_allclose(ulira(unlearned, unseen).examples, right)


@pytest.mark.parametrize(
    ("unlearned", "unseen", "match"),
    [
        (np.zeros((2, 3)), np.zeros((3, 3)), "`unlearned` must have the shape"),
        (np.zeros((3, 3)), np.zeros(3), "`unseen` must have the shape"),
        (np.full((3, 3), 2.0), np.zeros((3, 3)), "`unlearned` must hold probabilities"),
        (np.full((3, 3), np.nan), np.zeros((3, 3)), "`unlearned` must hold probabilities"),
        (np.zeros((3, 3)), np.zeros((3, 4)), "as many examples"),
    ],
)
def test_bad_arguments_are_refused(unlearned: np.ndarray, unseen: np.ndarray, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        ulira(unlearned, unseen)

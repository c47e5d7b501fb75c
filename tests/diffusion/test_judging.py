"""Forget ratio and KID agree with their definitions, and too few images or an unknown class are refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from diffusers import DDPMPipeline
from helpers import Examples

from hf_invwnn.diffusion import ForgetRatioJudge, ForgetRatioTarget, ImageClassifier, KernelDistance, fixed_noise
from hf_invwnn.errors import MissingMetricError
from hf_invwnn.trainer.stopping import find_crossing


@pytest.fixture
def real(digits: Examples) -> torch.Tensor:
    return digits.columns["pixel_values"][100:140]


def kid_by_hand(real: torch.Tensor, fake: torch.Tensor) -> float:
    """The unbiased estimate of Binkowski et al., as three double sums."""

    def kernel(x: torch.Tensor, y: torch.Tensor) -> float:
        return float((x.double() @ y.double() / len(x) + 1) ** 3)

    n = len(real)
    within = [
        sum(kernel(x[i], x[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1)) for x in (real, fake)
    ]
    return sum(within) - 2 * sum(kernel(a, b) for a in real for b in fake) / n**2


def test_kid_is_the_unbiased_squared_discrepancy_of_the_penultimate_features(
    classifier: ImageClassifier, real: torch.Tensor
) -> None:
    fake = torch.rand(12, 1, 8, 8) * 2 - 1
    kid = KernelDistance(real[:12], classifier, subset_size=12, subsets=2)(fake)
    features = []
    for images in (real[:12], fake):
        # Pixels of 8 bits in three equal channels, normalised to [-1, 1]; the head sees the class token.
        pixels = (((images / 2 + 0.5) * 255).round() / 127.5 - 1).repeat(1, 3, 1, 1)
        with torch.no_grad():
            features.append(classifier.model.vit(pixel_values=pixels).last_hidden_state[:, 0])
    assert kid.mean == pytest.approx(kid_by_hand(*features), rel=1e-3)
    assert kid.std == pytest.approx(0, abs=1e-3)
    assert kid.features == f"penultimate layer of {classifier.name}, 16 features"
    assert "16 features" in str(kid)


def test_kid_is_the_same_again_and_draws_nothing(classifier: ImageClassifier, real: torch.Tensor) -> None:
    distance = KernelDistance(real, classifier, subset_size=10, subsets=5)
    fake = torch.rand(20, 1, 8, 8) * 2 - 1
    state = torch.get_rng_state()
    first, second = distance(fake), distance(fake, classifier.classify(fake).features)
    assert torch.equal(torch.get_rng_state(), state)
    assert first == second
    assert distance(real[:20]).mean < first.mean


def test_the_forget_ratio_is_the_share_that_the_classifier_assigns_to_the_class(
    classifier: ImageClassifier, pipeline: DDPMPipeline, real: torch.Tensor
) -> None:
    judge = ForgetRatioJudge(
        classifier,
        0,
        fixed_noise(12, pipeline.unet),
        num_inference_steps=3,
        kernel_distance=KernelDistance(real, classifier, subset_size=10),
        progress=False,
    )
    images, outputs, metrics = judge.generate(pipeline.unet, pipeline.scheduler)
    commonest = int(outputs.classes.mode().values)
    judge.forget_class = commonest
    pixels = (((images / 2 + 0.5) * 255).round() / 127.5 - 1).repeat(1, 3, 1, 1)
    with torch.no_grad():
        predicted = classifier.model(pixel_values=pixels).logits.argmax(dim=1)
    of_commonest = judge(pipeline.unet, pipeline.scheduler)
    assert of_commonest["eval_forget_ratio"] == pytest.approx(100 * int((predicted == commonest).sum()) / 12)
    assert of_commonest["eval_forget_ratio"] > 0
    assert of_commonest["eval_kid"] == metrics["eval_kid"]


def test_a_classifier_that_does_not_know_the_class_is_refused(
    classifier: ImageClassifier, pipeline: DDPMPipeline
) -> None:
    for unknown in (10, -1):
        with pytest.raises(ValueError, match=rf"has the classes 0\.\.9, and not the class {unknown}"):
            ForgetRatioJudge(classifier, unknown, fixed_noise(2, pipeline.unet))


def test_fewer_images_than_a_subset_of_kid_are_refused_before_any_is_generated(
    classifier: ImageClassifier, pipeline: DDPMPipeline, real: torch.Tensor
) -> None:
    distance = KernelDistance(real, classifier, subset_size=30)
    with pytest.raises(ValueError, match="`noise` has 29 images, fewer than the 30 of a subset"):
        ForgetRatioJudge(classifier, 4, fixed_noise(29, pipeline.unet), kernel_distance=distance)
    with pytest.raises(ValueError, match="`images` has 29 images"):
        distance(real[:29])
    with pytest.raises(ValueError, match="`reference` has 40 images, fewer than the 41"):
        KernelDistance(real, classifier, subset_size=41)
    with pytest.raises(ValueError, match="`features` must be an ImageClassifier or 'inception', got 'vgg'"):
        KernelDistance(real, "vgg", subset_size=10)


def test_inception_says_what_it_needs_where_it_is_not_installed(real: torch.Tensor) -> None:
    with pytest.raises(ImportError, match="orch-fidelity"):
        KernelDistance(real, "inception", subset_size=10)


def test_a_classifier_that_cannot_be_loaded_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="`classifier` cannot be loaded"):
        ImageClassifier.from_pretrained(tmp_path)


@pytest.mark.parametrize("steepness", [20.0, 3.0])
def test_the_target_is_never_overstepped(steepness: float) -> None:
    """A run ends at or below the target, however the ratio falls between two rounds, also if it jumps."""
    rule = ForgetRatioTarget(1.0, tolerance=0.1)

    def ratio_at(fraction: float) -> float:
        return 10.0 / (1 + steepness * fraction) ** 2 if fraction < 0.7 else 0.2

    def excess_at(fraction: float) -> float:
        return rule.excess({"eval_forget_ratio": ratio_at(fraction)})

    crossing = find_crossing(excess_at, excess_at(1.0), rule.tolerance)
    assert ratio_at(crossing.fraction) <= 1
    if steepness == 20.0:  # the target is reached before the jump
        assert ratio_at(crossing.fraction) >= 0.9


def test_the_rule_counts_a_ratio_above_the_target_as_not_there_yet() -> None:
    rule = ForgetRatioTarget(1.0)
    assert rule.excess({"eval_forget_ratio": 1.0}) == 0
    assert rule.excess({"eval_forget_ratio": 0.25}) == 0.75
    assert rule.excess({"eval_forget_ratio": 1.01}) < -100
    with pytest.raises(MissingMetricError, match=r"pass `judge`, or `judge\.evaluate` in `evaluators`"):
        rule.excess({"eval_forget_loss": 1.0})
    with pytest.raises(ValueError, match="`target` is in percent and must lie in"):
        ForgetRatioTarget(100)

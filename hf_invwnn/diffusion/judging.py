"""The share of generated images in the forgotten class, and a stopping rule on it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import nn

from ..errors import MissingMetricError
from .classifier import ClassifierOutput, ImageClassifier
from .kernel_distance import KernelDistance
from .model import NoisePredictionModel
from .sampling import generate_images


FORGET_RATIO = "eval_forget_ratio"
KID_METRIC = "eval_kid"


class Generation(NamedTuple):
    """Generated images `(N, C, H, W)` in [-1, 1], the output of the classifier on them, and the metrics."""

    images: torch.Tensor
    outputs: ClassifierOutput
    metrics: dict[str, float]


class ForgetRatioJudge:
    """
    Generates images from fixed noise and classifies them.

    Args:
        classifier ([`ImageClassifier`]): A classifier that was not trained on generated images.
        forget_class (`int`): The class to forget.
        noise (`torch.Tensor` of shape `(N, C, H, W)`): See [`fixed_noise`]; the same for all models that are compared.
        num_inference_steps (`int`, defaults to 50), batch_size (`int`, defaults to 250): As for [`generate_images`].
        conditions (`dict[str, torch.Tensor]`, *optional*): Other inputs of the UNet, an entry for each image.
        kernel_distance ([`KernelDistance`], *optional*): Computes KID as well.
        progress (`bool`, defaults to `True`): Whether to show a progress bar.

    Raises:
        ValueError: The classifier does not have the class, or `noise` is for fewer images than KID needs.
    """

    def __init__(
        self,
        classifier: ImageClassifier,
        forget_class: int,
        noise: torch.Tensor,
        num_inference_steps: int = 50,
        batch_size: int = 250,
        conditions: Mapping[str, torch.Tensor] | None = None,
        kernel_distance: KernelDistance | None = None,
        progress: bool = True,
    ) -> None:
        if not 0 <= forget_class < classifier.num_classes:
            raise ValueError(
                f"`classifier` {classifier.name!r} has the classes 0..{classifier.num_classes - 1}, and not the "
                f"class {forget_class}; use one with more classes."
            )
        if kernel_distance is not None:
            kernel_distance.check_enough("noise", len(noise))
        self.classifier, self.forget_class, self.noise = classifier, forget_class, noise
        self.num_inference_steps, self.batch_size, self.conditions = num_inference_steps, batch_size, conditions
        self.kernel_distance, self.progress = kernel_distance, progress

    def generate(self, unet: nn.Module, scheduler: Any) -> Generation:
        """
        Generates images and classifies them.

        Args:
            unet (`nn.Module`): The UNet to evaluate.
            scheduler (`SchedulerMixin`): Its noise schedule and prediction type are used.

        Returns:
            [`Generation`] with the metrics `eval_forget_ratio`, the share of the images that the classifier assigns to
            the class, in percent, and with a `kernel_distance` also `eval_kid`.

        Raises:
            NonFiniteImagesError: A generated value is not finite.
        """
        images = generate_images(
            unet, scheduler, self.noise, self.num_inference_steps, self.batch_size, self.conditions, self.progress
        )
        self.classifier.model.to(next(unet.parameters()).device)
        outputs = self.classifier.classify(images)
        metrics = {FORGET_RATIO: 100 * float((outputs.classes == self.forget_class).double().mean())}
        if self.kernel_distance is not None:
            metrics[KID_METRIC] = self.kernel_distance(images, outputs.features).mean
        return Generation(images, outputs, metrics)

    def __call__(self, unet: nn.Module, scheduler: Any) -> dict[str, float]:
        """The metrics of [`ForgetRatioJudge.generate`]."""
        return self.generate(unet, scheduler).metrics

    def evaluate(self, model: NoisePredictionModel) -> dict[str, float]:
        """The metrics of a model, as an evaluator of [`~hf_invwnn.trainer.Unlearner`]."""
        return self(model.pipeline.unet, model.noise_scheduler)


@dataclass
class ForgetRatioTarget:
    """
    Stops where at most `target` percent of the generated images are in the forgotten class. Needs a
    [`ForgetRatioJudge`].

    Args:
        target (`float`, defaults to 1.0): In percent. The run never ends above it once a round was below.
        tolerance (`float`, defaults to 0.5): How far below the target the search between two rounds may end, in
            points.
    """

    target: float = 1.0
    tolerance: float = 0.5
    splits: tuple[str, ...] = ()
    must_not_exceed: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.target < 100:
            raise ValueError(f"`target` is in percent and must lie in [0, 100), got {self.target}.")

    def __str__(self) -> str:
        return f"forget ratio <= {self.target:g} %"

    def steering(self, metrics: Mapping[str, float]) -> float:
        """Within a recovery: 1 with none of the images in the class, -1 at the target, 0 half way between."""
        ratio = metrics[FORGET_RATIO]
        return 1 - 2 * ratio / self.target if self.target else -1.0

    def deeper(self, share: float) -> ForgetRatioTarget:
        """The target before a recovery: smaller by a share."""
        return ForgetRatioTarget((1 - share) * self.target, self.tolerance)

    def excess(self, metrics: Mapping[str, float]) -> float:
        if FORGET_RATIO not in metrics:
            raise MissingMetricError(
                f"{self} needs `{FORGET_RATIO}`; pass `judge`, or `judge.evaluate` in `evaluators`."
            )
        ratio = metrics[FORGET_RATIO]
        if math.isnan(ratio):
            return ratio
        # A ratio above the target counts as farther away than any below it, so that the search ends below.
        return self.target - ratio if ratio <= self.target else -100.0 - ratio


__all__ = ["FORGET_RATIO", "KID_METRIC", "ForgetRatioJudge", "ForgetRatioTarget", "Generation"]

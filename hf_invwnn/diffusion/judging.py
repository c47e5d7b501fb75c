"""How much of what a model generates is of the forgotten class, and when that is little enough."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import nn

from ..stopping import MissingMetric
from .classifier import ImageClassifier, Verdicts
from .kernel_distance import KernelDistance
from .sampling import generate_images


FORGET_RATIO = "eval_forget_ratio"
KID_METRIC = "eval_kid"


class Generation(NamedTuple):
    """Generated images `(N, C, H, W)` in [-1, 1], what the classifier says of them, and the metrics."""

    images: torch.Tensor
    verdicts: Verdicts
    metrics: dict[str, float]


class ForgetRatioJudge:
    """
    Generates from fixed noise and asks a classifier.

    Args:
        classifier ([`ImageClassifier`]): One that has never seen generated images.
        forget_class (`int`): The class to forget.
        noise (`torch.Tensor` of shape `(N, C, H, W)`): See [`fixed_noise`]; the same for all that are compared.
        num_inference_steps (`int`, defaults to 50), batch_size (`int`, defaults to 250): As in [`generate_images`].
        conditions (`dict[str, torch.Tensor]`, *optional*): What else the UNet takes, an entry for each image.
        kernel_distance ([`KernelDistance`], *optional*): Gives KID as well.
        progress (`bool`, defaults to `True`): Whether to show a bar while generating.

    Raises:
        ValueError: The classifier does not know the class, or `noise` makes fewer images than KID needs.
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
                f"`classifier` {classifier.name!r} knows the classes 0..{classifier.num_classes - 1}, so it cannot "
                f"tell the class {forget_class}; take one with more classes."
            )
        if kernel_distance is not None:
            kernel_distance.check_enough("noise", len(noise))
        self.classifier, self.forget_class, self.noise = classifier, forget_class, noise
        self.num_inference_steps, self.batch_size, self.conditions = num_inference_steps, batch_size, conditions
        self.kernel_distance, self.progress = kernel_distance, progress

    def generate(self, unet: nn.Module, scheduler: Any) -> Generation:
        """
        Generates and judges.

        Args:
            unet (`nn.Module`): What is judged.
            scheduler (`SchedulerMixin`): Its noise schedule and prediction type are used.

        Returns:
            [`Generation`]; its metrics are `eval_forget_ratio`, the share of the images that the classifier calls the
            class, in percent, and with a `kernel_distance` also `eval_kid`.

        Raises:
            NonFiniteImages: A generated value is not finite.
        """
        images = generate_images(
            unet, scheduler, self.noise, self.num_inference_steps, self.batch_size, self.conditions, self.progress
        )
        self.classifier.model.to(next(unet.parameters()).device)
        verdicts = self.classifier.judge(images)
        metrics = {FORGET_RATIO: 100 * float((verdicts.classes == self.forget_class).double().mean())}
        if self.kernel_distance is not None:
            metrics[KID_METRIC] = self.kernel_distance(images, verdicts.features).mean
        return Generation(images, verdicts, metrics)

    def __call__(self, unet: nn.Module, scheduler: Any) -> dict[str, float]:
        """The metrics alone."""
        return self.generate(unet, scheduler).metrics


@dataclass
class ForgetRatioTarget:
    """
    Stop where at most `target` percent of the generated images are of the forgotten class. Needs a
    [`ForgetRatioJudge`].

    Args:
        target (`float`, defaults to 1.0): In percent. The run never ends above it if a rewind has come below.
        tolerance (`float`, defaults to 0.5): How far below the search between two rewinds may end, in points.
    """

    target: float = 1.0
    tolerance: float = 0.5
    splits: tuple[str, ...] = ()
    never_past: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.target < 100:
            raise ValueError(f"`target` is in percent and must lie in [0, 100), got {self.target}.")

    def __str__(self) -> str:
        return f"forget ratio <= {self.target:g} %"

    def excess(self, metrics: Mapping[str, float]) -> float:
        if FORGET_RATIO not in metrics:
            raise MissingMetric(f"{self} needs `{FORGET_RATIO}`; give the unlearner a `judge`.")
        ratio = metrics[FORGET_RATIO]
        if math.isnan(ratio):
            return ratio
        # A point above the target is further off than any below it, so the search ends below.
        return self.target - ratio if ratio <= self.target else -100.0 - ratio


__all__ = ["FORGET_RATIO", "KID_METRIC", "ForgetRatioJudge", "ForgetRatioTarget", "Generation"]

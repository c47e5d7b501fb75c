"""L2UL: misclassify the forget set; adversarial images and important weights keep the rest (Cha et al., AAAI 2024)."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from .base import GradientUnlearner, check_positive, logits_of, other_classes
from .pixels import PixelUnits, descend


class L2ULUnlearner(GradientUnlearner):
    r"""
    "Learning to unlearn" minimises, with x in D_f and its label y,

        -CE( f(x), y ) + CE( f(x_adv), y_hat ) + weight / 2 sum_i (1 - Omega_i) (theta_i - theta0_i)^2

    x_adv is the image within a distance of x that the original model takes for another class y_hat, which is drawn
    anew (projected gradient descent in the L2 norm). Omega_i is the mean over D_f of `|d ||f(x)||_2 / d theta_i|`,
    scaled to 0..1 in each tensor. Forget-only; for classes of images.

    Args:
        radius (`float`, defaults to 0.4): Largest distance of x_adv from x, for images in 0..1.
        step (`float`, defaults to 0.1), steps (`int`, defaults to 10): Length and number of the steps to x_adv.
        weight (`float`, defaults to 1.0): Weight of the change of weights.
        pixel_mean (`Sequence[float]`, *optional*), pixel_std (`Sequence[float]`, *optional*): As for [`PixelUnits`].
        kwargs: Arguments of [`GradientUnlearner`].

    Raises:
        ValueError: A number is not positive (or, of `weight`, below 0), or the normalisation of the images is unknown;
            otherwise as [`GradientUnlearner`].
    """

    title = "L2UL"
    needs_whole_weights = True

    def __init__(
        self,
        model: nn.Module,
        *args: Any,
        radius: float = 0.4,
        step: float = 0.1,
        steps: int = 10,
        weight: float = 1.0,
        pixel_mean: Sequence[float] | None = None,
        pixel_std: Sequence[float] | None = None,
        **kwargs: Any,
    ) -> None:
        for name, value in (("radius", radius), ("step", step), ("steps", steps)):
            check_positive(name, value)
        check_positive("weight", weight, or_zero=True)
        self.pixels = PixelUnits(pixel_mean, pixel_std, kwargs.get("processing_class"))
        self.radius, self.step, self.steps, self.weight = radius, step, steps, weight
        super().__init__(model, *args, **kwargs)
        self.check_inputs()
        self.teacher = copy.deepcopy(model).requires_grad_(False).eval()
        self.importances: dict[str, torch.Tensor] = {}

    def unlearning_loss(self, model: nn.Module, inputs: dict[str, Any]) -> torch.Tensor:
        labels = inputs["labels"]
        other = other_classes(labels, self.num_classes)
        near = {**inputs, "pixel_values": self.adversarial(inputs["pixel_values"], other)}
        forget = nn.functional.cross_entropy(logits_of(model, inputs), labels)
        keep = nn.functional.cross_entropy(logits_of(model, near), other)
        return keep - forget + self.weight * self.change()

    def adversarial(self, images: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
        """The images near others that the original model takes for given classes."""
        pixels = self.pixels.of(images)
        radius, step = (torch.full((len(images),), value).to(images) for value in (self.radius, self.step))
        moved = descend(self.pixels.classifier(self.teacher), pixels, classes, radius, step, self.steps)
        return self.pixels.normalised(moved)

    def change(self) -> torch.Tensor:
        """Half the squared change of the weights, those that matter for D_f counted less."""
        before = dict(self.teacher.named_parameters())
        return 0.5 * sum(  # type: ignore[return-value]
            ((1 - self.importances[name]) * (parameter - before[name]).square()).sum()
            for name, parameter in self.tracked.parameters.items()
        )

    def prepare_run(self) -> None:
        self.importances = importances_of(self.teacher, self)


def importances_of(model: nn.Module, unlearner: GradientUnlearner) -> dict[str, torch.Tensor]:
    """Omega of every tracked parameter: how much the length of the outputs on D_f depends on it, in 0..1."""
    names = list(unlearner.tracked.parameters)
    model.requires_grad_(True)
    parameters = dict(model.named_parameters())
    total = {name: torch.zeros_like(parameters[name]) for name in names}
    assert isinstance(unlearner.eval_dataset, dict)
    for batch in unlearner.get_eval_dataloader(unlearner.eval_dataset["forget"]):
        inputs = unlearner._prepare_inputs(batch)
        for row in range(len(inputs["labels"])):
            one = {name: value[row : row + 1] for name, value in inputs.items()}
            length = logits_of(model, one).norm()
            gradients = torch.autograd.grad(length, [parameters[name] for name in names], allow_unused=True)
            for name, gradient in zip(names, gradients, strict=True):
                if gradient is not None:
                    total[name] += gradient.abs()
    model.requires_grad_(False)
    return {name: _scaled(unlearner.accelerator.reduce(value, reduction="sum")) for name, value in total.items()}


def _scaled(values: torch.Tensor) -> torch.Tensor:
    """Moved and scaled so that the smallest is 0 and the largest 1; 0 where all are equal."""
    low, high = values.min(), values.max()
    return (values - low) / (high - low) if high > low else torch.zeros_like(values)


__all__ = ["L2ULUnlearner"]

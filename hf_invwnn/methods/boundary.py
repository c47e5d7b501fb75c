"""Boundary unlearning: move the forget set across the nearest boundary, or into a new class (Chen et al., 2023)."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from .base import GradientUnlearner, check_positive, logits_of
from .pixels import PixelUnits


class BoundaryShrinkUnlearner(GradientUnlearner):
    r"""
    Minimises the cross-entropy on `(x, y_adv)`, x in D_f. With the teacher, a frozen copy of the original model:

        x_adv = clip(x + step sign(grad_x CE(teacher(x), y)), 0, 1)        in pixel units
        y_adv = argmax teacher(x_adv)                                      which may be y

    Forget-only.

    Args:
        step (`float`, defaults to 0.1): Step in pixel units, for images in 0..1.
        pixel_mean (`Sequence[float]`, *optional*), pixel_std (`Sequence[float]`, *optional*): As for [`PixelUnits`];
            those of `processing_class` by default.
        kwargs: Arguments of [`GradientUnlearner`].

    Raises:
        ValueError: `step` is not positive, or the normalisation of the images is unknown; otherwise as
            [`GradientUnlearner`].
    """

    title = "Boundary Shrink"

    def __init__(
        self,
        model: nn.Module,
        *args: Any,
        step: float = 0.1,
        pixel_mean: Sequence[float] | None = None,
        pixel_std: Sequence[float] | None = None,
        **kwargs: Any,
    ) -> None:
        check_positive("step", step)
        self.pixels = PixelUnits(pixel_mean, pixel_std, kwargs.get("processing_class"))
        super().__init__(model, *args, **kwargs)
        self.step = step
        self.teacher = copy.deepcopy(model).requires_grad_(False).eval()

    def unlearning_loss(self, model: nn.Module, inputs: dict[str, Any]) -> torch.Tensor:
        return nn.functional.cross_entropy(logits_of(model, inputs), self.boundary_labels(inputs))

    def boundary_labels(self, inputs: dict[str, Any]) -> torch.Tensor:
        """`y_adv` of a batch, `(N,)`."""
        pixels = inputs["pixel_values"].detach().requires_grad_(True)
        with torch.enable_grad():
            loss = nn.functional.cross_entropy(self.teacher(pixel_values=pixels).logits, inputs["labels"])
            (gradient,) = torch.autograd.grad(loss, pixels)
        moved = (self.pixels.of(pixels.detach()) + self.step * gradient.sign()).clamp(0, 1)
        with torch.no_grad():
            return self.teacher(pixel_values=self.pixels.normalised(moved)).logits.argmax(dim=-1)


class BoundaryExpandUnlearner(GradientUnlearner):
    r"""
    Adds a class to the output layer, trains D_f towards it, and removes it again: in evaluations and when the model is
    saved, it has its original classes. Forget-only.

    Takes what [`GradientUnlearner`] does.

    Raises:
        ValueError: The model has no linear output layer with one row per class; otherwise as [`GradientUnlearner`].
    """

    title = "Boundary Expand"
    needs_whole_weights = True

    def __init__(self, model: nn.Module, *args: Any, **kwargs: Any) -> None:
        super().__init__(model, *args, **kwargs)
        self.head_name, self.head = _output_layer(model)

    def unlearning_loss(self, model: nn.Module, inputs: dict[str, Any]) -> torch.Tensor:
        logits = logits_of(model, inputs)
        return nn.functional.cross_entropy(logits, torch.full_like(inputs["labels"], self.num_classes))

    def train(self, *args: Any, **kwargs: Any) -> Any:
        with self._expanded_head():
            return super().train(*args, **kwargs)

    @contextmanager
    def _expanded_head(self) -> Iterator[None]:
        """Within this context the output layer has one more row in training mode."""
        generator = torch.Generator().manual_seed(self.args.seed)
        size = self.head.weight.detach().std()
        drawn = torch.randn(self.head.in_features + 1, generator=generator).to(self.head.weight) * size
        drawn[-1] = 0  # the bias
        row = nn.Parameter(drawn)
        self.head.register_parameter("expanded_class", row)
        handle = self.head.register_forward_hook(self._with_expanded_class)
        name = f"{self.head_name}.expanded_class"
        self.tracked.parameters[name] = row
        try:
            yield
        finally:
            handle.remove()
            self.tracked.parameters.pop(name)
            del self.head.expanded_class

    def _with_expanded_class(self, head: nn.Linear, inputs: tuple[torch.Tensor], output: torch.Tensor) -> torch.Tensor:
        if not head.training:
            return output
        row: Any = head.expanded_class
        if self.recovering:
            return output + 0 * row.sum()  # DDP needs a gradient of every parameter
        return torch.cat([output, inputs[0] @ row[:-1, None] + row[-1]], dim=-1)


def _output_layer(model: Any) -> tuple[str, nn.Linear]:
    classes = model.config.num_labels
    fitting = [
        (name, layer)
        for name, layer in model.named_modules()
        if isinstance(layer, nn.Linear) and layer.out_features == classes
    ]
    if not fitting:
        raise ValueError(f"`model` has no linear layer with {classes} outputs, one per class.")
    return fitting[-1]


__all__ = ["BoundaryExpandUnlearner", "BoundaryShrinkUnlearner"]

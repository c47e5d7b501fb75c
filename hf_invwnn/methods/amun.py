"""AMUN: fine-tune on adversarial images of the forget set under the classes the model gives them (2025)."""

from __future__ import annotations

import copy
from collections.abc import Sequence, Sized
from typing import Any

import torch
from torch import nn

from .base import GradientUnlearner, check_positive, logits_of
from .pixels import PixelUnits, descend


# The radius is doubled this often; an image that then still has its label is trained under it.
_DOUBLINGS = 8


class AMUNUnlearner(GradientUnlearner):
    r"""
    Adversarial machine unlearning (Ebrahimpour-Boroojeny et al., ICML 2025), in its form without retained examples.
    Minimises the cross-entropy on `(x_adv, y_adv)`, x in D_f: x_adv is the nearest image that the original model takes
    for another class, y_adv. It is searched within a radius that is doubled until there is one (projected gradient
    ascent in the L2 norm). Forget-only; for classes of images.

    Args:
        radius (`float`, defaults to 0.1): First radius, for images in 0..1.
        steps (`int`, defaults to 50): Steps of the search within a radius, each of a tenth of it.
        pixel_mean (`Sequence[float]`, *optional*), pixel_std (`Sequence[float]`, *optional*): As for [`PixelUnits`].
        kwargs: Arguments of [`GradientUnlearner`].

    Raises:
        ValueError: `radius` or `steps` is not positive, or the normalisation of the images is unknown; otherwise as
            [`GradientUnlearner`].
    """

    title = "AMUN"

    def __init__(
        self,
        model: nn.Module,
        *args: Any,
        radius: float = 0.1,
        steps: int = 50,
        pixel_mean: Sequence[float] | None = None,
        pixel_std: Sequence[float] | None = None,
        **kwargs: Any,
    ) -> None:
        check_positive("radius", radius)
        check_positive("steps", steps)
        self.pixels = PixelUnits(pixel_mean, pixel_std, kwargs.get("processing_class"))
        self.radius, self.steps = radius, steps
        super().__init__(model, *args, **kwargs)
        self.check_inputs()
        self.teacher = copy.deepcopy(model).requires_grad_(False).eval()
        # Image -> what was found for it.
        self._found: dict[bytes, tuple[torch.Tensor, torch.Tensor]] = {}

    def prepare_run(self) -> None:
        """Searches for all of D_f in its order, so that what is found does not depend on the batches of a run."""
        if isinstance(self.forget_dataset, Sized):
            for _, inputs in self.recovery.inputs.batches(len(self.recovery.inputs.forget_set())):
                self.adversarial(inputs["pixel_values"], inputs["labels"])

    def unlearning_loss(self, model: nn.Module, inputs: dict[str, Any]) -> torch.Tensor:
        images, classes = self.adversarial(inputs["pixel_values"], inputs["labels"])
        return nn.functional.cross_entropy(logits_of(model, {**inputs, "pixel_values": images}), classes)

    def adversarial(self, images: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The nearest adversarial image of each, `(N, C, H, W)`, and its class, `(N,)`."""
        keys = [image.cpu().float().numpy().tobytes() for image in images]
        new = [place for place, key in enumerate(keys) if key not in self._found]
        if new:
            pixels, classes = self._search(self.pixels.of(images[new]), labels[new])
            found = zip(self.pixels.normalised(pixels).cpu(), classes.cpu(), strict=True)
            self._found |= {keys[place]: one for place, one in zip(new, found, strict=True)}
        near, wrong = zip(*(self._found[key] for key in keys), strict=True)
        return torch.stack(near).to(images), torch.stack(wrong).to(labels)

    def _search(self, pixels: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        classify = self.pixels.classifier(self.teacher)
        near, radius = pixels.clone(), self.radius
        with torch.no_grad():
            classes = classify(pixels).argmax(dim=1)
        for _ in range(_DOUBLINGS):
            left = classes == labels
            if not left.any():
                break
            reach = torch.full((int(left.sum()),), radius).to(pixels)
            near[left] = descend(classify, pixels[left], labels[left], reach, -reach / 10, self.steps)
            with torch.no_grad():
                classes[left] = classify(near[left]).argmax(dim=1)
            radius *= 2
        return near, classes


__all__ = ["AMUNUnlearner"]

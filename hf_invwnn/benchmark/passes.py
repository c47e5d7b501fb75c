"""What a run computes: images that pass forward through the model, and gradients that pass backward."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn


class Passes:
    """Numbers of images; copies of a model (teachers) count for the same."""

    def __init__(self) -> None:
        self.forward = 0
        self.backward = 0

    def __deepcopy__(self, memo: dict[int, Any]) -> Passes:
        return self

    def count(self, module: nn.Module, arguments: Any, named: Any, outputs: Any) -> None:
        """A forward hook; the gradient of the logits is a backward pass."""
        logits = outputs["logits"] if isinstance(outputs, dict) else outputs[0]
        images = len(logits)
        self.forward += images
        if logits.requires_grad:
            logits.register_hook(lambda gradient: self._count_backward(images))

    def _count_backward(self, images: int) -> None:
        self.backward += images

    def leave_out(self, images: int) -> None:
        """Takes back forward passes that are no part of the run, such as those of another evaluation set."""
        self.forward -= images


@contextmanager
def counted_passes(model: nn.Module) -> Iterator[Passes]:
    """
    Counts the images that pass through a classifier within this context, and through copies that are made of it.

    Args:
        model (`nn.Module`): Returns an object with `logits` of shape `(N, C)`.
    """
    passes = Passes()
    hook = model.register_forward_hook(passes.count, with_kwargs=True)
    try:
        yield passes
    finally:
        hook.remove()


__all__ = ["Passes", "counted_passes"]

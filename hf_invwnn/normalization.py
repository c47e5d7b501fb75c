"""Normalisation statistics must not follow the forget set: batch norms stay as they are while the weights move."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn


def _stay_in_eval(module: nn.Module, _: Any) -> None:
    module.training = False


@contextmanager
def frozen_statistics(model: nn.Module) -> Iterator[None]:
    """
    Within this context every layer with running statistics normalises by them and leaves them bitwise unchanged, even
    in training mode. Its scale and shift still train.

    Args:
        model (`nn.Module`): The model; its layers get back their mode at the end.
    """
    layers = [layer for layer in model.modules() if getattr(layer, "running_mean", None) is not None]
    modes = [layer.training for layer in layers]
    # A hook, because the Trainer puts the whole model into training mode before every step.
    hooks = [layer.register_forward_pre_hook(_stay_in_eval) for layer in layers]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
        for layer, mode in zip(layers, modes, strict=True):
            layer.training = mode


__all__ = ["frozen_statistics"]

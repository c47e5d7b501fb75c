"""What stays as it is while a model is fine-tuned: BatchNorm statistics, and parameters that are not tracked."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn


@contextmanager
def frozen_statistics(model: nn.Module, when: Callable[[], bool] = lambda: True) -> Iterator[None]:
    """
    Within this context every layer with running statistics uses them for normalisation and leaves them bitwise
    unchanged, also in training mode. Its scale and shift still train.

    Args:
        model (`nn.Module`): The model; the mode of its layers is restored at the end.
        when (`Callable`, *optional*): Asked before every forward pass whether this holds; always by default.
    """

    def set_eval_mode(module: nn.Module, _: Any) -> None:
        if when():
            module.training = False

    layers = [layer for layer in model.modules() if getattr(layer, "running_mean", None) is not None]
    modes = [layer.training for layer in layers]
    # A hook, because the Trainer puts the whole model into training mode before every step.
    hooks = [layer.register_forward_pre_hook(set_eval_mode) for layer in layers]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
        for layer, mode in zip(layers, modes, strict=True):
            layer.training = mode


@contextmanager
def frozen_parameters(model: nn.Module, trained: Collection[str]) -> Iterator[None]:
    """
    Within this context only the named parameters require grad.

    Args:
        model (`nn.Module`): The model.
        trained (`Collection[str]`): Names of the parameters that are trained.
    """
    frozen = {name for name, parameter in model.named_parameters() if parameter.requires_grad and name not in trained}
    _set_requires_grad(model, frozen, False)
    try:
        yield
    finally:
        _set_requires_grad(model, frozen, True)


def _set_requires_grad(model: nn.Module, names: Collection[str], value: bool) -> None:
    # By name, because `fully_shard` replaces the parameters.
    for name, parameter in model.named_parameters():
        if name in names:
            parameter.requires_grad_(value)


__all__ = ["frozen_parameters", "frozen_statistics"]

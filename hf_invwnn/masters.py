"""Optimizers that keep float32 weights of their own have to be told when weights are put in by hand."""

from __future__ import annotations

from collections.abc import Mapping

import torch


@torch.no_grad()
def tell_masters(parameters: Mapping[str, torch.Tensor]) -> None:
    """
    Gives DeepSpeed's ZeRO the weights as they are now. It steps on float32 copies of its own and writes those over the
    model's weights at the next step, so that a rewind they have not been told of would be undone.

    Args:
        parameters (`dict[str, torch.Tensor]`): Parameters that have changed; those without a copy are left alone.
    """
    held = [parameter for parameter in parameters.values() if hasattr(parameter, "_hp_mapping")]
    if not held:
        return
    from deepspeed.utils import safe_set_full_fp32_param

    for parameter in held:
        safe_set_full_fp32_param(parameter, parameter.detach().float())


__all__ = ["tell_masters"]

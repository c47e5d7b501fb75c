"""Copies in-place weight updates to DeepSpeed's fp32 master weights."""

from __future__ import annotations

from collections.abc import Mapping

import torch


@torch.no_grad()
def sync_fp32_master_weights(parameters: Mapping[str, torch.Tensor]) -> None:
    """
    Copies the current parameters into the fp32 master weights of DeepSpeed's ZeRO. ZeRO steps on those and writes them
    over the parameters: without the copy the next step would undo a rewind.

    Args:
        parameters (`dict[str, torch.Tensor]`): Parameters that have changed; those without master weights are skipped.
    """
    with_master = [parameter for parameter in parameters.values() if hasattr(parameter, "_hp_mapping")]
    if not with_master:
        return
    from deepspeed.utils import safe_set_full_fp32_param

    for parameter in with_master:
        safe_set_full_fp32_param(parameter, parameter.detach().float())


__all__ = ["sync_fp32_master_weights"]

"""The scalars of a model that are kept, at every epoch the same."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn


class SampledWeights:
    """
    The same scalars of a model's trainable parameters, whenever asked for.

    Args:
        model (`nn.Module`): Gives names and sizes.
        weights_per_parameter (`int`, defaults to 128): How many are drawn, without replacement, of each parameter.
        seed (`int`, defaults to 0): Draws them.
    """

    def __init__(self, model: nn.Module, weights_per_parameter: int = 128, seed: int = 0) -> None:
        generator = np.random.default_rng(seed)
        self._indices: dict[str, torch.Tensor] = {}
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                size = min(parameter.numel(), weights_per_parameter)
                drawn = generator.choice(parameter.numel(), size=size, replace=False)
                self._indices[name] = torch.from_numpy(np.sort(drawn))

    def of(self, model: nn.Module) -> dict[str, np.ndarray]:
        """Parameter name -> its drawn scalars `(weights,)` as they are now, in float32."""
        parameters = dict(model.named_parameters())
        return {
            name: parameters[name].detach().flatten()[index.to(parameters[name].device)].float().cpu().numpy()
            for name, index in self._indices.items()
        }


__all__ = ["SampledWeights"]
